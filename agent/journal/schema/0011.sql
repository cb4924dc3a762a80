-- What is announced at an MQTT broker. Frozen: a later change is a file of its own beside this one.

-- Captures that the DEMS has to be told of, for as long as they stand held. Derived from `capture`, and no leaf.
CREATE TABLE outbox (
    capture  INTEGER PRIMARY KEY,  -- row
    priority INTEGER NOT NULL,
    held_seq INTEGER NOT NULL,
    times    INTEGER NOT NULL,     -- how often it was announced
    told     INTEGER NOT NULL,     -- when last; microseconds since 1970, UTC
    due      INTEGER NOT NULL      -- when it is announced next; 0: now
) STRICT;
CREATE INDEX outbox_now ON outbox (priority, held_seq) WHERE due = 0;
CREATE INDEX outbox_later ON outbox (due);

-- What is to be sent again is to be announced again, where anything is announced.
CREATE TRIGGER outbox_again AFTER UPDATE OF standing ON capture WHEN new.standing = 1 AND old.standing <> 1 BEGIN
    INSERT OR IGNORE INTO outbox SELECT new.row, new.priority, new.held_seq, 0, 0, 0
        WHERE new.drill = 0 AND EXISTS (SELECT 1 FROM meta WHERE name = 'mqtt.through');
END;
CREATE TRIGGER outbox_priority AFTER UPDATE OF priority ON capture BEGIN
    UPDATE outbox SET priority = new.priority WHERE capture = new.row;
END;

-- Commands that came over MQTT, each with our answer: what comes again is not obeyed again. Kept for ever.
CREATE TABLE command (
    id     TEXT NOT NULL PRIMARY KEY,
    sha256 BLOB NOT NULL,          -- of the signed note
    answer TEXT NOT NULL
) STRICT, WITHOUT ROWID;
