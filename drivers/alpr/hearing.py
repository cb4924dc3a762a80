"""One device that tells reads, however it is reached: its messages are read, offered, counted, and told where wrong."""

from __future__ import annotations

import hashlib
import secrets
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from agent.capture import Device, Observation
from agent.driver import SetsAside
from agent.errors import AgentError, DeviceError, DeviceRefused
from drivers.alpr.makers import axis
from drivers.alpr.message import Removed
from drivers.alpr.offer import ReadOffer
from drivers.alpr.read import Position
from drivers.alpr.unparsed import Unparsed, skeleton, untaken
from drivers.alpr.watching import Watch
from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.capture import Json
    from agent.driver import Intake
    from drivers.alpr.makers.heard import Heard
    from drivers.alpr.message import Message
    from drivers.alpr.options import SourceOptions
    from drivers.alpr.read import Read

__all__ = ["Hearing", "is_fault"]

T = TypeVar("T")

_TOLD_EVERY: Final = 3600.0
"""Seconds between two entries about messages that cannot be read."""
NOT_PARSED: Final = "alpr.not_parsed"
_FAULT: Final = "Tell whoever maintains the driver; no word of the message stands here."


class Hearing:
    """Of one device of the configuration, while the driver runs."""

    def __init__(
        self,
        driver: str,
        options: SourceOptions,
        heard: Callable[[bytes, str, str], Heard],
        *,
        title: str,
        spec: str,
        way: str = "http",
    ) -> None:
        """`heard`: what a message says, by its bytes, its type, and the device's name; raises `SpecError`.

        `spec`: the format in `firmware_specs` that the device speaks.
        """
        self._options, self._heard, self._way = options, heard, way
        self.watch = Watch(options.name, clock_off=options.clock_off, absent=options.absent)
        self.device = Device(id=f"alpr:{driver}/{options.name}", family="alpr", driver=driver, maker=title, spec=spec)
        self._passages = axis.Passages() if heard is axis.heard else None
        self._told_at: float | None = None
        self._said: set[str] = set()
        self._log = structlog.get_logger("driver").bind(driver=driver)

    async def hear(
        self, intake: Intake, body: bytes, content_type: str = "", *, cut: bool = False, topic: str | None = None
    ) -> bool:
        """Return when every read of a message is held, or by a screen's word not to be kept. False: it cannot be read.

        `cut`: its end was thrown away. Raises what `take` raises: then the device must send it again.
        """
        return await self.guarded(self._hear(intake, body, content_type, cut=cut, topic=topic))

    async def guarded(self, work: Awaitable[T]) -> T:
        """What it gives. A fault of ours in it is `DeviceRefused`, and says where it is and nothing of any read."""
        try:
            return await work
        except AgentError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote a plate
            fault = _where(error)
        # Outside of the handler: the error that was handled would stand in this one's context, and be printed with it.
        raise DeviceRefused(f"a message of {self._options.name} met a fault of the driver: {fault}", hint=_FAULT)

    async def _hear(self, intake: Intake, body: bytes, content_type: str, *, cut: bool, topic: str | None) -> bool:
        self.watch.heard()
        self.watch.count("messages")
        if cut:
            self.watch.count("too_large")
        await intake.sight(self.device)
        heard = self._said_by(body, content_type)
        if isinstance(heard, str):
            await self._not_parsed(intake, body, content_type, heard)
            return False
        if heard.ignored is not None:
            self.watch.count("other")
        if heard.occupants:
            self.watch.count("occupants", heard.occupants)
        for one, message in heard.reads:
            read, came = _told_apart(one), replace(message, way=self._way, topic=topic)
            await self.offer(intake, *(_shortened(read, came) if cut else (read, came)))
        return True

    def _said_by(self, body: bytes, content_type: str) -> Heard | str:
        """What a message says, or why it cannot be read, in words that quote nothing of it."""
        try:
            return self._heard(body, content_type, self._options.name)
        except SpecError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - one message that meets a fault of ours must not stop the others
            return f"a fault of the driver: {_where(error)}"

    async def offer(self, intake: Intake, read: Read, message: Message) -> None:
        """Return when the read is held, or by a screen's word not to be kept."""
        self.watch.read(read)
        if self._passages is not None:
            before = self._passages.missing
            read = self._passages.follow(read, monotonic())
            if self._passages.missing > before:
                self.watch.count("missing", self._passages.missing - before)
        place = self._options.place
        if read.position is None and place is not None:
            read = replace(read, position=Position(place.lat, place.lon, "configured at the station"))
        await intake.take(ReadOffer(self.device, read, message))
        if message.way != "poll":
            self.watch.bring(read)

    async def _not_parsed(self, intake: Intake, body: bytes, content_type: str, why: str) -> None:
        """Counted and told, and done with: what cannot be read now cannot be read when it is sent again."""
        self.watch.count("not_parsed")
        self.trouble("not_parsed", why=why)
        until = self._options.keep_unparsed_until
        if until is not None and datetime.now(UTC).date() <= until:
            await intake.take(Unparsed(self.device, body))
        elif self._told_at is None or monotonic() - self._told_at > _TOLD_EVERY:
            self._told_at = monotonic()
            detail: dict[str, Json] = {"why": why, "message": skeleton(body, content_type)}
            await intake.observe(Observation(self.device.id, NOT_PARSED, datetime.now(UTC), detail))

    def not_kept(self, error: AgentError) -> None:
        """What came could not be kept."""
        self.watch.count("not_kept")
        self.trouble("not_kept", error=self.told(error), todo=error.what_to_do)

    async def step_aside(self, intake: Intake, body: bytes, error: AgentError) -> bool:
        """Keep what could not be taken, however often, among the parts as it came. False: it must be sent again."""
        if not isinstance(intake, SetsAside):
            return False
        why = f"a message that came by {self._way} could not be taken: {self.told(error)}"
        try:
            await self.guarded(intake.set_aside(untaken(self.device, body), body, why))
        except DeviceError:
            return False
        self.watch.count("aside")
        self.trouble("aside", error=self.told(error), todo=error.what_to_do)
        return True

    def failed_before(self, body: bytes) -> bool:
        """Whether this message met a fault of ours already; noted, that the next time it did."""
        return self.watch.seen.add("fault", hashlib.sha256(body).hexdigest())

    @staticmethod
    def told(error: AgentError) -> str:
        """What may be said of it: its own text may name a capture, so its kind alone, unless it is a fault of ours."""
        return str(error) if is_fault(error) else type(error).__name__

    def trouble(self, what: str, **more: object) -> None:
        """Say it once; how often it was so, the notice says."""
        if what not in self._said:
            self._said.add(what)
            self._log.warning("alpr_trouble", camera=self._options.name, trouble=what, **more)


def is_fault(error: AgentError) -> bool:
    """Whether it tells of a fault in our own code."""
    return error.what_to_do == _FAULT


def _where(error: Exception) -> str:
    """Its kind and the line of code, and nothing of what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{at}"


def _told_apart(read: Read) -> Read:
    """A read without a time and an id is one of its own: nothing else tells it from that of the same plate last week.

    A message that comes again because its answer was lost is taken twice then, which is better than not at all.
    """
    if read.event or read.captured_at is not None or read.captured_local is not None:
        return read
    return replace(read, key=(*read.key[:2], secrets.token_hex(16), *read.key[2:]))


def _shortened(read: Read, message: Message) -> tuple[Read, Message]:
    """Of a message that was cut at the limit: without the picture that the cut went through."""
    whole = len(message.body)
    lost = {part for part, _, end in message.pictures if end == whole}
    pieces = [Removed(start, end, "picture over the limit") for part, start, end in message.pictures if part in lost]
    kept = tuple(one for one in read.images if one.part is None or one.part not in lost)
    return replace(read, images=kept).flagged("picture_over_limit"), message.without(*pieces)
