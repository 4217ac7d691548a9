-- Which clock the times in the ledger were taken by: one row, id 1. The machine's start by that clock tells it from others.
CREATE TABLE clock (
    id         INTEGER PRIMARY KEY,
    booted_at  BIGINT NOT NULL
);
