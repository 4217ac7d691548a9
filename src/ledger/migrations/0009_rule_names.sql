-- Rules have names instead of letters.
ALTER TABLE files RENAME COLUMN rule_b TO further_copies_rule;
ALTER TABLE files RENAME COLUMN rule_b_ending TO further_copies_rule_ending;
ALTER TABLE files RENAME COLUMN rule_c TO on_site_rule;
ALTER TABLE collections RENAME COLUMN rule_a TO first_copy_rule;
ALTER TABLE collections RENAME COLUMN rule_s TO settled_rule;
DROP INDEX files_with_rule_b;
CREATE INDEX files_with_further_copies_rule ON files (scope, dataset) WHERE further_copies_rule IS NOT NULL;
