-- Quiet datasets are settled: one rule of the dataset takes over from the second rule of each file.
-- Types and statements are those that SQLite and PostgreSQL share.

-- the dataset's rule for the further copies, since when none of its files has one of its own any more, why that is not
-- so, and not before when it is looked at again
ALTER TABLE collections ADD COLUMN rule_s TEXT;
ALTER TABLE collections ADD COLUMN settled_at BIGINT;
ALTER TABLE collections ADD COLUMN unsettled TEXT;
ALTER TABLE collections ADD COLUMN settle_after BIGINT;

-- the intent: this rule is about to be ended, and nobody takes it for the file's own any more
ALTER TABLE files ADD COLUMN rule_b_ending TEXT;

CREATE INDEX files_with_rule_b ON files (scope, dataset) WHERE rule_b IS NOT NULL;
CREATE INDEX files_with_ending_rule ON files (scope, dataset) WHERE rule_b_ending IS NOT NULL;
