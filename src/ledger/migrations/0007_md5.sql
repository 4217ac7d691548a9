-- MD5 of the content, where the configuration asks for it: of all algorithms the one that a storage is the least likely to
-- have been asked for, so that it computes it from the bytes.
ALTER TABLE files ADD COLUMN md5 TEXT;
