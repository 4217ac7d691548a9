-- The durable record of custody. Times are milliseconds since 1970 UTC unless the column's name says otherwise.
-- Types and statements are those that SQLite and PostgreSQL share.

CREATE TABLE files (
    id                   INTEGER PRIMARY KEY,
    lfn                  TEXT    NOT NULL UNIQUE,
    scope                TEXT    NOT NULL,
    dataset              TEXT    NOT NULL,
    state                TEXT    NOT NULL,
    state_since          BIGINT  NOT NULL,
    -- the delivery: identity on disk, and a count that makes each delivery distinct
    delivery             BIGINT  NOT NULL DEFAULT 1,
    discovered_at        BIGINT  NOT NULL,
    trigger_pending      INTEGER NOT NULL DEFAULT 1,
    bytes                BIGINT  NOT NULL,
    mtime_ns             BIGINT  NOT NULL,
    inode                BIGINT  NOT NULL,
    -- what verification found; hex, lower case
    adler32              TEXT,
    crc32c               TEXT,
    blake3               TEXT,
    metadata             TEXT,
    valid_fits_checksum  INTEGER,
    -- what Rucio has of ours for this file
    rule_b               TEXT,
    rule_c               TEXT,
    first_rse            TEXT,
    -- evidence and release
    first_look           TEXT,
    last_evidence        TEXT,
    release_ordered_at   BIGINT,
    replica_gone_at      BIGINT,
    -- set aside: why, where to, and where it stood before
    reason_code          TEXT,
    reason               TEXT,
    invalid_path         TEXT,
    held_from            TEXT,
    -- work
    next_attempt         BIGINT  NOT NULL,
    attempts             BIGINT  NOT NULL DEFAULT 0,
    waits_for            TEXT,
    claimed_by           TEXT,
    claimed_until        BIGINT
);
CREATE INDEX files_due ON files (state, next_attempt);
CREATE INDEX files_of_dataset ON files (scope, dataset);
CREATE INDEX files_claimed ON files (claimed_by) WHERE claimed_by IS NOT NULL;
CREATE INDEX files_with_trigger ON files (state) WHERE trigger_pending = 1;

CREATE TABLE events (
    id          INTEGER PRIMARY KEY,
    file_id     BIGINT NOT NULL REFERENCES files (id),
    at          BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    from_state  TEXT,
    to_state    TEXT,
    detail      TEXT
);
CREATE INDEX events_of_file ON events (file_id, id);
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;
CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END;

-- datasets and containers that are known to exist in Rucio, attached to their parents
CREATE TABLE collections (
    scope     TEXT   NOT NULL,
    name      TEXT   NOT NULL,
    known_at  BIGINT NOT NULL,
    rule_a    TEXT,
    PRIMARY KEY (scope, name)
);

-- a file that is registered was delivered again and waits to be compared
CREATE TABLE redeliveries (
    file_id       BIGINT PRIMARY KEY REFERENCES files (id),
    bytes         BIGINT NOT NULL,
    mtime_ns      BIGINT NOT NULL,
    inode         BIGINT NOT NULL,
    seen_at       BIGINT NOT NULL,
    next_attempt  BIGINT NOT NULL
);

-- triggers that cannot be taken, reported once each
CREATE TABLE wrong_triggers (
    path       TEXT   PRIMARY KEY,
    reason     TEXT   NOT NULL,
    message    TEXT   NOT NULL,
    signature  TEXT   NOT NULL,
    since      BIGINT NOT NULL
);
