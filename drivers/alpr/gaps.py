"""What a Hikvision camera saw and could not bring: its own list is asked, and what it never brought is offered.

The camera's list has no pictures and no zone, so it is the second choice. A plate of the list waits for `settle`
seconds to be brought by the camera itself; then it is offered, marked `polled`. Which plates are done with is kept in a
file by the camera's own numbers; what was offered and not kept is asked for again.

A camera answers with what is newer than a number, and its numbers are times of a clock that is set forward and back.
So the number that came last is a short way to what is new, and no more: every few minutes, and first of all, the list
is asked for from its beginning, and whatever of it is not done with is new, wherever in time it stands.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
import structlog

from agent.driver import Notice
from agent.errors import (
    BadCapture,
    ConfigError,
    DeviceError,
    DeviceRefused,
    Problem,
    SpoolDamaged,
    SpoolError,
    in_words,
)
from drivers.alpr.known import Known
from drivers.alpr.makers.hikvision import listed
from firmware_specs import SpecError
from firmware_specs.formats.hikvision_anpr import TooMany, poll

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.driver import Intake
    from drivers.alpr.message import Message
    from drivers.alpr.options import PollOptions
    from drivers.alpr.read import Read
    from drivers.alpr.reception import Camera

__all__ = ["Gaps"]

_ANSWER_MAX: Final = 4 << 20
_PENDING_MAX: Final = 10_000
_LONG_AGO: Final = "197001010000000000"
_WHOLE_EVERY: Final = 30
"""Of so many questions one is for the whole list: every five minutes by default."""
_SOON: Final = 3
"""Questions after which it is asked for again where that failed."""
_PAGES_MAX: Final = 1000
"""Answers to one question: some cameras may give so many plates at a time, and no more."""
_REACHES: Final = (timedelta(days=366), timedelta(days=31), timedelta(days=7), timedelta(days=2), timedelta(hours=6))
"""How far back is looked, one after the other, where a list is longer than is read."""
_NEAR: Final = 2
"""Seconds by which the camera's two words for the time of one passage may differ."""
_PATIENCE: Final = aiohttp.ClientTimeout(total=30, connect=10)

_Found: TypeAlias = "dict[str, tuple[Read, Message]]"


class _TooLong(DeviceRefused):
    """An answer beyond what is read."""


