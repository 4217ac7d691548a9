-- Which ledger this is: the rules of its daemon are signed with it.
CREATE TABLE identity (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    ledger TEXT NOT NULL
);

-- Ledgers that are gone for good, and whose rules this one answers for; 'unsigned': rules that name no ledger.
CREATE TABLE ledgers_taken_over (
    ledger TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    by_whom TEXT NOT NULL,
    reason TEXT NOT NULL
);

-- The rule for further copies that an earlier delivery of the file had: ours, whoever has signed it.
ALTER TABLE files ADD COLUMN earlier_further_copies_rule TEXT;

-- RSEs whose doors were seen to lead to one storage, or to two, with the file that showed it.
CREATE TABLE storages_told_apart (
    first_rse TEXT NOT NULL,
    second_rse TEXT NOT NULL,
    at BIGINT NOT NULL,
    lfn TEXT NOT NULL,
    -- why they are one; NULL: they are two
    same TEXT,
    PRIMARY KEY (first_rse, second_rse)
);
