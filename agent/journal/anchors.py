"""What was signed over the log and what others said of it: checkpoints, cosignatures, time stamps, contradictions.

Bytes and numbers as they were given; what they mean is known to `agent.anchor`, which asks for all of this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent.capture import rfc3339
from agent.errors import JournalError, Refusal
from agent.journal.entry import Event, told_reason
from agent.journal.rows import micros, moment
from agent.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from agent.capture import Json
    from agent.journal.book import Journal

__all__ = [
    "Contradiction",
    "LogKeys",
    "Signed",
    "TimeStamp",
    "anchor_cosigned",
    "check_head",
    "contradict",
    "contradictions",
    "cosigned_time_stamp_over",
    "covering",
    "keep_cosigned",
    "keep_log_vkey",
    "keep_signed",
    "keep_time_stamp",
    "keep_witness_size",
    "log_keys",
    "log_vkey",
    "newest",
    "newest_cosigned",
    "newest_time_stamp",
    "of_size",
    "quoted_before",
    "retire_key",
    "root_at",
    "rotate_key",
    "time_stamp_over",
    "unsigned_head",
    "witness_size",
]

_ANCHORS: Final = frozenset({Event.ANCHOR_COSIGNED.value, Event.ANCHOR_TSA.value})
_COLUMNS: Final = "size, root, note, signed_at, cosigned, cosigned_at"


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint that the station signed."""

    size: int
    root: bytes
    note: bytes
    signed_at: datetime
    cosigned: bytes | None = None
    """With the lines of witnesses, as far as they came."""
    cosigned_at: datetime | None = None
    """When the quorum had cosigned, by the witnesses' clocks; None before."""

    @property
    def best(self) -> bytes:
        """The note with all the lines that there are."""
        return self.note if self.cosigned is None else self.cosigned


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """A token over a checkpoint."""

    size: int
    note: bytes
    """The exact bytes that were stamped."""
    token: bytes
    """TimeStampResp, DER: what `openssl ts -verify -in` reads."""
    authority: str
    stamped_at: datetime


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The public keys of the log, as its entries name them."""

    key: str | None
    """None before the agent ran for the first time."""
    former: str | None = None
    """While the key is being changed: the one before, which signs as well."""
    every: tuple[str, ...] = ()
    """Each that the log ever had, in order."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A witness knows another history of this log."""

    vkey: str
    reason: str
    seen_at: datetime


# --- the head ---------------------------------------------------------------------------------------------------------


def root_at(journal: Journal, size: int) -> bytes:
    """The root over the first `size` leaves. `JournalError` where there are not so many, or tiles are missing."""
    if size > journal.leaves.size:
        raise JournalError(f"the custody log has {journal.leaves.size} entries, and not {size}")
    return Frontier.at(size, journal.leaves.reader(size)).root()


def check_head(journal: Journal) -> Signed | None:
    """The last checkpoint that was signed. `JournalError` unless the tree over the leaves still begins with it."""
    last = newest(journal)
    if last is not None and (journal.leaves.size < last.size or root_at(journal, last.size) != last.root):
        raise JournalError(
            f"the journal has {journal.leaves.size} entries and does not agree with the checkpoint over"
            f" {last.size} entries that this station signed at {rfc3339(last.signed_at)}"
        )
    return last


def unsigned_head(journal: Journal) -> tuple[int, bytes] | None:
    """Size and root, where something new stands there that no checkpoint covers.

    An entry that only quotes a checkpoint is nothing new: it waits for the next entry that is. Otherwise each
    checkpoint would bring an entry, and each entry a checkpoint, for ever.
    """
    size, last = journal.leaves.size, journal.connection.execute("SELECT max(size) FROM checkpoint").get or 0
    for seq in range(size - 1, last - 1, -1):
        if json.loads(journal.leaves.leaf(seq))["predicate"]["event"] not in _ANCHORS:
            return size, journal.leaves.root()
    return None


def keep_signed(journal: Journal, signed: Signed) -> None:
    """Keep a checkpoint before it leaves the machine. Older ones that nobody cosigned or stamped are let go."""
    if root_at(journal, signed.size) != signed.root:
        raise JournalError("a checkpoint was signed over a tree that is not ours")
    journal.connection.execute(
        "INSERT OR IGNORE INTO checkpoint (size, root, note, signed_at) VALUES (?, ?, ?, ?)",
        (signed.size, signed.root, signed.note, micros(signed.signed_at)),
    )
    journal.connection.execute("DELETE FROM checkpoint WHERE cosigned IS NULL AND size < ?", (signed.size,))


