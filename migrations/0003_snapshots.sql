-- Version 3: what was taken, and what is to be taken away.

CREATE TABLE snapshots (
    id            INTEGER PRIMARY KEY,
    pool_id       INTEGER NOT NULL REFERENCES pools (id),
    uuid          TEXT    NOT NULL CHECK (length(uuid) = 36),
    vm_id         INTEGER NOT NULL REFERENCES vms (id),
    policy_id     INTEGER NOT NULL REFERENCES policies (id),
    due_at        INTEGER NOT NULL,
    -- The attempt that took it; null for what was adopted, or found by its mark.
    attempt_id    INTEGER REFERENCES attempts (id) ON DELETE SET NULL,
    kind          TEXT    NOT NULL CHECK (kind IN ('disk', 'quiesced', 'memory', 'offline')),
    name          TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('taken', 'marked', 'durable', 'removing', 'removed', 'vanished', 'ghost',
                                                    'detached', 'released')),
    -- JSON: the disks recorded when it was taken, and the suspend image of a snapshot with memory. Only these may ever be destroyed with it.
    disks         TEXT    NOT NULL,
    suspend_image TEXT,
    taken_at      INTEGER NOT NULL,
    marked_at     INTEGER,
    -- The pool's database was synchronised after the mark: only from here on does it justify the removal of an older one.
    durable_at    INTEGER,
    adopted_at    INTEGER,
    released_at   INTEGER,
    vanished_at   INTEGER,
    ghost_at      INTEGER,
    removed_at    INTEGER,
    pinned_until  INTEGER,
    pin_reason    TEXT,
    changed_at    INTEGER NOT NULL,
    UNIQUE (pool_id, uuid)
) STRICT;
CREATE INDEX snapshots_by_uuid ON snapshots (uuid);
CREATE INDEX snapshots_by_vm ON snapshots (vm_id, taken_at);
CREATE INDEX snapshots_by_policy ON snapshots (policy_id, taken_at);
CREATE INDEX snapshots_by_time ON snapshots (taken_at);
-- How a duplicate is found: the same VM, policy and due time twice.
CREATE INDEX snapshots_by_slot ON snapshots (vm_id, policy_id, due_at);
CREATE INDEX snapshots_by_state ON snapshots (pool_id, state);
CREATE INDEX snapshots_by_attempt ON snapshots (attempt_id);
CREATE INDEX snapshots_by_change ON snapshots (state, changed_at);
CREATE INDEX snapshots_pinned ON snapshots (pinned_until) WHERE pinned_until IS NOT NULL;

-- Written, with everything that will be destroyed, before anything is.
CREATE TABLE removals (
    id            INTEGER PRIMARY KEY,
    pool_id       INTEGER NOT NULL REFERENCES pools (id),
    snapshot_uuid TEXT    NOT NULL CHECK (length(snapshot_uuid) = 36),
    -- Null for leftovers of a failed snapshot, which never had a row.
    snapshot_id   INTEGER REFERENCES snapshots (id),
    run_id        INTEGER REFERENCES runs (id) ON DELETE SET NULL,
    -- Why the plan wants it gone, as it was printed.
    reason        TEXT    NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('planned', 'working', 'waiting', 'orphaned', 'done', 'dropped', 'withdrawn')),
    tries         INTEGER NOT NULL,
    next_try_at   INTEGER NOT NULL,
    cause_code    TEXT,
    cause_text    TEXT,
    planned_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    -- The pool's database was synchronised after the removal: from here on it does not come back.
    settled_at    INTEGER
) STRICT;
CREATE UNIQUE INDEX removals_one_open ON removals (pool_id, snapshot_uuid) WHERE state IN ('planned', 'working', 'waiting');
CREATE INDEX removals_due ON removals (next_try_at) WHERE state IN ('planned', 'working', 'waiting');
CREATE INDEX removals_orphaned ON removals (pool_id) WHERE state = 'orphaned';
CREATE INDEX removals_unsettled ON removals (pool_id) WHERE state = 'done' AND settled_at IS NULL;
CREATE INDEX removals_by_snapshot ON removals (snapshot_id);
CREATE INDEX removals_by_snapshot_uuid ON removals (snapshot_uuid);
CREATE INDEX removals_by_run ON removals (run_id);
CREATE INDEX removals_by_finish ON removals (finished_at);

-- The snapshot's record, each of its disks, its suspend image: each goes by itself, and each is looked at again at every try.
CREATE TABLE removal_parts (
    removal_id INTEGER NOT NULL REFERENCES removals (id) ON DELETE CASCADE,
    uuid       TEXT    NOT NULL CHECK (length(uuid) = 36),
    role       TEXT    NOT NULL CHECK (role IN ('snapshot', 'disk', 'suspend')),
    -- 'spared': looked at again and no longer ours to destroy. 'stuck': the server will not let it go.
    state      TEXT    NOT NULL CHECK (state IN ('there', 'destroying', 'gone', 'spared', 'stuck')),
    cause_code TEXT,
    cause_text TEXT,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (removal_id, uuid)
) STRICT, WITHOUT ROWID;
