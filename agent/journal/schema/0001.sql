-- The custody log and what follows from it. Frozen: a later change is a file of its own beside this one.

-- One leaf of the custody log: canonical JSON, byte for byte as it was hashed. Never updated, never deleted.
CREATE TABLE entry (
    seq     INTEGER PRIMARY KEY,   -- leaf index, from 0, without gaps
    capture INTEGER,               -- the row of the capture it speaks of
    leaf    BLOB NOT NULL
) STRICT;
CREATE INDEX entry_of_capture ON entry (capture, seq) WHERE capture IS NOT NULL;

-- Full tiles of the tree (c2sp.org/tlog-tiles, height 8): 256 hashes of 32 bytes. Derived from the leaves.
CREATE TABLE tile (
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    hashes BLOB    NOT NULL,
    UNIQUE (level, idx)
) STRICT;

-- Where each capture stands: the sum of its entries, derived from them (`evidock journal verify` compares).
CREATE TABLE capture (
    row          INTEGER PRIMARY KEY,
    id           BLOB    NOT NULL UNIQUE,  -- UUID, 16 bytes
    origin       BLOB    NOT NULL,         -- token of device, key and began_at, 16 bytes
    device       TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    began_at     TEXT,                     -- the device's word
    sha256       BLOB    NOT NULL,
    blake3       BLOB    NOT NULL,
    length       INTEGER NOT NULL,
    part_sha256  BLOB    NOT NULL,         -- 32 bytes a part, empty for one part
    part_through BLOB    NOT NULL,
    media_type   TEXT    NOT NULL,
    grouping     TEXT,
    volatile     INTEGER NOT NULL,
    standing     INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    spooled      INTEGER NOT NULL,         -- its bytes lie in the spool
    retained     INTEGER NOT NULL,         -- a person ordered that it be kept
    held_seq     INTEGER NOT NULL,         -- leaf index of its first entry
    held_at      INTEGER NOT NULL,         -- microseconds since 1970, UTC
    changed_at   INTEGER NOT NULL,
    strength     INTEGER,                  -- of its receipt
    destination  TEXT,
    note         BLOB,                     -- the signed receipt, byte for byte
    receipted_at INTEGER,
    superseded   INTEGER NOT NULL,         -- the device holds other bytes under this origin now
    reason       TEXT
) STRICT;
CREATE INDEX capture_origin ON capture (origin, row);
CREATE INDEX capture_sha256 ON capture (sha256);
-- The queue: what stands held must be forwarded, in this order. There is no second list.
CREATE INDEX capture_queue ON capture (priority, held_seq) WHERE standing = 1;
CREATE INDEX capture_evictable ON capture (receipted_at) WHERE spooled = 1 AND standing IN (2, 3);
CREATE INDEX capture_aside ON capture (standing, row) WHERE standing IN (5, 6);
CREATE INDEX capture_forgotten ON capture (row) WHERE volatile = 1 AND standing = 2;

-- How many captures and bytes stand where: so that a status costs the same with ten captures and with ten million.
CREATE TABLE tally (
    standing INTEGER PRIMARY KEY,
    captures INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;

-- What an uplink remembers of an upload under way, such as its URL: a hint, no promise, and no leaf.
CREATE TABLE upload (
    capture     INTEGER NOT NULL,
    destination TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    PRIMARY KEY (capture, destination)
) STRICT, WITHOUT ROWID;

-- Bytes that arrived and belong to no whole capture: kept under their SHA-256, with the reason.
CREATE TABLE part (
    sha256 BLOB    NOT NULL PRIMARY KEY,
    length INTEGER NOT NULL,
    origin BLOB,
    reason TEXT    NOT NULL,
    seq    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Names and settings of this journal.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
