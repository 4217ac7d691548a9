-- When the end of the rule that protects the on-site copy was announced, of the release that is decided: before that, an end
-- of that rule is not of our making. Releases that were under way by an older version count as announced.
ALTER TABLE files ADD COLUMN release_announced_at BIGINT;
UPDATE files SET release_announced_at = state_since WHERE state = 'releasing';
