"""What a Hikvision camera saw and could not bring: its own list is asked, and what it never brought is offered.

The camera's list has no pictures and no zone, so it is the second choice. A plate of the list waits for `settle`
seconds to be brought by the camera itself; then it is offered, marked `polled`. How far the list was read is kept in a
file as the camera's own number: it names a time and no plate. What was offered and not kept is asked for again.

A camera whose clock is far ahead gives numbers of the future. How far these were read is kept beside it: else nothing
that the camera sees once its clock is right would be newer than what was read.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog

from agent.driver import Notice
from agent.durable import replace_file
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
from drivers.alpr.makers.hikvision import listed
from firmware_specs import SpecError
from firmware_specs.formats.hikvision_anpr import poll

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
_LONG_AGO: Final = "200001010000000000"
_AHEAD: Final = timedelta(days=1)
"""What is of the future by less may be another zone's time."""
_NEAR: Final = 2
"""Seconds by which the camera's two words for the time of one passage may differ."""
_PATIENCE: Final = aiohttp.ClientTimeout(total=30, connect=10)


@dataclass(frozen=True, slots=True)
class _Cursor:
    """How far the list was read: the newest number, and beside it the newest of those that are of the future."""

    name: str = _LONG_AGO
    ahead: str = _LONG_AGO

    def is_before(self, name: str) -> bool:
        return int(name) > int(self.ahead if _is_ahead(name) else self.name)

    def after(self, name: str) -> _Cursor:
        """When this one was read as well."""
        if not self.is_before(name):
            return self
        return replace(self, ahead=name) if _is_ahead(name) else replace(self, name=name)


def _is_ahead(name: str) -> bool:
    """Whether a clock that was far ahead gave this number: it begins with the camera's time."""
    try:
        at = datetime.strptime(name[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return False
    return at > datetime.now(UTC) + _AHEAD


class Gaps:
    """Of one camera."""

    def __init__(self, camera: Camera, options: PollOptions, state: Path) -> None:
        self._camera, self._options = camera, options
        self._file = state / f"{camera.options.name}.picname"
        self._password = _line(options.password_file, camera.options.name)
        self._tls = _trusting(options, camera.options.name)
        self._pending: dict[str, tuple[Read, Message, float]] = {}
        self._done: set[str] = set()
        """Of these, those behind one that could not be kept."""
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
        cursor = await asyncio.to_thread(self._cursor)
        body = await self._asked(session, cursor.name if cursor else _LONG_AGO)
        found = listed(body, self._camera.options.name, str(self._options.channel))
        if cursor is None:  # a new camera: what it saw before it was ours is not ours to offer
            cursor = _Cursor()
            for name, _, _ in found:
                cursor = cursor.after(name)
            await self._remember(cursor)
            return
        now = monotonic()
        self._done &= {name for name, _, _ in found}
        for name, read, message in found:
            if cursor.is_before(name) and name not in self._done and len(self._pending) < _PENDING_MAX:
                self._pending.setdefault(name, (read, message, now))
        for name in sorted(self._pending, key=int):
            read, message, since = self._pending[name]
            if now - since < self._options.settle:
                break
            if await self._is_done_with(intake, read, message):
                self._done.add(name)
                del self._pending[name]
                await self._go_on(cursor)

    async def _go_on(self, cursor: _Cursor) -> None:
        """Remember how far everything is done: what could not be kept is asked for again, and holds up no other."""
        first = min(map(int, self._pending), default=None)
        for name in sorted((name for name in self._done if first is None or int(name) < first), key=int):
            cursor = cursor.after(name)
        await self._remember(cursor)
        self._done = {name for name in self._done if cursor.is_before(name)}

    async def _is_done_with(self, intake: Intake, read: Read, message: Message) -> bool:
        """Whether it is held, to be forgotten, or must not be taken. Raises `SpoolError`: no other would be kept."""
        if self.brought(read):
            return True
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
                    raise DeviceRefused("the camera's list is longer than is read")
            return bytes(gathered)

    # -- how far it was read -------------------------------------------------------------------------------------------

    def _cursor(self) -> _Cursor | None:
        try:
            names = self._file.read_text("ascii").split()
        except FileNotFoundError:
            return None
        except ValueError:
            names = []
        # A file that was damaged: from the beginning of the list again, for twice is better than not at all.
        if not 1 <= len(names) <= 2 or not all(re.fullmatch(r"\d{1,40}", name) for name in names):  # noqa: PLR2004
            return _Cursor()
        return _Cursor(*names) if len(names) > 1 else _Cursor().after(names[0])

    async def _remember(self, cursor: _Cursor) -> None:
        def write() -> None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._file, f"{cursor.name}\n{cursor.ahead}\n".encode())

        await asyncio.to_thread(write)

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
