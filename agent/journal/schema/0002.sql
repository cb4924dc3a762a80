-- What was signed over the log, and what others said of it. Frozen: a later change is a file of its own beside this one.

-- Checkpoints as the station signed them (c2sp.org/tlog-checkpoint). The leaves below one were committed before it was
-- signed, and it is committed here before it leaves the machine: no crash can leave a signed head that is ahead of us.
CREATE TABLE checkpoint (
    size        INTEGER PRIMARY KEY,  -- leaves
    root        BLOB    NOT NULL,     -- 32 bytes
    note        BLOB    NOT NULL,     -- with the station's signature line, byte for byte
    signed_at   INTEGER NOT NULL,     -- microseconds since 1970, UTC, by our clock
    cosigned    BLOB,                 -- the note with the lines of witnesses as far as they came
    cosigned_at INTEGER,              -- when the policy's quorum had cosigned, by the witnesses' clocks
    anchored    INTEGER               -- leaf index of the entry that quotes the cosigned note
) STRICT;
CREATE INDEX checkpoint_cosigned ON checkpoint (size) WHERE cosigned_at IS NOT NULL;
CREATE INDEX checkpoint_anchored ON checkpoint (anchored) WHERE anchored IS NOT NULL;

-- Time-stamp tokens (RFC 3161): what was stamped, and the answer of the authority.
CREATE TABLE time_stamp (
    size       INTEGER PRIMARY KEY,   -- of the checkpoint
    note       BLOB    NOT NULL,      -- the exact bytes that were stamped
    token      BLOB    NOT NULL,      -- TimeStampResp, DER: a .tsr file
    authority  TEXT    NOT NULL,
    stamped_at INTEGER NOT NULL,      -- genTime, by the authority's clock
    anchored   INTEGER NOT NULL       -- leaf index of the entry that quotes the token
) STRICT;
CREATE INDEX time_stamp_anchored ON time_stamp (anchored);

-- How large our log was when each witness cosigned it last: from there the next proof starts.
CREATE TABLE witness (
    vkey TEXT    NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A witness knows another history of this log: nothing is released any more.
CREATE TABLE contradiction (
    vkey    TEXT    NOT NULL PRIMARY KEY,
    reason  TEXT    NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
