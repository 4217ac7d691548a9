-- When the file on disk was last changed in any way, as the kernel has it (ctime, nanoseconds), before it was read. NULL: not
-- known; the file is read again before its on-site copy is given up.
ALTER TABLE files ADD COLUMN changed_ns BIGINT;
