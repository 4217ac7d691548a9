-- What is decided by has columns of its own: words that are kept for people, and their absence, decide nothing any more.
-- Types and statements are those that SQLite and PostgreSQL share.

-- 1: whoever wrote the intent of this release is carrying it out, and nobody else takes the file up
ALTER TABLE files ADD COLUMN being_carried_out INTEGER NOT NULL DEFAULT 0;
UPDATE files SET being_carried_out = 1
    WHERE state = 'releasing' AND release_ordered_at IS NULL AND waits_for IS NULL;

-- of a release that is ordered, how it is known that its on-site rule has ended: 'answered' or 'found'
ALTER TABLE files ADD COLUMN on_site_rule_end TEXT;
UPDATE files SET on_site_rule_end = CASE WHEN EXISTS (
        SELECT 1 FROM events WHERE events.detail IS NULL AND events.id = (
            SELECT MAX(id) FROM events AS orders WHERE orders.file_id = files.id AND orders.kind = 'release-ordered'))
    THEN 'answered' ELSE 'found' END
    WHERE state = 'releasing' AND release_ordered_at IS NOT NULL;

-- 1: it waits because copies of its own could not be read back
ALTER TABLE files ADD COLUMN copies_unreadable INTEGER NOT NULL DEFAULT 0;
UPDATE files SET copies_unreadable = 1 WHERE state = 'replicated' AND waits_for LIKE '%cannot be read back%';

-- which kind of reason the words of `unsettled` give
ALTER TABLE collections ADD COLUMN unsettled_cause TEXT;
UPDATE collections SET unsettled_cause = CASE
        WHEN unsettled LIKE 'Rucio does not know the dataset%' THEN 'unknown-to-rucio'
        WHEN unsettled LIKE 'Rucio removes the dataset and its rules%' THEN 'ends-in-rucio'
        WHEN unsettled LIKE 'no rule can be placed again on the further copies of%' THEN 'rule-refused'
        ELSE 'other' END
    WHERE unsettled IS NOT NULL;
