"""How a run begins: with what configuration, what was found in order before, and on a disk that has room for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent import selftest
from agent.capture import canonical
from agent.errors import JournalError
from agent.journal import Event, anchors
from agent.process import ALIVE, tell_systemd
from agent.release import digest_of
from agent.station.answering import answering

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from agent.capture import Json
    from agent.config import Config
    from agent.journal import Journal
    from agent.process import Ending
    from agent.station.running import Running

__all__ = ["begun", "check_epoch", "config_claims", "started"]

_LOOK: Final = 5.0
"""Seconds between two words to systemd while there is no room."""


async def begun(running: Running, work: Coroutine[Any, Any, None], ending: Ending) -> bool:
    """Do what a run begins with. Where the disk has no room for that, whoever looks is answered until it has.

    False: it was told to end before. Raises what the work raised.
    """
    beginning = asyncio.ensure_future(work)
    full = asyncio.ensure_future(running.desk.until_full())
    try:
        await asyncio.wait({beginning, full}, return_when=asyncio.FIRST_COMPLETED)
        if not beginning.done():
            async with answering(running, acts=False):
                tell_systemd("READY=1")
                tell_systemd("STATUS=the disk is full: nothing is taken before there is room")
                ended = await _ended_before(running, beginning, ending)
            if ended:
                return False
            tell_systemd("STATUS=")
        await beginning
    finally:
        full.cancel()
        if not beginning.done():
            running.desk.wait_no_more()
            beginning.cancel()
            with suppress(asyncio.CancelledError):
                await beginning
    return True


async def _ended_before(running: Running, beginning: asyncio.Future[None], ending: Ending) -> bool:
    asked = asyncio.ensure_future(ending.wait())
    try:
        while not (beginning.done() or asked.done()):
            await asyncio.wait({beginning, asked}, return_when=asyncio.FIRST_COMPLETED, timeout=_LOOK)
            await running.desk.read(lambda _: None)
            tell_systemd(ALIVE)
        return not beginning.done()
    finally:
        asked.cancel()


def check_epoch(config: Config) -> None:
    """A later epoch begins with an entry that quotes the one before: never by itself. Raises `JournalError`."""
    if config.station.epoch > 1 and not (config.station.state / "journal.db").exists():
        raise JournalError(
            f"{config.station.log} has not begun, and must say which log it follows",
            hint="Begin it: evidock custody new-epoch --checkpoint FILE, with a witness's last checkpoint.",
        )


def started(journal: Journal, config: Config) -> None:
    """The entry of this start."""
    tested, last = selftest.last(), anchors.check_head(journal)
    found: dict[str, Json] = {
        "known_answers": list(tested.tests),
        "log_begins_with_checkpoint": None if last is None else last.size,
    }
    told: dict[str, Json] = {"config": config_claims(config), "self_test": found}
    told["releaser_trust_sha256"] = digest_of(config.trust)
    journal.record(Event.AGENT_STARTED, told)


def config_claims(config: Config) -> Json:
    """What was configured, by digest: names of files with secrets stay on the station."""
    raw = canonical({"text": repr(config.model_dump(mode="json"))})
    return {"policy": config.policy.model_dump(mode="json"), "sha256": sha256(raw).hexdigest()}
