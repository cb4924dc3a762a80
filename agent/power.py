"""The ignition goes off: nothing new is taken, what is under way ends or is marked, and it is said that power may go.

How long the supply holds up is hardware, and power can vanish at any instruction: nothing of evidence rests on this
path, and what comes after a cut is the recovery of every start. It saves time, and it spares a device from being
written to while its power goes.

    on       a copy begins, a device may be told to forget
    holding  the ignition is off: who wants to take waits; copies under way go on for a while
    safe     none is under way; everything is on the disk; sending goes on as long as there is power
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from agent.errors import DeviceGone, JournalFull
from agent.journal import Desk, Event
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from agent.capture import Json, Observation
    from agent.config import PowerConfig

__all__ = ["IGNITION", "Power"]

IGNITION: Final = "vehicle.ignition"

_UNTOLD_SECONDS: Final = 60.0
"""After the start, within which a trigger dock has told its levels."""
_SHARE: Final = 0.75
"""Of the hold-up time, for copies that are under way; what is left is for what was not forced yet."""


class Power:
    """Whether the ignition is on, and what that means. Without a configuration it is on, always."""

    def __init__(
        self,
        config: PowerConfig | None,
        desk: Desk,
        *,
        beside: Path,
        flush: Callable[[], Awaitable[None]],
        mark: Callable[[bool], None],
        tell: Callable[[str], None],
    ) -> None:
        """`beside`: the socket of the daemon. `mark`: whether copies that are ended now are marked where they stand.

        `flush` writes what other rooms gather. `tell` is for systemd.
        """
        self._config, self._desk = config, desk
        self._flush, self._mark, self._tell = flush, mark, tell
        self._file = None if config is None else config.file or beside.with_name("power")
        self._on, self._off, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._on.set()
        self._idle.set()
        self._under_way: set[asyncio.Timeout] = set()
        self._deadline: float | None = None
        self._cut, self._began = 0, 0.0
        self._log = structlog.get_logger("power")
        self._heard, self._since = False, monotonic()
        self.word = "on"

    @property
    def on(self) -> bool:
        """Whether a device may be written to."""
        return self._on.is_set()

    async def observe(self, observation: Observation) -> None:
        """A fact about the world was told: the ignition's level counts, at the start too."""
        config, on = self._config, observation.detail.get("on")
        if config is None or observation.kind != IGNITION or not isinstance(on, bool):
            return
        if config.device is not None and observation.device != config.device:
            return
        self._heard = True
        if on:
            self._off.clear()
            self._on.set()
        else:
            self._on.clear()
            self._off.set()

    @asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Something is taken, or let go, inside. It waits while the ignition is off, and ends when it takes too long.

        Raises `DeviceGone`: what was read is kept and marked, and goes on when the ignition is on again.
        """
        if self._config is None:
            yield
            return
        await self._on.wait()
        limit = asyncio.timeout_at(self._deadline)
        try:
            async with limit:
                self._under_way.add(limit)
                self._idle.clear()
                try:
                    yield
                finally:
                    self._under_way.discard(limit)
                    if not self._under_way:
                        self._idle.set()
        except TimeoutError as error:
            if not limit.expired():
                raise
            self._cut += 1
            raise DeviceGone(
                "the ignition is off, and power may go",
                hint="Nothing to do: it goes on where it stopped when the ignition is on again.",
            ) from error

    def notices(self) -> Iterator[dict[str, str | None]]:
        """Repair notices."""
        if self._config is not None and not self._heard and monotonic() - self._since > _UNTOLD_SECONDS:
            detail = "[power] waits for the ignition, and no device has told whether it is on"
            todo = "Configure the device that tells it (docs/in-car.md), or look at `power.device`."
            yield repair("power.untold", "warning", "ignition", detail, todo)
        if self.word != "on":
            how = "nothing is under way" if self.word == "safe" else "what is under way comes to its end"
            detail = f"the ignition is off: nothing new is taken, and {how}"
            yield repair("power.off", "warning", "ignition", detail, "Turn the ignition on to take what is docked.")

    async def run(self) -> None:
        """Follow the ignition until cancelled."""
        if self._config is None:
            return
        hold_up = self._config.hold_up.total_seconds()
        self._since = monotonic()
        await self._say("on", "ignition on")
        while True:
            await self._off.wait()
            if await self._hold(hold_up):
                await self._safe(hold_up)
                await self._on.wait()
            await self._resume()

    async def _hold(self, hold_up: float) -> bool:
        """Let what is under way end. False: the ignition came back before."""
        loop = asyncio.get_running_loop()
        self._began, self._cut = loop.time(), 0
        self._deadline = self._began + hold_up * _SHARE
        self._mark(True)  # noqa: FBT003 - a switch
        self._limit(self._deadline)
        told: dict[str, Json] = {"hold_up_ms": round(hold_up * 1000), "under_way": len(self._under_way)}
        await self._record(Event.POWER_HOLDING, told)
        await self._say("holding", "ignition off: what is under way comes to its end")
        self._log.warning("ignition_off", hold_up=hold_up, under_way=len(self._under_way))
        late = loop.call_at(self._began + hold_up, self._late)
        try:
            while not (self._idle.is_set() or self._on.is_set()):
                await _either(self._idle, self._on)
        finally:
            late.cancel()
        return not self._on.is_set()

    def _limit(self, deadline: float | None) -> None:
        for limit in self._under_way:
            if not limit.expired():  # else it is ending already, which cannot be taken back
                limit.reschedule(deadline)

    def _late(self) -> None:
        """A device that hangs holds a copy: it is not safe, and nobody says that it is."""
        todo = "Look at the devices that are docked; or give `power.hold_up` as the supply really holds up."
        self._log.error("not_safe_in_time", under_way=len(self._under_way), todo=todo)

    async def _safe(self, hold_up: float) -> None:
        if self._desk.full is None:
            await self._flush()
        took = asyncio.get_running_loop().time() - self._began
        told: dict[str, Json] = {"ended_early": self._cut, "took_ms": round(took * 1000)}
        # Committing this forces the journal; kept files and marks were forced when they were made.
        await self._record(Event.POWER_SAFE, told)
        await self._say("safe", "ignition off: safe, power may go")
        self._log.warning("power_may_go", took=round(took, 3), ended_early=self._cut, within=took <= hold_up)

    async def _resume(self) -> None:
        self._deadline = None
        self._mark(False)  # noqa: FBT003 - a switch
        self._limit(None)
        if not self._on.is_set():
            return
        await self._record(Event.POWER_RESUMED, {})
        await self._say("on", "ignition on")
        self._log.info("ignition_on")

    async def _record(self, event: Event, told: dict[str, Json]) -> None:
        """The power does not wait for room on a disk: nothing was promised that is not on it."""
        with suppress(JournalFull):
            await self._desk.write(lambda journal: journal.record(event, told), waits=False)

    async def _say(self, word: str, status: str) -> None:
        """To systemd, and in a file that a lamp or a supply's controller can watch."""
        self.word = word
        self._tell(f"STATUS={status}")
        if self._file is not None:
            try:
                await asyncio.to_thread(_written, self._file, word)
            except OSError as error:
                self._log.warning("power_file_not_written", path=str(self._file), error=str(error.strerror))


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(one.wait()) for one in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


def _written(path: Path, word: str) -> None:
    """Whole or not at all, for whoever watches it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(f"{word}\n", encoding="ascii")
    fresh.chmod(0o644)
    fresh.rename(path)
