-- Version 2: the work of a slot. A run has one job per VM, a job has attempts, and each attempt is one call with one nonce.

CREATE TABLE runs (
    id              INTEGER PRIMARY KEY,
    -- What marks in the pool and the journal name: unique beyond this database, which a restored copy's row ids are not.
    uuid            TEXT    NOT NULL UNIQUE CHECK (length(uuid) = 36),
    slot_id         INTEGER NOT NULL UNIQUE REFERENCES slots (id),
    -- The slot's, repeated so that the indexes below can have them.
    policy_id       INTEGER NOT NULL REFERENCES policies (id),
    pool_id         INTEGER NOT NULL REFERENCES pools (id),
    -- Snapshots and marks, the synchronisation, only then removals, and a second synchronisation.
    state           TEXT    NOT NULL CHECK (state IN ('snapshotting', 'synchronising', 'removing', 'settling', 'done')),
    outcome         TEXT    CHECK (outcome IN ('succeeded', 'partial', 'failed', 'cancelled', 'empty', 'observed')),
    observe         INTEGER NOT NULL CHECK (observe IN (0, 1)),
    approval_needed INTEGER NOT NULL CHECK (approval_needed IN (0, 1)),
    -- Counted when the run ended; zero before.
    jobs_total      INTEGER NOT NULL,
    jobs_done       INTEGER NOT NULL,
    jobs_failed     INTEGER NOT NULL,
    jobs_skipped    INTEGER NOT NULL,
    removals_done   INTEGER NOT NULL,
    cause_code      TEXT,
    cause_text      TEXT,
    started_at      INTEGER NOT NULL,
    finished_at     INTEGER,
    CHECK ((state = 'done') = (outcome IS NOT NULL)),
    CHECK ((state = 'done') = (finished_at IS NOT NULL))
) STRICT;
CREATE INDEX runs_by_policy ON runs (policy_id, started_at);
CREATE INDEX runs_by_pool ON runs (pool_id, started_at);
CREATE INDEX runs_by_outcome ON runs (outcome, started_at);
CREATE INDEX runs_by_start ON runs (started_at);
CREATE INDEX runs_by_finish ON runs (finished_at);
CREATE INDEX runs_unfinished ON runs (id) WHERE state <> 'done';

CREATE TABLE jobs (
    id          INTEGER PRIMARY KEY,
    run_id      INTEGER NOT NULL REFERENCES runs (id),
    vm_id       INTEGER NOT NULL REFERENCES vms (id),
    policy_id   INTEGER NOT NULL REFERENCES policies (id),
    vm_name     TEXT    NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('disk', 'quiesced', 'memory', 'offline')),
    state       TEXT    NOT NULL CHECK (state IN ('queued', 'intent', 'calling', 'taken', 'marked', 'durable', 'pruned',
                                                  'unresolved', 'done', 'failed', 'skipped', 'cancelled', 'observed')),
    -- The window in which a call may leave, and when to look at the job again after a refusal.
    not_before  INTEGER NOT NULL,
    deadline_at INTEGER NOT NULL,
    next_try_at INTEGER NOT NULL,
    cause_code  TEXT,
    cause_text  TEXT,
    created_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (run_id, vm_id)
) STRICT;
CREATE INDEX jobs_by_vm ON jobs (vm_id, created_at);
CREATE INDEX jobs_by_policy ON jobs (policy_id, created_at);
CREATE INDEX jobs_by_state ON jobs (state, created_at);
CREATE INDEX jobs_by_creation ON jobs (created_at);

-- Written, and on disk, before the call leaves.
CREATE TABLE attempts (
    id           INTEGER PRIMARY KEY,
    job_id       INTEGER NOT NULL REFERENCES jobs (id),
    number       INTEGER NOT NULL CHECK (number > 0),
    -- Stands in the task's other_config and at the end of the snapshot's name: how the effect of a lost call is found.
    nonce        TEXT    NOT NULL UNIQUE CHECK (nonce <> ''),
    state        TEXT    NOT NULL CHECK (state IN ('intent', 'calling', 'unresolved', 'succeeded', 'refused', 'absent', 'forgotten')),
    -- A task's reference is the only name it has, and means something only until this server restarts.
    task_ref     TEXT,
    server_start TEXT,
    cause_code   TEXT,
    cause_text   TEXT,
    intent_at    INTEGER NOT NULL,
    called_at    INTEGER,
    ended_at     INTEGER,
    UNIQUE (job_id, number)
) STRICT;
-- A job never has two calls whose end is unknown.
CREATE UNIQUE INDEX attempts_one_open ON attempts (job_id) WHERE state IN ('intent', 'calling', 'unresolved');
