"""Whether a station's disk, as a power cut left it, keeps what had been promised: before it starts again, and after."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from agent.capture import Standing
from agent.clock import Clock
from agent.config import Policy
from agent.ingest import Ingest
from agent.journal import Desk, Event, Journal
from agent.release import Release
from agent.spool import Spool
from agent.testing.audit import Book, audit_arrivals, audit_spool, read_journal
from agent.testing.process import LOG
from tests.faults.mounting import mounted
from tests.faults.remembering import Remembering

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PROVEN = (Standing.RECEIPTED, Standing.RELEASED, Standing.PURGED)


@dataclass(slots=True)
class Promises:
    """What had been promised before a moment, and what is true whenever it was."""

    held: set[str] = field(default_factory=set)
    """Tokens of origins, in hexadecimal, whose driver had heard that they are safe."""
    forget: set[str] = field(default_factory=set)
    """Ids of captures whose device had been told, or was about to be told, to forget them."""
    ever: set[tuple[str, str, str]] = field(default_factory=set)
    """Device, key and SHA-256 of everything that any device ever recorded."""
    arrived: Mapping[str, list[bytes]] = field(default_factory=dict)
    """What the DEMS has."""

    def hear(self, mark: str) -> None:
        """Note a promise as it was marked: `held-TOKEN`, `forget-ID`, or something else."""
        word, _, name = mark.partition("-")
        if word == "held":
            self.held.add(name)
        elif word == "forget" and "-" in name:  # the other form names the file
            self.forget.add(name)


def examined(image: Path, file_system: str, top: Path, promises: Promises, *, again_too: bool = True) -> list[str]:
    """Mount an image and look at the station in it; a file system that cannot be mounted has lost everything."""
    try:
        with mounted(image, file_system, top):
            return examine(top / "station" / "state", promises, again_too=again_too)
    except Exception as error:  # noqa: BLE001 - a journal that cannot be opened is what is looked for
        return [f"{type(error).__name__}: {error}"]


def examine(state: Path, promises: Promises, *, again_too: bool) -> list[str]:
    """Everything that is wrong with the state folder as it is found: it is opened as the next start would open it.

    `again_too`: also after that start has looked at everything that is there, and explained it.
    """
    if not (state / "journal.db").exists():
        return ["nothing is there, and something was promised"] if promises.held else []
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    try:
        book = read_journal(journal)
    finally:
        journal.close()
    digested = Remembering()  # what recovery did not touch is not read a second time
    found = _examined(state, book, promises, digested, at_rest=False)
    if not again_too:
        return found
    again = asyncio.run(_recovered(state))
    return found + [f"after recovery: {one}" for one in _examined(state, again, promises, digested, at_rest=True)]


def _examined(state: Path, book: Book, promises: Promises, digested: Remembering, *, at_rest: bool) -> list[str]:
    wrong = list(book.problems)
    if (state / "spool" / "parts").exists():
        wrong += audit_spool(book, state / "spool", at_rest=at_rest, digested=digested)
    wrong += _kept(book, promises)
    wrong += audit_arrivals(book, _known(book, promises.arrived))
    for capture in book.holdings.values():
        origin = capture.origin
        if (origin.device, origin.key, capture.digest.sha256.hex()) not in promises.ever:
            wrong.append(f"capture {capture.id} of {origin.key} is nothing that its device ever recorded")
        if capture.standing is Standing.QUARANTINED:
            wrong.append(f"capture {capture.id} of {origin.key} is doubted: {capture.reason}")
    return wrong


def _known(book: Book, arrived: Mapping[str, list[bytes]]) -> dict[str, list[bytes]]:
    """The DEMS was asked later than the power went: of what this disk does not know yet it may have more."""
    return {name: found for name, found in arrived.items() if name in book.holdings}


def _kept(book: Book, promises: Promises) -> Iterable[str]:
    held = {one.origin.token.hex() for one in book.holdings.values()}
    yield from (f"promised, and not in the journal: origin {token}" for token in promises.held - held)
    for name in promises.forget:
        holding = book.holdings.get(name)
        if holding is None:
            yield f"a device was told to forget {name}, and the journal does not know it"
        elif holding.standing not in PROVEN or holding.receipt is None:
            yield f"a device was told to forget {name}, and no receipt is in the journal"
        elif Event.RELEASE_INTENDED not in book.stories[name].events:
            yield f"a device was told to forget {name}, and no entry said so before"


async def _recovered(state: Path) -> Book:
    """What the daemon does before it is ready: it looks at everything that is there, and explains it."""
    desk = Desk(lambda: Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp))
    await desk.open()
    spool = Spool(state / "spool", watermark=0, read_back=True, boot_id=str(UUID(int=1)))
    try:
        await Ingest(desk, spool, on_held=lambda _: None, on_damage=_damaged).recover()
        await Release(desk, spool, Policy(), keys=(), stamp=Clock().stamp).recover()
        return await desk.read(read_journal)
    finally:
        spool.close()
        await desk.close()


def quiet() -> None:
    """Let the agent's own words about what it found be: there are thousands of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def _damaged(error: Exception) -> None:
    raise AssertionError(f"recovery found damage: {error}")
