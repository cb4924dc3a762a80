-- The order in which captures are sent. Frozen: a later change is a file of its own beside this one.

-- Within a class the devices take turns: the next device, and its first capture, are one step in this index each.
CREATE INDEX capture_turn ON capture (priority, device, held_seq) WHERE standing = 1;
-- The DEMS is told of captures whose bytes have to wait, in the order in which they were held.
CREATE INDEX capture_untold ON capture (held_seq) WHERE standing = 1;

-- How many bytes went over which class of links on which day: budgets count on after a restart. No leaf.
CREATE TABLE spent (
    day   TEXT    NOT NULL,               -- 2026-11-22, in the station's zone
    link  TEXT    NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (day, link)
) STRICT, WITHOUT ROWID;
