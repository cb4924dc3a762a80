-- Hashes of the newest leaves. Frozen: a later change is a file of its own beside this one.

-- The leaves after the last full tile, each with the hash that it had when it was written: full tiles hold those of all
-- others. A leaf whose bytes the disk changed later is not that of its hash.
CREATE TABLE tail (
    seq  INTEGER PRIMARY KEY,
    hash BLOB    NOT NULL
) STRICT;