def keep_cosigned(journal: Journal, signed: Signed, cosigned: bytes, cosigned_at: datetime | None) -> None:
    """Keep a checkpoint with the lines of witnesses; `cosigned_at` once they make up the quorum."""
    at = None if cosigned_at is None else micros(cosigned_at)
    journal.connection.execute(
        "INSERT INTO checkpoint (size, root, note, signed_at, cosigned, cosigned_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        " ON CONFLICT (size) DO UPDATE SET cosigned = ?5, cosigned_at = coalesce(cosigned_at, ?6)"
        " WHERE anchored IS NULL",
        (signed.size, signed.root, signed.note, micros(signed.signed_at), cosigned, at),
    )


def newest(journal: Journal) -> Signed | None:
    """The last checkpoint that was signed."""
    return _one(journal, "1 ORDER BY size DESC")


def of_size(journal: Journal, size: int) -> Signed | None:
    """The checkpoint over so many leaves."""
    return _one(journal, "size = ?", size)


def newest_cosigned(journal: Journal) -> Signed | None:
    """The last checkpoint that the quorum cosigned."""
    return _one(journal, "cosigned_at IS NOT NULL ORDER BY size DESC")


def covering(journal: Journal, index: int) -> Signed | None:
    """The first checkpoint above leaf `index` that the quorum cosigned."""
    return _one(journal, "cosigned_at IS NOT NULL AND size > ? ORDER BY size", index)


def quoted_before(journal: Journal, index: int) -> tuple[int, bytes] | None:
    """The last entry before leaf `index` that quotes a cosigned checkpoint, and the note that it quotes."""
    row = _one_row(
        journal, "SELECT anchored, cosigned FROM checkpoint WHERE anchored < ? ORDER BY anchored DESC", index
    )
    return None if row is None else (row[0], row[1])


def log_vkey(journal: Journal) -> str | None:
    """The public key of the log, for witnesses and policies to name; None before the agent ran for the first time."""
    found: str | None = journal.connection.execute("SELECT value FROM meta WHERE name = 'log_vkey'").get
    return found


def keep_log_vkey(journal: Journal, vkey: str) -> None:
    """Remember it for those who look at the journal without the private key."""
    every = log_keys(journal).every
    _keep(journal, log_vkey=vkey, log_vkeys=" ".join(every if vkey in every else (*every, vkey)))


def log_keys(journal: Journal) -> LogKeys:
    """Every public key of the log."""
    found = dict(journal.connection.execute("SELECT name, value FROM meta WHERE name LIKE 'log!_vkey%' ESCAPE '!'"))
    key, every = found.get("log_vkey"), found.get("log_vkeys", "").split()
    return LogKeys(key, found.get("log_vkey_former"), tuple(every or ([] if key is None else [key])))


def rotate_key(journal: Journal, vkey: str, *, actor: str, why: str) -> None:
    """From here on checkpoints are signed with this key, and with the one before as well. `Refusal` while one is."""
    known = log_keys(journal)
    if known.former is not None:
        raise Refusal("the key is being changed already", hint="End that first: evidock custody rotate --finish.")
    told: dict[str, Json] = {"new": vkey, "old": known.key}
    journal.record(Event.KEY_ROTATED, {"key": told, "why": why}, actor=actor)
    if known.key is not None:
        _keep(journal, log_vkey_former=known.key)
    keep_log_vkey(journal, vkey)


def retire_key(journal: Journal, *, actor: str, why: str) -> None:
    """Only the newer key from here on. `Refusal` where there is no other."""
    known = log_keys(journal)
    if known.former is None:
        raise Refusal("the key is not being changed", hint="Nothing was changed. Begin with: evidock custody rotate.")
    told: dict[str, Json] = {"new": known.key, "old": known.former}
    journal.record(Event.KEY_RETIRED, {"key": told, "why": why}, actor=actor)
    journal.connection.execute("DELETE FROM meta WHERE name = 'log_vkey_former'")


def _keep(journal: Journal, **values: str) -> None:
    for name, value in values.items():
        journal.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


# --- what others said -------------------------------------------------------------------------------------------------


