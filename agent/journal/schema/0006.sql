-- Releases that were begun. Frozen: a later change is a file of its own beside this one.

-- Captures whose device was about to be told to forget them, until they stand released: after a crash in between, only
-- a later look at the whole device can tell whether it did. Derived from the entries.
CREATE TABLE intended (
    capture INTEGER PRIMARY KEY,  -- its row
    seq     INTEGER NOT NULL      -- of the entry `release.intended`
) STRICT;
INSERT INTO intended
    SELECT capture, max(seq) FROM entry
    WHERE capture IN (SELECT row FROM capture WHERE standing = 2) AND instr(leaf, '"event":"release.intended"') > 0
    GROUP BY capture;
