-- Version 1: who we are, which pools and policies we have seen, and which due times were claimed.
--
-- Conventions of all migrations:
--   * Every table is STRICT and has foreign keys. A column with a closed set of values says so in a CHECK; the same set is an enum in
--     `src/store/`, and a test compares the two.
--   * Times end in `_at`, `_until`, `_from` or `_due` and are microseconds since 1970-01-01 UTC. Zones live in policies only.
--   * UUIDs are text, lower case, hyphenated. JSON is text written by this program.
--   * Columns named `..._id` refer to a row of this database and mean nothing outside it. What the pool knows is named `uuid` or `ref`.
--   * Lists are ordered by a time and then the row; an index ends with the time, and SQLite appends the row by itself.
--   * A migration that was released is never edited. The next change is the next file.

-- Tells a history database of this program from any other SQLite file ("XSNP").
PRAGMA application_id = 1481854544;

-- Exactly one row.
CREATE TABLE installation (
    only_row      INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- Names this line of history. The sidecar file repeats it, so that another database put in its place is noticed.
    database_uuid TEXT    NOT NULL CHECK (length(database_uuid) = 36),
    -- The configured installation that used this database last; null until the first. The configuration decides, this remembers.
    installation  TEXT,
    created_at    INTEGER NOT NULL,
    -- Grows with every commit. The sidecar file follows; a database behind its sidecar is an older copy that was restored.
    generation    INTEGER NOT NULL CHECK (generation >= 0),
    -- The generation that is known to be in the database file itself. A file that has not even reached it is older than the
    -- write-ahead log beside it, and the log must not be applied to it.
    checkpointed  INTEGER NOT NULL CHECK (checkpointed <= generation),
    -- Set only in copies this program made of itself, so that a copy in use is known as one even without a sidecar.
    copied_at     INTEGER,
    -- Set when an older copy was recognised, cleared when history was compared with the pools.
    restored_at   INTEGER
) STRICT;

CREATE TABLE pools (
    id            INTEGER PRIMARY KEY,
    uuid          TEXT    NOT NULL UNIQUE CHECK (length(uuid) = 36),
    name          TEXT    NOT NULL,
    -- JSON: the hosts last seen, [{"uuid","name","address"}]. Where to look for a new master when the old one is gone.
    members       TEXT    NOT NULL,
    master_uuid   TEXT,
    -- The master's agent_start_time as the server wrote it. Another value: the server restarted, and forgot sessions and tasks.
    server_start  TEXT,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL
) STRICT;

-- A VM is a pool's: an imported pool has the same uuids, and is another pool.
CREATE TABLE vms (
    id            INTEGER PRIMARY KEY,
    pool_id       INTEGER NOT NULL REFERENCES pools (id),
    uuid          TEXT    NOT NULL CHECK (length(uuid) = 36),
    -- The name last seen. A job keeps the name the VM had then.
    name          TEXT    NOT NULL,
    first_seen_at INTEGER NOT NULL,
    last_seen_at  INTEGER NOT NULL,
    UNIQUE (pool_id, uuid)
) STRICT;
CREATE INDEX vms_by_uuid ON vms (uuid);
CREATE INDEX vms_by_name ON vms (name);
CREATE INDEX vms_by_last_seen ON vms (last_seen_at);

CREATE TABLE policies (
    id            INTEGER PRIMARY KEY,
    -- The policy's stable id from its file. The name may change, this does not.
    key           TEXT    NOT NULL UNIQUE CHECK (key <> ''),
    name          TEXT    NOT NULL,
    -- Of schedule, zone and window. Another value: the schedule is new and counts from when it was first seen.
    fingerprint   TEXT    NOT NULL,
    enabled       INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    first_seen_at INTEGER NOT NULL,
    removed_at    INTEGER
) STRICT;

-- How far each policy has come on each pool.
CREATE TABLE cursors (
    policy_id       INTEGER NOT NULL REFERENCES policies (id),
    pool_id         INTEGER NOT NULL REFERENCES pools (id),
    -- Nothing due at or before this is ever fired: a schedule does not reach into the past.
    counts_from     INTEGER NOT NULL,
    -- The newest scheduled slot that was claimed.
    last_due        INTEGER,
    -- Slots due up to here were deleted by history's own retention. They stay claimed, without a row.
    forgotten_until INTEGER,
    PRIMARY KEY (policy_id, pool_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX cursors_by_pool ON cursors (pool_id);

-- One due time of one policy on one pool. The row is the claim: whoever inserts it has won, and it is never changed.
CREATE TABLE slots (
    id         INTEGER PRIMARY KEY,
    policy_id  INTEGER NOT NULL REFERENCES policies (id),
    pool_id    INTEGER NOT NULL REFERENCES pools (id),
    due_at     INTEGER NOT NULL,
    origin     TEXT    NOT NULL CHECK (origin IN ('schedule', 'start', 'manual')),
    state      TEXT    NOT NULL CHECK (state IN ('claimed', 'late', 'missed', 'skipped', 'overlapped', 'covered')),
    -- A short code for programs, and a sentence for people.
    reason     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    decided_at INTEGER NOT NULL,
    UNIQUE (policy_id, pool_id, due_at)
) STRICT;
CREATE INDEX slots_by_due ON slots (due_at);
CREATE INDEX slots_by_policy ON slots (policy_id, due_at);
CREATE INDEX slots_by_pool ON slots (pool_id, due_at);
CREATE INDEX slots_by_state ON slots (state, due_at);

-- Claimed, and its run not started yet: what a daemon that died between the two has to look at. Almost always empty.
CREATE TABLE slots_waiting (
    slot_id INTEGER PRIMARY KEY REFERENCES slots (id)
) STRICT;
