"""Are the heads that were signed over the log, and what others said of them, what the entries have and what they quote.

A witness's line and an authority's token are weighed by whoever trusts them; here only the log's own key is known.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from agent.capture import rfc3339
from agent.journal import anchors
from agent.journal.entry import Event
from agent.journal.rows import moment
from agent.note import COSIGNATURE, BadNote, Note, Verifier, decode64, encode64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.journal.book import Journal

__all__ = ["Heads"]

_STAMPED = "SELECT size, note FROM time_stamp WHERE size > ? AND size <= ?"
_SIGNED = "SELECT size, root, note, coalesce(cosigned, note) FROM checkpoint WHERE size > ? AND size <= ?"


class Heads:
    """The tables of checkpoints and time stamps, as far as the leaves were read."""

    def __init__(self, journal: Journal, size: int) -> None:
        self._size, self._origin = size, journal.log
        known = anchors.log_keys(journal)
        self._foreign = [vkey for vkey in (known.key, known.former) if vkey is not None and vkey not in known.every]
        self._keys: list[Verifier] = []
        for vkey in known.every:
            if (key := _key(vkey, journal.log)) is None:
                self._foreign.append(vkey)
            else:
                self._keys.append(key)
        signed: int = journal.connection.execute("SELECT count(*) FROM checkpoint").get
        self._nameless = signed if not self._keys else 0
        beyond = journal.connection.execute("SELECT size FROM checkpoint WHERE size > ? ORDER BY size", (size,))
        self._beyond: list[int] = [one for (one,) in beyond]
        self._quoted = self._stamped = 0

    def between(self, journal: Journal, first: int, end: int, say: Callable[[str, str], None]) -> dict[int, bytes]:
        """The root of each head over more than `first` and up to `end` entries, by its size."""
        roots: dict[int, bytes] = {}
        for size, root, *notes in journal.connection.execute(_SIGNED, (first, end)):
            roots[size] = root
            for note in dict.fromkeys(notes):
                self._note(f"checkpoint over {size} entries", note, size, root, say)
        for size, note in journal.connection.execute(_STAMPED, (first, end)):
            place = f"time stamp over {size} entries"
            try:
                stated = decode64(Note.parse(note).text.split("\n")[2])
            except (BadNote, IndexError) as error:
                say(place, f"is over no checkpoint ({error})")
                continue
            self._note(place, note, size, roots.setdefault(size, stated), say)
        return roots

    def _note(self, place: str, raw: bytes, size: int, root: bytes, say: Callable[[str, str], None]) -> None:
        try:
            note = Note.parse(raw)
            if note.text != f"{self._origin}\n{size}\n{encode64(root)}\n":
                say(place, "has a signed note that states another head")
            elif self._keys:
                note.verified_by(self._keys)
        except BadNote as error:
            say(place, f"has a note that this log did not sign ({error})")

    def read(self, journal: Journal, seq: int, predicate: Mapping[str, Any], say: Callable[[str, str], None]) -> None:
        """Compare what an entry quotes with what is kept."""
        if predicate["event"] == Event.ANCHOR_COSIGNED:
            told = predicate["checkpoint"]
            row = journal.connection.execute(
                "SELECT size, cosigned, cosigned_at FROM checkpoint WHERE anchored = ?", (seq,)
            ).fetchone()
            self._quoted += row is not None
            kept = None if row is None else (row[0], _hex(row[1]), None if row[2] is None else rfc3339(moment(row[2])))
            if kept != (told["size"], told["sha256"], told["cosigned_at"]):
                say(
                    f"entry {seq}",
                    f"quotes a checkpoint over {told['size']} entries that is not kept as it was",
                )
        elif predicate["event"] == Event.ANCHOR_TSA:
            told = predicate["time_stamp"]
            row = journal.connection.execute(
                "SELECT size, token, authority, stamped_at FROM time_stamp WHERE anchored = ?", (seq,)
            ).fetchone()
            self._stamped += row is not None
            stamp = None if row is None else (row[0], _hex(row[1]), row[2], rfc3339(moment(row[3])))
            if stamp != (told["size"], told["sha256"], told["authority"], told["stamped_at"]):
                say(f"entry {seq}", f"quotes a time stamp over {told['size']} entries that is not kept as it was")

    def end(self, journal: Journal, say: Callable[[str, str], None]) -> None:
        """Every leaf was read: nothing was signed over more, and nothing is said to be quoted that is not."""
        for vkey in self._foreign:
            say("keys", f"{vkey[:200]!r} stands among the keys of this log, and is none of them")
        if self._nameless:
            say("keys", f"{self._nameless} checkpoints are kept, and no key of this log is known that signed them")
        for size in self._beyond:
            say(f"checkpoint over {size} entries", "was signed, and there are not so many entries")
        for table, quoted in (("checkpoint", self._quoted), ("time_stamp", self._stamped)):
            sql = f"SELECT count(*) FROM {table} WHERE anchored < ?"  # noqa: S608 - ours
            if (found := journal.connection.execute(sql, (self._size,)).get) != quoted:
                say("heads", f"the table {table} names {found} entries that quote it, and {quoted} do")


def _key(vkey: str, log: str) -> Verifier | None:
    """The key of this log, or None: its id is made of all of it, so that no letter of it can be another one."""
    try:
        key = Verifier.parse(vkey)
    except BadNote:
        return None
    return key if key.name == log and key.kind != COSIGNATURE else None


def _hex(raw: bytes | None) -> str | None:
    return None if raw is None else sha256(raw).hexdigest()
