"""What happens with an upload of entries: judged, offered to the agent's hand, noted, and only then answered.

    judge      signature, key and form of each line; then, one notebook after another:
    place      where it belongs in that
    take       each line is a capture; the hand returns when the journal has it
    observe    where an entry that came earlier is something else now, that is an entry of the custody log
    shelf      one transaction: the new lines, the statuses that changed, the attachments that are awaited
    receipt    signed, and answered

If power fails anywhere before the answer, the tablet sends the same lines again. What was taken is found held under the
same origin; what was not noted is judged again by the same rules, and noted then. Nothing is doubled.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import Json, Observation, Standing, printable, rfc3339
from agent.errors import DeviceError, DeviceGone
from drivers.enotes.awaiting import put_awaited
from drivers.enotes.judging import ALARMING, Judged, judge
from drivers.enotes.notebooks import entry_of
from drivers.enotes.offers import AtHand, device_of, envelope_capture, unreadable_capture
from firmware_specs.formats.enote import Status, lines

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Sequence

    from agent.capture import Device
    from agent.driver import Intake
    from drivers.enotes.notebooks import Notebooks
    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.register import Register, Tablet
    from drivers.enotes.shelf import Shelf
    from drivers.enotes.signatures import StationKey
    from firmware_specs.formats.enote_notebook import Item, Notebook

__all__ = ["CHANGED", "Receiving", "note_changes", "put_changes"]

CHANGED: Final = "enote.status_changed"
"""Kind of the observation that entries which came earlier are something else now."""
_IN_FLIGHT: Final = 128
"""Lines of one upload that are offered at once: the journal commits what comes together in one go."""
_TOLD: Final = 50
"""Entries that one observation names; their number is told as well."""
_RECEIPTS: Final = 1000
_SQL_MAX: Final = 500
_GONE: Final = frozenset({Standing.RELEASED, Standing.PURGED})


@dataclass(slots=True)
class _Row:
    """What the index has of a line that came before."""

    tablet: str
    status: str
    flags: str


@dataclass(slots=True)
class _Line:
    """One line under way."""

    judged: Judged
    number: int = 0
    known: _Row | None = None
    twice: bool = False
    item: Item | None = None
    status: Status = Status.OK
    flags: tuple[str, ...] = ()
    standing: Standing = Standing.UNKNOWN
    removable: bool = False


class Receiving:
    """One listener for tablets: what it does with entries."""

    def __init__(
        self,
        options: EnotesOptions,
        shelf: Shelf,
        register: Register,
        notebooks: Notebooks,
        intake: Intake,
        *,
        key: StationKey,
        station: str,
        again: Callable[[list[str]], Awaitable[None]],
    ) -> None:
        self._options, self._shelf, self._register, self._notebooks = options, shelf, register, notebooks
        self._intake, self._key, self._station, self._again = intake, key, station, again
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._number = 0
        self.taken: Counter[str] = Counter()
        """Entries by status, since the start."""

    async def open(self) -> None:
        """Read how many lines there are. Run once, before anything is received."""
        sql = "SELECT coalesce(max(number), 0) FROM envelope"
        self._number = await self._shelf.look(lambda db: int(db.execute(sql).fetchone()[0]))

    async def upload(self, tablet: Tablet, body: bytes) -> dict[str, Any]:
        """Take a whole upload; the answer that may be given when this returns. Raises `Unreadable`."""
        received_at = datetime.now(UTC)
        keys, changes = dict(self._register.keys), self._register.changes

        def judged() -> list[Judged]:
            return [judge(line, keys, tablet=tablet, received_at=received_at) for line in lines(body)]

        found = await asyncio.to_thread(judged)
        under_way = [_Line(one) for one in found]
        together: dict[str | None, list[_Line]] = {}
        for line in under_way:
            together.setdefault(line.judged.notebook if line.judged.base is None else None, []).append(line)
        for name, ours in together.items():  # one alone may take much memory, and an upload may name a thousand
            if name is None:
                await self._known(ours)
                await self._keep(tablet, ours, received_at)
                continue
            async with self._notebooks.alone(name) as chain:
                await self._known(ours)
                changed = await self._shelf.look(partial(_placed, chain, ours))
                await self._keep(tablet, ours, received_at, name, chain, changed)
        if changes != self._register.changes:  # judged by keys that changed meanwhile: the answer is given all the same
            await self._again(sorted({one.envelope.kid for one in found if one.envelope.kid in self._register.keys}))
        for line in under_way:
            self.taken[line.status.value] += 1
        flagged = Counter(line.status.value for line in under_way if line.status in ALARMING)
        if flagged:
            told = ", ".join(f"{count} {status}" for status, count in sorted(flagged.items()))
            self._log.warning("entries_flagged", tablet=tablet.id, found=told, todo="evidock enotes list")
        return {"receipt": self._receipt(under_way, received_at), "results": [_result(line) for line in under_way]}

    async def unreadable(self, tablet: Tablet, body: bytes, why: str) -> None:
        """Keep what cannot be split into envelopes, for a person."""
        device = device_of(tablet.id, self._options.name)
        await self._intake.take(AtHand(unreadable_capture(device, body, why), body))
        self._log.warning("upload_unreadable", tablet=tablet.id, why=printable(why)[:200], length=len(body))

    # -- before --------------------------------------------------------------------------------------------------------

    async def _known(self, under_way: Sequence[_Line]) -> None:
        """Find what came before, in the index or earlier in this upload; what is new is numbered, and flagged."""
        digests = [line.judged.envelope.received_sha256 for line in under_way]

        def look(db: sqlite3.Connection) -> dict[bytes, _Row]:
            rows: dict[bytes, _Row] = {}
            for at in range(0, len(digests), _SQL_MAX):
                part = digests[at : at + _SQL_MAX]
                sql = "SELECT received_sha256, tablet, status, flags FROM envelope WHERE received_sha256 IN"
                found = db.execute(f"{sql} ({','.join('?' * len(part))})", part)
                rows |= {digest: _Row(*rest) for digest, *rest in found}
            return rows

        rows, seen = await self._shelf.look(look), set[bytes]()
        for line, digest in zip(under_way, digests, strict=True):
            line.known, line.twice = rows.get(digest), digest in seen
            seen.add(digest)
            self._number += 1
            line.number = self._number
            if line.known is not None or line.twice:
                line.status = Status.DUPLICATE
            else:
                line.status, line.flags = line.judged.base or Status.OK, line.judged.flags

    # -- taking --------------------------------------------------------------------------------------------------------

    async def _keep(
        self,
        tablet: Tablet,
        under_way: Sequence[_Line],
        received_at: datetime,
        name: str | None = None,
        chain: Notebook | None = None,
        changed: Sequence[Item] = (),
    ) -> None:
        await self._take(tablet, under_way)
        if name is not None and chain is not None and changed:
            device = device_of(tablet.id, self._options.name)
            await note_changes(self._intake, device, name, chain, changed, received_at)
        await self._note(tablet, under_way, changed, received_at)

    async def _take(self, tablet: Tablet, under_way: Sequence[_Line]) -> None:
        """Offer every line, also what is known: that it is held is the journal's word, not the index's."""
        places, keeps = asyncio.Semaphore(_IN_FLIGHT), self._options.keep_until == "dems"
        await self._intake.sight(device_of(tablet.id, self._options.name))

        async def one(line: _Line) -> None:
            device: Device = device_of(line.known.tablet if line.known else tablet.id, self._options.name)
            offer = AtHand(envelope_capture(device, line.judged, keeps=keeps), line.judged.envelope.line)
            async with places:
                line.standing = await self._intake.take(offer)
            line.removable = not keeps or offer.released or line.standing in _GONE

        tasks = [asyncio.ensure_future(one(line)) for line in under_way]
        try:
            await asyncio.gather(*tasks)
        except DeviceError as error:
            raise DeviceGone(f"an entry was not taken: {error}") from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _note(
        self, tablet: Tablet, under_way: Sequence[_Line], changed: Sequence[Item], received_at: datetime
    ) -> None:
        now = rfc3339(received_at)
        new = [line for line in under_way if line.known is None and not line.twice]
        rows = [_row(line, tablet, now) for line in new]

        def put(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT OR IGNORE INTO envelope (number, received_sha256, envelope, notebook, seq, kid, status, base,"
                " base_flags, flags, tablet, received_at, line) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            put_changes(db, changed)
            put_awaited(db, (line.judged for line in new), now)

        if rows or changed:
            await self._shelf.run(put)

    # -- answering -----------------------------------------------------------------------------------------------------

    def _receipt(self, under_way: Sequence[_Line], received_at: datetime) -> dict[str, str]:
        entries: list[dict[str, Any]] = []
        for line in under_way:
            if line.twice:
                continue
            status = line.known.status if line.known else line.status.value
            told = _receipted(line.judged.notebook, line.judged.seq, line.judged.envelope.digest, status)
            if self._options.keep_until == "dems":
                told["remove"] = line.removable
            entries.append(told)
        return self._sign(entries, received_at)

    def _sign(self, entries: list[dict[str, Any]], at: datetime, **more: Json) -> dict[str, str]:
        told = {
            "entries": entries,
            "received_at": rfc3339(at),
            "station": self._station,
            "typ": "enote-receipt",
            "v": 1,
        }
        return self._key.sign({**told, **more}, typ="enote-receipt")

    async def receipts(self, notebook: str, first: int) -> dict[str, Any]:
        """The receipt for what is held of a notebook, from `first` on, and of its attachments."""

        def look(db: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
            sql = "SELECT seq, envelope, status FROM envelope WHERE notebook = ? AND seq >= ?"
            rows = db.execute(f"{sql} ORDER BY seq, number LIMIT ?", (notebook, first, _RECEIPTS + 1)).fetchall()
            last = rows[_RECEIPTS][0] if len(rows) > _RECEIPTS else (1 << 53)
            sql = (
                "SELECT seq, sha256, length, held_at FROM attachment WHERE notebook = ? AND seq BETWEEN ? AND ?"
                " AND held_at IS NOT NULL ORDER BY seq, sha256 LIMIT ?"
            )
            return rows, db.execute(sql, (notebook, first, last, _RECEIPTS + 1)).fetchall()

        rows, files = await self._shelf.look(look)
        entries = [_receipted(notebook, seq, digest, status) for seq, digest, status in rows[:_RECEIPTS]]
        if self._options.keep_until == "dems":
            for told in entries:
                told["remove"] = False  # that is said where the tablet sends its own copy again
        names = ("seq", "sha-256", "length", "held_at")
        attachments: list[Json] = [
            {"notebook": notebook, **dict(zip(names, row, strict=True))} for row in files[:_RECEIPTS]
        ]
        told = self._sign(entries, datetime.now(UTC), attachments=attachments)
        beyond = [some[_RECEIPTS][0] for some in (rows, files) if len(some) > _RECEIPTS]
        # Always further on: anybody may send a thousand envelopes of one number, and a tablet must not ask for ever.
        return {"next": max(min(beyond), first + 1) if beyond else None, "receipt": told}


def _placed(chain: Notebook, under_way: Sequence[_Line], db: sqlite3.Connection) -> list[Item]:
    """Put each new line into its notebook. Returns entries that came earlier and are something else now."""
    ours = {line.number: line for line in under_way}
    changed: dict[int, Item] = {}

    def said(item: Item) -> dict[str, Any]:
        line = ours.get(item.number)
        return entry_of(db, item.number) if line is None else line.judged.entry or {}

    chain.entry_of = said
    for line in under_way:
        if line.status is not Status.DUPLICATE:
            line.item = line.judged.item(line.number)
            changed |= {one.number: one for one in chain.add(line.item)}
    for line in under_way:  # only now: a later line may have been what an earlier one waited for
        if line.item is not None:
            line.status, line.flags = line.item.status, line.item.flags
    return [one for number, one in changed.items() if number not in ours]


def _receipted(notebook: str | None, seq: int | None, digest: bytes, status: str) -> dict[str, Any]:
    return {"notebook": notebook, "seq": seq, "sha-256": digest.hex(), "status": status}


def _result(line: _Line) -> dict[str, Any]:
    judged = line.judged
    flags = tuple(json.loads(line.known.flags)) if line.known else line.flags
    return {
        "envelope": judged.envelope.digest.hex(),
        "flags": list(flags),
        "held": True,
        "notebook": judged.notebook,
        "received_sha256": judged.envelope.received_sha256.hex(),
        "seq": judged.seq,
        "standing": line.standing.value,
        "status": line.status.value,
        "why": list(judged.why),
    }


def _row(line: _Line, tablet: Tablet, now: str) -> tuple[Any, ...]:
    judged = line.judged
    base = "" if line.item is not None else line.status.value
    return (
        line.number, judged.envelope.received_sha256, judged.envelope.digest, judged.notebook, judged.seq,
        judged.envelope.kid, line.status.value, base, json.dumps(judged.flags), json.dumps(line.flags), tablet.id, now,
        judged.envelope.line,
    )  # fmt: skip


def put_changes(db: sqlite3.Connection, changed: Sequence[Item]) -> None:
    """Write what entries are now; who looked at what they were did not look at this."""
    db.executemany(
        "UPDATE envelope SET status = ?, flags = ?, seen = 0 WHERE number = ?",
        [(item.status.value, json.dumps(item.flags), item.number) for item in changed],
    )


async def note_changes(
    intake: Intake, device: Device, name: str, chain: Notebook, changed: Sequence[Item], at: datetime
) -> None:
    """An entry of the custody log: these entries of a notebook, which came earlier, are something else now."""
    told: list[Json] = [
        {"envelope_sha256": one.digest.hex(), "seq": one.seq, "status": one.status.value} for one in changed[:_TOLD]
    ]
    detail: dict[str, Json] = {
        "changed": told,
        "count": len(changed),
        "head": chain.head,
        "head_sha256": None if chain.head_digest is None else chain.head_digest.hex(),
        "notebook": name,
    }
    await intake.observe(Observation(device.id, CHANGED, at, detail))