def anchor_cosigned(journal: Journal, witnesses: Sequence[str]) -> bool:
    """Quote the last cosigned checkpoint in an entry, once: what is written later came after its witnesses' time."""
    last = newest_cosigned(journal)
    quoted = journal.connection.execute("SELECT max(size) FROM checkpoint WHERE anchored IS NOT NULL").get
    if last is None or last.cosigned_at is None or (quoted is not None and quoted >= last.size):
        return False
    told: dict[str, Json] = {
        "cosigned_at": rfc3339(last.cosigned_at),
        "sha256": sha256(last.best).hexdigest(),
        "size": last.size,
        "witnesses": list(witnesses),
    }
    seq = journal.leaves.size
    journal.record(Event.ANCHOR_COSIGNED, {"checkpoint": told})
    journal.connection.execute("UPDATE checkpoint SET anchored = ? WHERE size = ?", (seq, last.size))
    return True


def keep_time_stamp(journal: Journal, stamp: TimeStamp) -> None:
    """Keep a token and quote it in an entry."""
    told: dict[str, Json] = {
        "authority": told_reason(stamp.authority),
        "sha256": sha256(stamp.token).hexdigest(),
        "size": stamp.size,
        "stamped_at": rfc3339(stamp.stamped_at),
    }
    seq = journal.leaves.size
    journal.record(Event.ANCHOR_TSA, {"time_stamp": told})
    journal.connection.execute(
        "INSERT OR REPLACE INTO time_stamp VALUES (?, ?, ?, ?, ?, ?)",
        (stamp.size, stamp.note, stamp.token, stamp.authority, micros(stamp.stamped_at), seq),
    )


def newest_time_stamp(journal: Journal) -> TimeStamp | None:
    """The last token."""
    return _stamp(journal, "1 ORDER BY size DESC")


def time_stamp_over(journal: Journal, index: int) -> TimeStamp | None:
    """The first token over a checkpoint above leaf `index`."""
    return _stamp(journal, "size > ? ORDER BY size", index)


def cosigned_time_stamp_over(journal: Journal, index: int) -> TimeStamp | None:
    """The first token above leaf `index` over a checkpoint with the lines of the quorum, as it is kept."""
    cosigned = "SELECT 1 FROM checkpoint c WHERE c.size = time_stamp.size AND c.cosigned = time_stamp.note"
    return _stamp(journal, f"size > ? AND EXISTS ({cosigned} AND c.cosigned_at IS NOT NULL) ORDER BY size", index)


def witness_size(journal: Journal, vkey: str) -> int:
    """How large the log was when this witness cosigned it last; 0 where it never did."""
    return journal.connection.execute("SELECT size FROM witness WHERE vkey = ?", (vkey,)).get or 0


def keep_witness_size(journal: Journal, vkey: str, size: int) -> None:
    """Remember what a witness cosigned, or says that it did."""
    journal.connection.execute("INSERT OR REPLACE INTO witness VALUES (?, ?)", (vkey, size))


def contradict(journal: Journal, vkey: str, reason: str, seen_at: datetime) -> bool:
    """A witness knows another history: kept, with an entry, once for each witness. It ends with this journal only."""
    if journal.connection.execute("SELECT 1 FROM contradiction WHERE vkey = ?", (vkey,)).get is not None:
        return False
    reason = told_reason(reason)
    journal.connection.execute("INSERT INTO contradiction VALUES (?, ?, ?)", (vkey, reason, micros(seen_at)))
    journal.record(Event.ANCHOR_CONTRADICTED, {"reason": reason, "witness": vkey})
    return True


def contradictions(journal: Journal) -> list[Contradiction]:
    """Every witness that knows another history; while there is one, nothing may be released."""
    rows = journal.connection.execute("SELECT vkey, reason, seen_at FROM contradiction ORDER BY seen_at")
    return [Contradiction(vkey, reason, moment(seen_at)) for vkey, reason, seen_at in rows]


def _one(journal: Journal, condition: str, *values: int) -> Signed | None:
    row = _one_row(journal, f"SELECT {_COLUMNS} FROM checkpoint WHERE {condition}", *values)  # noqa: S608 - ours
    if row is None:
        return None
    size, root, note, signed_at, cosigned, cosigned_at = row
    return Signed(size, root, note, moment(signed_at), cosigned, None if cosigned_at is None else moment(cosigned_at))


def _stamp(journal: Journal, condition: str, *values: int) -> TimeStamp | None:
    sql = f"SELECT size, note, token, authority, stamped_at FROM time_stamp WHERE {condition}"  # noqa: S608 - ours
    row = _one_row(journal, sql, *values)
    return None if row is None else TimeStamp(row[0], row[1], row[2], row[3], moment(row[4]))


def _one_row(journal: Journal, sql: str, *values: int) -> tuple[Any, ...] | None:
    found: tuple[Any, ...] | None = journal.connection.execute(f"{sql} LIMIT 1", values).fetchone()
    return found
