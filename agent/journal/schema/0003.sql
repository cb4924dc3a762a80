-- What people find a capture by. Derived from the leaves. Frozen: a later change is a file of its own beside this one.

-- The words of a capture's first entry that name an officer, an incident or a device, as `agent.journal.words` folds them.
CREATE TABLE word (
    kind    TEXT    NOT NULL,  -- officer, incident, device
    value   TEXT    NOT NULL,
    capture INTEGER NOT NULL,  -- row
    PRIMARY KEY (kind, value, capture)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO word
    SELECT found.value ->> 0, found.value ->> 1, capture.row
    FROM capture JOIN entry ON entry.seq = capture.held_seq, json_each(words_of(entry.leaf)) AS found;

-- A drill is a capture that the station made to try itself. It travels like any other, and is in no list of evidence.
ALTER TABLE capture ADD COLUMN drill INTEGER NOT NULL GENERATED ALWAYS AS (device GLOB 'drill:*') VIRTUAL;
CREATE INDEX capture_drill ON capture (row) WHERE drill = 1;
CREATE INDEX capture_held_at ON capture (held_at, row);
