-- Version 4: what people should know, what people decided, and small facts to keep.

CREATE TABLE events (
    id            INTEGER PRIMARY KEY,
    at            INTEGER NOT NULL,
    kind          TEXT    NOT NULL CHECK (kind <> ''),
    severity      TEXT    NOT NULL CHECK (severity IN ('info', 'notice', 'warning', 'error', 'critical')),
    pool_id       INTEGER REFERENCES pools (id),
    policy_id     INTEGER REFERENCES policies (id),
    vm_id         INTEGER REFERENCES vms (id) ON DELETE SET NULL,
    run_id        INTEGER REFERENCES runs (id) ON DELETE SET NULL,
    snapshot_uuid TEXT,
    text          TEXT    NOT NULL,
    -- JSON, for programs.
    data          TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (at);
CREATE INDEX events_by_kind ON events (kind, at);
CREATE INDEX events_severe ON events (at) WHERE severity IN ('warning', 'error', 'critical');
CREATE INDEX events_by_vm ON events (vm_id, at) WHERE vm_id IS NOT NULL;
CREATE INDEX events_by_policy ON events (policy_id, at) WHERE policy_id IS NOT NULL;
CREATE INDEX events_by_pool ON events (pool_id, at) WHERE pool_id IS NOT NULL;
CREATE INDEX events_by_run ON events (run_id, at) WHERE run_id IS NOT NULL;
CREATE INDEX events_by_snapshot ON events (snapshot_uuid, at) WHERE snapshot_uuid IS NOT NULL;

-- A plan that a guard stopped, until a person has decided.
CREATE TABLE approvals (
    id         INTEGER PRIMARY KEY,
    kind       TEXT    NOT NULL CHECK (kind <> ''),
    pool_id    INTEGER NOT NULL REFERENCES pools (id),
    policy_id  INTEGER NOT NULL REFERENCES policies (id),
    vm_id      INTEGER REFERENCES vms (id) ON DELETE SET NULL,
    run_id     INTEGER REFERENCES runs (id) ON DELETE SET NULL,
    -- JSON: what exactly was asked for. An approval covers this and nothing else.
    plan       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('pending', 'granted', 'refused', 'expired', 'used')),
    asked_at   INTEGER NOT NULL,
    decided_at INTEGER,
    decided_by TEXT
) STRICT;
CREATE INDEX approvals_by_state ON approvals (state, asked_at);
CREATE INDEX approvals_by_run ON approvals (run_id);
CREATE INDEX approvals_by_vm ON approvals (vm_id);
CREATE INDEX approvals_by_policy ON approvals (policy_id, pool_id, state);
CREATE INDEX approvals_by_pool ON approvals (pool_id);

-- Small facts with a name and one current value: the highest lease epoch, pauses, the state of alarms. What has rows has a table.
CREATE TABLE notes (
    key        TEXT    PRIMARY KEY CHECK (key <> ''),
    value      TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
