-- What else came up while the breaker was open: whoever resets it must have seen all of it.
-- Types and statements are those that SQLite and PostgreSQL share.
CREATE TABLE further_contradictions (
    trip    INTEGER NOT NULL REFERENCES breaker (id),
    at      BIGINT  NOT NULL,
    code    TEXT    NOT NULL,
    reason  TEXT    NOT NULL,
    lfn     TEXT    NOT NULL,   -- empty: about no single file
    PRIMARY KEY (trip, code, lfn)
);
