"""The journal: what happened to each capture, written once, and where it therefore stands.

Every act below appends one entry to the custody log and moves the capture along `STEPS` in the same transaction, or
it does neither. Nothing here waits: the daemon reaches it through `Desk`, a command line without daemon opens it
itself, and both call these same methods.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from agent.capture import (
    NO_CLAIMS,
    Capture,
    Digest,
    Holding,
    Json,
    Parts,
    Priority,
    Receipt,
    Stamp,
    Standing,
    capture_id,
)
from agent.errors import JournalError, JournalFull, Refusal
from agent.journal import spans
from agent.journal.database import fold, open_database, transaction, translated
from agent.journal.entry import Event, held_detail, told_reason
from agent.journal.leaves import Leaves
from agent.journal.owing import Destinations, owe
from agent.journal.pen import Pen, may_go
from agent.journal.rows import CODES, COLUMNS, holding, just_held, micros, raw_id
from agent.journal.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    import apsw

__all__ = ["Journal"]


class Journal:
    """The journal of one station. For one thread at a time."""

    def __init__(self, connection: apsw.Connection, log: str, stamp: Callable[[], Stamp]) -> None:
        self.connection = connection
        self.log = log
        """Origin of the custody log (c2sp.org/tlog-checkpoint)."""
        self.leaves = Leaves(connection)
        self.destinations = Destinations()
        self.settle = spans.SETTLE
        """Time between the taking of a capture and the first look at what belongs to it."""
        self._stamp = stamp
        self._pen = Pen(connection, log, self.leaves, stamp)
        self._folded = False

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        log: str,
        stamp: Callable[[], Stamp],
        opened: Mapping[str, Json] = NO_CLAIMS,
        actor: str = "agent",
    ) -> Self:
        """Open or begin the journal at `path`. `log` names a new one; an old one keeps the name it was begun with.

        What is `opened` stands in the first entry of a new one, by `actor`: after a loss of state, what it follows.

        Raises `JournalError` when the file cannot be used or was begun under another name. Where there is only no room
        it can be read, and to write raises `JournalFull`.
        """
        connection = open_database(path)
        with translated(f"the journal {path} cannot be read"):
            named = connection.execute("SELECT value FROM meta WHERE name = 'log'").get
            if named is not None and named != log:
                connection.close()
                raise JournalError(
                    f"this journal is the log {named}, and the configuration says {log}",
                    hint="Put the old names of agency and station back, or begin with a new, empty state folder.",
                )
            journal = cls(connection, log, stamp)
            with suppress(JournalFull):
                journal.settle_file()
            if named is None:
                if journal.leaves.size:
                    connection.close()
                    raise JournalError(f"the journal {path} has entries and does not say which log they are of")
                with journal.transaction():
                    connection.execute("INSERT INTO meta VALUES ('log', ?)", (log,))
                    journal.record(Event.LOG_OPENED, opened, actor=actor)
        return journal

    def settle_file(self) -> None:
        """Write what was found in the log to its final place, once, before anything is added. Raises `JournalFull`."""
        if not self._folded:
            fold(self.connection)
            self._folded = True

    def close(self) -> None:
        """Close the file; everything that was committed is in it."""
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block is durable when it is left, or nothing is: `JournalFull` where there is no room."""
        self.settle_file()
        try:
            with transaction(self.connection):
                yield
        except BaseException:
            with translated("the journal cannot be written", self.connection):
                self.leaves.reload()
                raise

    # -- what the agent does ------------------------------------------------------------------------------------------

    def hold(self, capture: Capture, digest: Digest, parts: Parts) -> Holding:
        """The capture's bytes lie in the spool under their SHA-256. Committing this is the promise.

        A capture that was held before keeps its standing; one that its device was told to forget and offers again with
        the same bytes stands receipted again, for the DEMS has it.
        """
        name = capture_id(capture.origin, digest.sha256)
        known = self.find(name)
        if known is None:
            return self._hold_new(name, capture, digest, parts)
        if known.standing in (Standing.RELEASED, Standing.PURGED):
            return self._pen.step(
                known, Standing.RECEIPTED, Event.OFFERED_AGAIN, {}, spooled=1, superseded=0, reason=None
            )
        if not known.spooled:
            # Lost from the spool and given again by its device: it is sent as if it were new.
            standing = Standing.HELD if known.standing is Standing.QUARANTINED else known.standing
            return self._pen.step(known, standing, Event.OFFERED_AGAIN, {}, spooled=1, superseded=0, reason=None)
        return self._pen.set(known, superseded=0)

    def receipt(self, capture: str, receipt: Receipt, *, detail: Mapping[str, Json] = NO_CLAIMS) -> None:
        """A receipt was verified. A weaker one never replaces a stronger one."""
        known = self.get(capture)
        if (
            known.receipt is not None
            and known.standing is Standing.RECEIPTED
            and known.receipt.strength >= receipt.strength
        ):
            return
        told: dict[str, Json] = {
            "destination": receipt.destination,
            "strength": receipt.strength.name.lower(),
            **({"sent": dict(receipt.sent)} if receipt.sent else {}),
            **detail,
        }
        if receipt.note is not None:
            told["note_sha256"] = sha256(receipt.note).hexdigest()
        row = self._pen.move(
            known,
            Standing.RECEIPTED,
            Event.RECEIPTED,
            {"receipt": told},
            ("receipted_at",),
            strength=int(receipt.strength),
            destination=receipt.destination,
            note=receipt.note,
            reason=None,
        )
        for table in ("upload", "owed"):
            self.connection.execute(
                f"DELETE FROM {table} WHERE capture = ? AND destination = ?",  # noqa: S608 - our names
                (row, receipt.destination),
            )
        owe(self.connection, row, self.destinations.needed)

    def refuse(self, capture: str, reason: str) -> Holding:
        """The DEMS said no, for ever."""
        reason = told_reason(reason)
        return self._pen.step(self.get(capture), Standing.REFUSED, Event.REFUSED, {"reason": reason}, reason=reason)

    def quarantine(self, capture: str, reason: str, *, superseded: bool = False) -> Holding:
        """We doubt it. `superseded`: the device holds other bytes under this origin, which are to be taken anew."""
        reason = told_reason(reason)
        event = Event.CHANGED_AFTER_SEEN if superseded else Event.QUARANTINED
        return self._pen.step(
            self.get(capture),
            Standing.QUARANTINED,
            event,
            {"reason": reason},
            reason=reason,
            superseded=int(superseded),
        )

    def lose(self, capture: str) -> Holding:
        """Its kept file is missing. If its device offers it again it is taken anew."""
        known, reason = self.get(capture), "its file is missing from the spool"
        standing = known.standing if known.standing in (Standing.RELEASED, Standing.RECEIPTED) else Standing.QUARANTINED
        return self._pen.step(
            known,
            standing,
            Event.QUARANTINED,
            {"reason": reason, "spooled": False},
            reason=reason,
            spooled=0,
            superseded=1,
        )

    def find_again(self, known: Holding, standing: Standing) -> Holding:
        """Its kept file was missing and lies there again, with its digest."""
        why = "it stood aside before its file was missing" if standing is Standing.QUARANTINED else None
        return self._pen.step(known, standing, Event.FOUND, {"reason": why}, spooled=1, reason=why)

    def quarantine_part(self, digest: Digest, reason: str, *, origin: bytes | None, about: Mapping[str, Json]) -> None:
        """Bytes that arrived and cannot be continued lie among the parts."""
        if self.connection.execute("SELECT 1 FROM part WHERE sha256 = ?", (digest.sha256,)).get is not None:
            return
        reason = told_reason(reason)
        detail: dict[str, Json] = {"part": {"about": dict(about), "length": digest.length}, "reason": reason}
        seq = self._pen.append(Event.QUARANTINED, f"part:{digest.sha256.hex()}", digest, detail, None)
        self.connection.execute(
            "INSERT INTO part VALUES (?, ?, ?, ?, ?)", (digest.sha256, digest.length, origin, reason, seq)
        )

    def explain_part(self, sha256: bytes, length: int, holding: Holding) -> bool:
        """A part proved to be the beginning of a capture that is held: it is no part any more. False: it was none."""
        if self.connection.execute("SELECT 1 FROM part WHERE sha256 = ?", (sha256,)).get is None:
            return False
        whole: dict[str, Json] = {"capture": holding.id, "sha256": holding.digest.sha256.hex()}
        detail: dict[str, Json] = {"part": {"begins": whole, "length": length}}
        self._pen.append(Event.PART_EXPLAINED, f"part:{sha256.hex()}", sha256, detail, None)
        self.connection.execute("DELETE FROM part WHERE sha256 = ?", (sha256,))
        return True

    def intend_release(self, capture: str, detail: Mapping[str, Json]) -> Holding:
        """The device's copy was read again and is equal, and the receipt suffices: it is about to be told to forget."""
        known = self.get(capture)
        if known.forgets is not None:
            raise Refusal(f"nobody can ask the device of capture {capture} to forget it: it {known.forgets}")
        if known.standing is not Standing.RECEIPTED:
            raise Refusal(f"capture {capture} stands {known.standing} and cannot be released")
        may_go(known)
        intended = self._pen.step(known, known.standing, Event.RELEASE_INTENDED, detail)
        self.connection.execute(
            "INSERT OR REPLACE INTO intended SELECT row, ? FROM capture WHERE id = ?",
            (self.leaves.size - 1, raw_id(capture)),
        )
        return intended

    def release(self, capture: str, detail: Mapping[str, Json] = NO_CLAIMS) -> Holding:
        """The device has forgotten it, or never kept it."""
        known = self.get(capture)
        may_go(known)
        return self._pen.step(known, Standing.RELEASED, Event.RELEASED, detail, reason=None)

    def infer_release(self, capture: str, listing: Mapping[str, Json]) -> Holding:
        """Its release was begun, nobody wrote how it ended, and a complete listing made later has it no more."""
        intention: int | None = self.connection.execute(
            "SELECT seq FROM intended WHERE capture = (SELECT row FROM capture WHERE id = ?)", (raw_id(capture),)
        ).get
        if intention is None:
            raise Refusal(f"no release of capture {capture} was begun")
        told: dict[str, Json] = {"intention": intention, "listing": dict(listing)}
        return self.release(capture, {"inferred": told})

    def refuse_release(self, capture: str, reason: str) -> Holding:
        """Its device may not forget it, or could not; written once for each reason."""
        known, reason = self.get(capture), told_reason(reason)
        if known.reason == reason:
            return known
        return self._pen.step(known, known.standing, Event.RELEASE_REFUSED, {"reason": reason}, reason=reason)

    def purge(self, capture: str) -> Holding:
        """Its bytes left the spool: the DEMS has them, by a receipt that the policy trusts."""
        known = self.get(capture)
        if known.standing not in (Standing.RECEIPTED, Standing.RELEASED):
            raise Refusal(f"capture {capture} stands {known.standing} and must stay in the spool")
        may_go(known)
        standing = Standing.PURGED if known.standing is Standing.RELEASED else known.standing
        return self._pen.step(known, standing, Event.PURGED, {}, spooled=0)

    def record(self, event: Event, detail: Mapping[str, Json], *, actor: str = "agent") -> None:
        """An entry about the agent, its devices or its surroundings, not about one capture."""
        self._pen.append(event, self.log, self.leaves.root(), detail, None, actor=actor)

    def check_fixity(self, capture: str, detail: Mapping[str, Json]) -> Holding:
        """Its bytes were read again and compared."""
        known = self.get(capture)
        return self._pen.step(known, known.standing, Event.FIXITY_CHECKED, detail)

    def note(
        self, capture: str, event: Event, detail: Mapping[str, Json], *, priority: Priority | None = None
    ) -> Holding:
        """An entry about a capture that stays where it stands, and whose class may change."""
        known = self.get(capture)
        if priority is None:
            return self._pen.step(known, known.standing, event, detail)
        self.connection.execute("UPDATE owed SET priority = ? WHERE capture = ?", (int(priority), self.row(capture)))
        return self._pen.step(known, known.standing, event, detail, priority=int(priority))

    def now(self) -> datetime:
        """The station's time."""
        return self._stamp().at

    # -- what a person does -------------------------------------------------------------------------------------------

    def retry(self, capture: str, *, actor: str, why: str) -> Holding:
        """Send it again: after a refusal, out of quarantine, or although it was receipted."""
        known = self.get(capture)
        if not known.spooled:
            raise Refusal(f"the bytes of capture {capture} are no longer in the spool")
        if known.standing is Standing.HELD:
            return self._pen.act(known, known.standing, "retry", actor, why)
        return self._pen.act(
            known,
            Standing.HELD,
            "retry",
            actor,
            why,
            reason=None,
            strength=None,
            destination=None,
            note=None,
            receipted_at=None,
        )

    def prioritise(self, capture: str, priority: Priority, *, actor: str, why: str) -> Holding:
        """Send it before (or after) others."""
        known = self.get(capture)
        self.connection.execute("UPDATE owed SET priority = ? WHERE capture = ?", (int(priority), self.row(capture)))
        return self._pen.act(
            known, known.standing, f"prioritise {priority.name.lower()}", actor, why, priority=int(priority)
        )

    def hand_out(self, capture: str, *, actor: str, why: str) -> Holding:
        """A person takes a copy of it and of all that proves it."""
        known = self.get(capture)
        return self._pen.act(known, known.standing, "export", actor, why)

    def retain(self, capture: str, *, keep: bool, actor: str, why: str) -> Holding:
        """Keep it on device and in spool whatever the policy says, or lift that order."""
        known = self.get(capture)
        return self._pen.act(known, known.standing, "hold" if keep else "lift hold", actor, why, retained=int(keep))

    # -- one capture --------------------------------------------------------------------------------------------------

    def find(self, capture: str) -> Holding | None:
        """What stands here of this capture."""
        row = self.connection.execute(f"SELECT {COLUMNS} FROM capture WHERE id = ?", (raw_id(capture),)).get  # noqa: S608
        return None if row is None else holding(row, self.log)

    def row(self, capture: str) -> int:
        """Its row in the tables."""
        row: int = self.connection.execute("SELECT row FROM capture WHERE id = ?", (raw_id(capture),)).get
        return row

    def get(self, capture: str) -> Holding:
        """The same; raises `Refusal` where there is none."""
        try:
            found = self.find(capture)
        except ValueError:
            raise Refusal(f"{capture} is not the id of a capture", hint="List them: evidock capture list.") from None
        if found is None:
            raise Refusal(f"no capture {capture} is known here", hint="List them: evidock capture list.")
        return found

    # -- how it is written --------------------------------------------------------------------------------------------

    def _hold_new(self, name: str, capture: Capture, digest: Digest, parts: Parts) -> Holding:
        origin, stamp = capture.origin, self._stamp()
        now = stamp.at
        told = held_detail(capture, digest, parts)
        began_at, seq = origin.claims["began_at"], self.leaves.size
        self.connection.execute(
            "INSERT INTO capture (id, origin, device, key, began_at, sha256, blake3, length, part_sha256,"
            " part_through, media_type, grouping, volatile, standing, priority, spooled, retained, held_seq, held_at,"
            " changed_at, superseded, clip, members, forgets)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, ?, 0, ?, ?, ?)",
            (
                raw_id(name), origin.token, origin.device, origin.key, began_at, digest.sha256, digest.blake3,
                digest.length, parts.sha256, parts.through, capture.media_type, capture.group, int(capture.volatile),
                CODES[Standing.HELD], int(capture.priority), seq, micros(now), micros(now),
                capture.clip, capture.members, capture.forgets,
            ),
        )  # fmt: skip
        row = self.connection.last_insert_rowid()
        self._pen.append(Event.HELD, name, digest, told, row, stamp=stamp)
        self.connection.executemany("INSERT INTO word VALUES (?, ?, ?)", [(*word, row) for word in words(told)])
        found = just_held(name, capture, digest, parts, log=self.log, index=seq, at=now)
        if not found.drill:
            spans.begun(self.connection, row, told, now, now + self.settle)
        self._pen.count(found, Standing.HELD, 1)
        owe(self.connection, row, self.destinations.copies)
        return found
