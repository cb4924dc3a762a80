-- Facts about the world, and what they make of captures. Frozen: a later change is a file of its own beside this one.

-- What observations tell of an interval: who had a device, which incident, what was switched on. Derived from entries.
-- Later words win: an interval is never changed because a later one overlaps it.
CREATE TABLE fact (
    seq      INTEGER PRIMARY KEY,  -- leaf of the observation
    sort     TEXT    NOT NULL,     -- clock, incident, mark, officer, unit
    about    TEXT    NOT NULL,     -- a device, unit or officer, folded
    value    TEXT,                 -- the officer, unit, incident or kind, folded; none: nobody
    name     TEXT,                 -- what a later word about the same thing repeats
    began    INTEGER NOT NULL,     -- microseconds since 1970, UTC
    ended    INTEGER,              -- none: until further notice
    bits     INTEGER NOT NULL,     -- it is shorter than 2^bits seconds; 63: until further notice
    closed   INTEGER,              -- leaf that told its end
    replaced INTEGER               -- leaf that took its place, or took it back
) STRICT;
CREATE INDEX fact_when ON fact (sort, about, bits, began) WHERE replaced IS NULL;
CREATE INDEX fact_value ON fact (sort, value, bits, began) WHERE replaced IS NULL AND value IS NOT NULL;
CREATE INDEX fact_named ON fact (sort, name) WHERE replaced IS NULL AND name IS NOT NULL;

-- Positions, many of one device at a time: what the leaf `observed.batch` has the digest of, packed (zlib).
CREATE TABLE batch (
    seq     INTEGER PRIMARY KEY,  -- its leaf
    about   TEXT    NOT NULL,     -- the device, folded
    first   INTEGER NOT NULL,     -- microseconds since 1970, UTC
    last    INTEGER NOT NULL,     -- at most five minutes later
    count   INTEGER NOT NULL,     -- positions
    content BLOB    NOT NULL
) STRICT;
CREATE INDEX batch_when ON batch (about, first);

-- When each capture was recorded by the station's time, as far as it was known when it was taken: to find it by time.
CREATE TABLE span (
    capture INTEGER PRIMARY KEY,  -- row
    device  TEXT    NOT NULL,
    bits    INTEGER NOT NULL,     -- as above
    began   INTEGER NOT NULL,
    ended   INTEGER NOT NULL
) STRICT;
CREATE INDEX span_when ON span (device, bits, began);

-- By what a device may be called, folded: its id, and its serial number.
CREATE TABLE alias (
    name   TEXT NOT NULL,
    device TEXT NOT NULL,
    PRIMARY KEY (name, device)
) STRICT, WITHOUT ROWID;

-- The entry that tells what belongs to a capture now.
CREATE TABLE context (
    capture INTEGER PRIMARY KEY,  -- row
    seq     INTEGER NOT NULL
) STRICT;

-- Captures that have to be looked at again, and when: a hint, and no leaf.
CREATE TABLE unsettled (
    capture INTEGER PRIMARY KEY,  -- row
    due     INTEGER NOT NULL      -- microseconds since 1970, UTC
) STRICT;
CREATE INDEX unsettled_due ON unsettled (due);

INSERT INTO span
    SELECT c.row, c.device, found.value ->> 0, found.value ->> 1, found.value ->> 2
    FROM capture c JOIN entry ON entry.seq = c.held_seq, json_each(span_of(entry.leaf)) AS found WHERE c.drill = 0;
INSERT OR IGNORE INTO alias
    SELECT w.value, c.device FROM word w JOIN capture c ON c.row = w.capture WHERE w.kind = 'device' AND c.drill = 0;