class Gaps:
    """Of one camera."""

    def __init__(self, camera: Camera, options: PollOptions, state: Path) -> None:
        self._camera, self._options = camera, options
        self._known = Known(state / f"{camera.options.name}.known")
        self._before = state / f"{camera.options.name}.picname"
        """How far an earlier version had read it."""
        self._loaded = False
        self._last = _LONG_AGO
        """The newest number of what was new the last time."""
        self._whole_in = 0
        """Questions until the whole list is asked for again."""
        self._beyond: str | None = None
        """The day before which nothing is looked at, where the list is longer than is read."""
        self._password = _line(options.password_file, camera.options.name)
        self._tls = _trusting(options, camera.options.name)
        self._pending: dict[str, tuple[Read, Message, float]] = {}
        self._trouble: str | None = None
        self._log = structlog.get_logger("driver")

    async def run(self, intake: Intake) -> None:
        """Ask again and again, until cancelled."""
        digest = aiohttp.DigestAuthMiddleware(self._options.user, self._password)
        connector = aiohttp.TCPConnector(ssl=self._tls) if self._tls else aiohttp.TCPConnector()
        async with aiohttp.ClientSession(connector=connector, middlewares=(digest,), timeout=_PATIENCE) as session:
            while True:
                try:
                    await self._look(session, intake)
                    self._says(None)
                except SpoolDamaged:
                    raise
                except (aiohttp.ClientError, TimeoutError, OSError, SpecError, DeviceError, SpoolError) as error:
                    self._says(
                        type(error).__name__ if not isinstance(error, (SpecError, DeviceRefused)) else str(error)
                    )
                await asyncio.sleep(self._options.every)

    async def _look(self, session: aiohttp.ClientSession, intake: Intake) -> None:
        if not self._loaded and await asyncio.to_thread(self._known.load):
            self._loaded, self._last = True, max(self._known.numbers, key=int, default=_LONG_AGO)
        if self._whole_in and self._loaded:
            self._whole_in -= 1
            found = await self._newer(session, self._last)
        else:
            self._whole_in = _SOON  # a list that cannot be had must not keep back what is new
            found = await self._whole(session)
            self._whole_in = _WHOLE_EVERY
            await asyncio.to_thread(self._known.prune if self._loaded else self._begin, found)
            self._loaded = True
        self._note(found)
        await self._offer(intake)

    def _begin(self, found: _Found) -> None:
        """Of a camera that is new, what it saw before it was ours is not ours to offer."""
        self._known.begin(self._read_before(found))
        self._before.unlink(missing_ok=True)

    def _note(self, found: _Found) -> None:
        """What is new waits for the camera to bring it."""
        new = [name for name in found if name not in self._known.numbers and name not in self._pending]
        now = monotonic()
        for name in new[: _PENDING_MAX - len(self._pending)]:
            self._pending[name] = (*found[name], now)
        if new:
            self._last = max(new, key=int)

    async def _offer(self, intake: Intake) -> None:
        """What cannot be kept is offered again at the next look, and holds up no other."""
        now = monotonic()
        waited = [name for name in self._pending if now - self._pending[name][2] >= self._options.settle]
        await self._done_with(*(name for name in waited if self.brought(self._pending[name][0])))
        for name in sorted(self._pending.keys() & waited, key=int):
            read, message, _ = self._pending[name]
            if await self._is_done_with(intake, read, message):
                await self._done_with(name)

    async def _done_with(self, *names: str) -> None:
        if names:
            await asyncio.to_thread(self._known.add, *names)
        for name in names:
            del self._pending[name]

    async def _is_done_with(self, intake: Intake, read: Read, message: Message) -> bool:
        """Whether it is held, to be forgotten, or must not be taken. Raises `SpoolError`: no other would be kept."""
        hearing = self._camera.hearing
        await intake.sight(hearing.device)
        try:
            await hearing.guarded(hearing.offer(intake, read, message))
        except BadCapture as error:
            self._camera.watch.count("set_aside")
            hearing.trouble("set_aside", error=type(error).__name__, todo=error.what_to_do)
        except DeviceError as error:
            hearing.not_kept(error)
            return False
        else:
            self._camera.watch.count("polled")
        return True

    def brought(self, read: Read) -> bool:
        """Whether the camera brought this passage itself."""
        if read.plate is None:
            return True  # there is nothing to match and no picture
        try:
            at = datetime.fromisoformat(read.captured_local or "")
            around = [at + timedelta(seconds=by) for by in range(-_NEAR, _NEAR + 1)]
        except (ValueError, OverflowError):  # no time, or one at the end of all that a calendar holds
            return False
        return any(self._camera.watch.brought(read.plate.normalized, one) for one in around)

    # -- the list ------------------------------------------------------------------------------------------------------

    async def _whole(self, session: aiohttp.ClientSession) -> _Found:
        """All that it lists; of what is longer than is read, as much as can be, by our clock."""
        self._beyond = None
        try:
            return await self._newer(session, _LONG_AGO)
        except (_TooLong, TooMany) as error:
            too_long = error
        for reach in _REACHES:
            after = f"{datetime.now(UTC) - reach:%Y%m%d}0000000000"
            with suppress(_TooLong, TooMany):
                found = await self._newer(session, after)
                self._beyond = f"{after[:4]}-{after[4:6]}-{after[6:8]}"
                return found
        raise too_long

    async def _newer(self, session: aiohttp.ClientSession, after: str) -> _Found:
        """What it lists beyond this number, in as many answers as it needs."""
        name, channel = self._camera.options.name, str(self._options.channel)
        found: _Found = {}
        for _ in range(_PAGES_MAX):
            body = await self._asked(session, after)
            page = await asyncio.to_thread(listed, body, name, channel)
            more = {one: (read, message) for one, read, message in page if int(one) > int(after)}
            if not more.keys() - found.keys():
                break
            found |= more
            after = max(more, key=int)
        return found

    def _read_before(self, found: _Found) -> list[str]:
        """Of a camera that is new, all of it; of one that an earlier version read, what that had come to."""
        try:
            first = self._before.read_text("ascii").split()[0]
        except FileNotFoundError:
            return list(found)
        except (ValueError, IndexError):
            return []
        # Of the future: its clock was wrong then, and what it saw since has smaller numbers.
        future = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%d%H%M%S}"
        if not re.fullmatch(r"\d{1,40}", first) or first[: len(future)] > future:
            return []
        return [name for name in found if int(name) <= int(first)]

    async def _asked(self, session: aiohttp.ClientSession, after: str) -> bytes:
        url = f"{self._options.url}/ISAPI/Traffic/channels/{self._options.channel}/vehicleDetect/plates"
        async with session.post(
            url, data=poll(after), headers={"Content-Type": "application/xml"}, allow_redirects=False
        ) as answer:
            if answer.status != 200:  # noqa: PLR2004
                raise DeviceRefused(f"the camera answered {answer.status}")
            gathered = bytearray()
            async for block in answer.content.iter_any():
                gathered += block
                if len(gathered) > _ANSWER_MAX:
                    raise _TooLong("the camera's list is longer than is read")
            return bytes(gathered)

    def _says(self, trouble: str | None) -> None:
        if trouble is not None and self._trouble is None:
            self._log.warning("alpr_trouble", camera=self._camera.options.name, trouble="list", error=trouble)
        self._trouble = trouble

    def notices(self) -> Iterator[Notice]:
        """What a person should do."""
        if self._trouble is not None:
            yield Notice(
                "alpr.list",
                "warning",
                f"camera {self._camera.options.name}",
                f"The list of plates of camera {self._camera.options.name} cannot be asked: {self._trouble}.",
                "Compare `poll.url`, user and password with the camera's page; what it cannot push now is not fetched.",
            )
        elif self._beyond is not None:
            yield Notice(
                "alpr.list",
                "warning",
                f"camera {self._camera.options.name}",
                f"The list of plates of camera {self._camera.options.name} is longer than is read: what it saw before "
                f"{self._beyond} by its clock is not looked at.",
                "Have the camera's old plates deleted on its page.",
            )


def _line(path: Path, name: str) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(f"camera.{name}.poll.password_file", f"{path}: {in_words(error)}")]) from error
    if not text or "\n" in text:
        raise ConfigError([Problem(f"camera.{name}.poll.password_file", f"{path} must hold one line")])
    return text


def _trusting(options: PollOptions, name: str) -> ssl.SSLContext | None:
    if not options.url.startswith("https:"):
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(f"camera.{name}.poll.ca", f"{options.ca}: {in_words(error)}")]) from error
    if options.ca is not None:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the camera's own certificate may stand there
    return context
