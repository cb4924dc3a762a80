-- Several destinations. Frozen: a later change is a file of its own beside this one.

-- What a destination still has to get beside the queue: a copy, or what another one took in its place. Derived from the
-- configuration and from `copy`; priority and device are those of the capture, so that one index gives the order.
CREATE TABLE owed (
    destination TEXT    NOT NULL,
    priority    INTEGER NOT NULL,
    device      TEXT    NOT NULL,
    held_seq    INTEGER NOT NULL,
    held_at     INTEGER NOT NULL,
    capture     INTEGER NOT NULL,          -- row
    PRIMARY KEY (destination, priority, device, held_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX owed_oldest ON owed (destination, priority, held_seq);
CREATE INDEX owed_capture ON owed (capture, destination);

-- Receipts beside the one that stands with the capture itself.
CREATE TABLE copy (
    capture     INTEGER NOT NULL,          -- row
    destination TEXT    NOT NULL,
    strength    INTEGER NOT NULL,
    note        BLOB,                      -- the signed receipt, byte for byte
    copied_at   INTEGER NOT NULL,          -- microseconds since 1970, UTC
    PRIMARY KEY (capture, destination)
) STRICT, WITHOUT ROWID;
