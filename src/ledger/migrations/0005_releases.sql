-- Releases ordered, by minute: the brakes of an hour are asked before each release, and must not count the hour each time.
CREATE TABLE releases (
    minute  INTEGER PRIMARY KEY,    -- its beginning, milliseconds since 1970-01-01T00:00:00 UTC
    files   BIGINT NOT NULL,
    bytes   BIGINT NOT NULL
);
INSERT INTO releases (minute, files, bytes)
    SELECT events.at / 60000 * 60000, COUNT(*), SUM(files.bytes) FROM events
    JOIN files ON files.id = events.file_id WHERE events.kind = 'release-ordered' GROUP BY 1;
DROP INDEX events_of_release_orders;
