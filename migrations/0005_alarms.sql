-- Version 5: which promise counts since when, what is wrong, who was told of it, and who waits to be told.

-- Which policy covers which VM, and since when: what a VM without any snapshot is measured by, also while its pool is away.
CREATE TABLE coverings (
    pool_id   INTEGER NOT NULL REFERENCES pools (id),
    policy_id INTEGER NOT NULL REFERENCES policies (id),
    vm_uuid   TEXT    NOT NULL CHECK (length(vm_uuid) = 36),
    vm_name   TEXT    NOT NULL,
    since_at  INTEGER NOT NULL,
    PRIMARY KEY (pool_id, policy_id, vm_uuid)
) STRICT, WITHOUT ROWID;

-- Something that was wrong, from its beginning to its end.
CREATE TABLE alarms (
    id         INTEGER PRIMARY KEY,
    -- Tells it apart from all others: its code, and what it is about.
    key        TEXT    NOT NULL CHECK (key <> ''),
    code       TEXT    NOT NULL CHECK (code <> ''),
    severity   TEXT    NOT NULL CHECK (severity IN ('info', 'notice', 'warning', 'error', 'critical')),
    -- The pool's configured name, the policy's id; what it was about stays readable when they are gone.
    pool       TEXT,
    policy     TEXT,
    vm_uuid    TEXT,
    vm_name    TEXT,
    run_id     INTEGER REFERENCES runs (id) ON DELETE SET NULL,
    text       TEXT    NOT NULL,
    -- Since when it is wrong, when that was noticed, when it was last told, and when it was over.
    since_at   INTEGER NOT NULL,
    raised_at  INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    told_at    INTEGER NOT NULL,
    cleared_at INTEGER
) STRICT;
-- An alarm is an edge: the same thing is raised once until it is over.
CREATE UNIQUE INDEX alarms_raised ON alarms (key) WHERE cleared_at IS NULL;
CREATE INDEX alarms_by_time ON alarms (raised_at);
CREATE INDEX alarms_cleared ON alarms (cleared_at) WHERE cleared_at IS NOT NULL;
CREATE INDEX alarms_by_run ON alarms (run_id) WHERE run_id IS NOT NULL;

-- What is to be told of an alarm, until it stands in a message. Almost always empty.
CREATE TABLE alarm_edges (
    id       INTEGER PRIMARY KEY,
    alarm_id INTEGER NOT NULL REFERENCES alarms (id) ON DELETE CASCADE,
    edge     TEXT    NOT NULL CHECK (edge IN ('raised', 'cleared', 'reminded')),
    -- At once, or with the digest.
    urgent   INTEGER NOT NULL CHECK (urgent IN (0, 1)),
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX alarm_edges_by_alarm ON alarm_edges (alarm_id);

-- What is told: written, with a delivery for each channel, before anything is sent.
CREATE TABLE alarm_messages (
    id         INTEGER PRIMARY KEY,
    -- Comes with every delivery, so that a receiver knows one that it got twice.
    uuid       TEXT    NOT NULL UNIQUE CHECK (length(uuid) = 36),
    form       TEXT    NOT NULL CHECK (form IN ('immediate', 'digest')),
    -- JSON: what it tells.
    content    TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX alarm_messages_by_time ON alarm_messages (created_at);

CREATE TABLE alarm_deliveries (
    id          INTEGER PRIMARY KEY,
    message_id  INTEGER NOT NULL REFERENCES alarm_messages (id) ON DELETE CASCADE,
    channel     TEXT    NOT NULL CHECK (channel <> ''),
    state       TEXT    NOT NULL CHECK (state IN ('waiting', 'delivered', 'given-up', 'dropped')),
    attempts    INTEGER NOT NULL,
    next_try_at INTEGER NOT NULL,
    error       TEXT,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (message_id, channel),
    CHECK ((state = 'waiting') = (finished_at IS NULL))
) STRICT;
CREATE INDEX alarm_deliveries_waiting ON alarm_deliveries (channel, id) WHERE state = 'waiting';
CREATE INDEX alarm_deliveries_by_time ON alarm_deliveries (created_at);
CREATE INDEX alarm_deliveries_failed ON alarm_deliveries (finished_at) WHERE state = 'given-up';
