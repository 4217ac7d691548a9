-- What stops releases, who did what by hand, and how far the audit record goes.
-- Types and statements are those that SQLite and PostgreSQL share.

-- the breaker's trips; at most one of them is open: 1 then, NULL after the reset
CREATE TABLE breaker (
    id            INTEGER PRIMARY KEY,
    open          INTEGER UNIQUE,
    tripped_at    BIGINT NOT NULL,
    code          TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    lfn           TEXT,
    reset_at      BIGINT,
    reset_by      TEXT,
    reset_reason  TEXT
);

-- what operators want kept on site: a file, a dataset (scope:name), or everything (an empty name)
CREATE TABLE holds (
    kind       TEXT   NOT NULL,
    name       TEXT   NOT NULL,
    placed_at  BIGINT NOT NULL,
    placed_by  TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE operator_actions (
    id      INTEGER PRIMARY KEY,
    at      BIGINT NOT NULL,
    who     TEXT   NOT NULL,
    action  TEXT   NOT NULL,
    target  TEXT   NOT NULL,
    reason  TEXT   NOT NULL
);
CREATE TRIGGER operator_actions_are_never_changed BEFORE UPDATE ON operator_actions
BEGIN SELECT RAISE(ABORT, 'operator actions are append-only'); END;
CREATE TRIGGER operator_actions_are_never_deleted BEFORE DELETE ON operator_actions
BEGIN SELECT RAISE(ABORT, 'operator actions are append-only'); END;

-- the last audit record known to be on disk: one row, id 1
CREATE TABLE audit_head (
    id    INTEGER PRIMARY KEY,
    seq   BIGINT NOT NULL,
    hash  TEXT   NOT NULL
);

CREATE INDEX events_of_release_orders ON events (at) WHERE kind = 'release-ordered';
