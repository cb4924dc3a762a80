"""The driver: takes documents in by HTTPS, from a folder and a broker, and tells each interval as an observation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import Device, Observation, printable
from agent.driver import Notice
from agent.errors import BadCapture, ConfigError, Problem
from agent.listening import check_certificates, listening
from agent.mqtt import Session, Subscription
from drivers.dispatch.cad.intervals import CONTENT_MAX, Row, Wrong, rows
from drivers.dispatch.cad.options import CadOptions
from drivers.dispatch.door import application, check_door, said, token_of
from drivers.dispatch.folder import Dropped, Folder

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from aiohttp import web

    from agent.driver import Intake
    from agent.listening import Bound
    from agent.mqtt import Message

__all__ = ["Cad"]

_AT_ONCE: Final = 64
"""Intervals that are told at once: they share one commit."""
_TOLD_MAX: Final = 20
"""Rows that were refused, told one by one in an answer."""
_TOPIC_MAX: Final = 64 * 1024
"""Bytes of a message beside its content."""
_SIGHT: Final = 5.0


class Cad:
    """A dispatch system: incidents of units, by HTTPS, MQTT or files."""

    class Options(CadOptions):
        """The `[[driver]]` table with `use = "dispatch.cad"`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        check_door(options.listen, options.token_file)
        self._token = token_of(options.token_file)
        if options.listen is not None:
            check_certificates(options.listen)
        self._session: Session | None = None
        if options.broker is not None:
            try:
                topics = [Subscription(topic) for topic in options.topics]
            except ValueError as error:
                raise ConfigError([Problem("topics", str(error))]) from error
            # As much as by the other ways, and few at once.
            broker = options.broker.with_room(max_packet=CONTENT_MAX + _TOPIC_MAX, in_hand=4)
            self._session = Session(broker, name=options.name, topics=topics)
        self._folder = None if options.folder is None else Folder(options.folder, longest=CONTENT_MAX)
        self._device = Device(f"cad:{options.name}", "dispatch", options.name)
        self._read: dict[bytes, Dropped] = {}
        self._wrong: dict[str, str] = {}
        self._counts = {"taken": 0, "refused": 0}
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self.bound: Bound | None = None
        """The listener, while it runs."""

    async def run(self, intake: Intake, /) -> None:
        """Take in what comes, until cancelled."""
        await intake.sight(self._device)
        ways: list[Coroutine[Any, Any, None]] = [self._here(intake)]
        if self._options.listen is not None:
            ways.append(self._serve(intake))
        if self._folder is not None:
            ways.append(self._watch(self._folder, intake))
        if self._session is not None:
            ways.append(self._session.listen(lambda message: self._published(intake, message)))
        async with asyncio.TaskGroup() as group:
            for way in ways:
                group.create_task(way)

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`."""
        told = {"intervals taken": str(self._counts["taken"]), "rows refused": str(self._counts["refused"])}
        if self._session is not None:
            told["broker"] = self._session.trouble or "connected"
        return told

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        todo = "Have the dispatch system say it in the way of docs/dispatch.md."
        found = [Notice("dispatch.refused", "warning", place, why, todo) for place, why in self._wrong.items()]
        if self._folder is not None and self._folder.trouble is not None:
            todo = "Look at the share and at the daemon's rights: it must be able to read the folder."
            found.append(Notice("dispatch.folder", "problem", self._options.name, self._folder.trouble, todo))
        if self._session is not None and self._session.trouble is not None:
            todo = self._session.todo or "Look at the broker."
            found.append(Notice("dispatch.broker", "problem", self._options.name, self._session.trouble, todo))
        return found

    # -- the ways in ---------------------------------------------------------------------------------------------------

    async def _here(self, intake: Intake) -> None:
        while True:
            await asyncio.sleep(_SIGHT)
            await intake.sight(self._device)

    async def _serve(self, intake: Intake) -> None:
        if self._options.listen is None:
            return

        async def take(_: web.Request, body: bytes) -> web.Response:
            try:
                wrong, taken = await self._take(body, "posted", intake)
            except BadCapture as error:
                return said(400, error=str(error))
            told = [{"row": one.row, "why": one.why} for one in wrong[:_TOLD_MAX]]
            return said(422 if wrong else 200, taken=taken, refused=len(wrong), rows=told)

        app = application("/incidents", self._token, take, longest=CONTENT_MAX)
        async with listening(app, self._options.listen) as self.bound:
            await self.bound.serve()

    async def _watch(self, folder: Folder, intake: Intake) -> None:
        while True:
            settled = await asyncio.to_thread(folder.settled)
            names = {one.name for one in settled}
            self._read = {name: one for name, one in self._read.items() if name in names}
            for one in settled:
                if self._read.get(one.name) == one:
                    continue
                content = await asyncio.to_thread(folder.read, one)
                if content is not None:
                    await self._take_quietly(content, one.key, intake)
                elif one.length > CONTENT_MAX:
                    self._refuse(one.key, f"has more than {CONTENT_MAX} bytes")
                else:  # a share that was away for a moment: it is read again at the next look
                    self._refuse(one.key, "cannot be read")
                    continue
                self._read[one.name] = one
            await asyncio.sleep(self._options.rescan)

    async def _published(self, intake: Intake, message: Message) -> None:
        await self._take_quietly(message.payload, f"topic {printable(message.topic)}", intake)

    # -- what comes in -------------------------------------------------------------------------------------------------

    async def _take_quietly(self, content: bytes, place: str, intake: Intake) -> None:
        """Nobody waits for an answer: what cannot be read is told to a person, until the same place says it rightly."""
        try:
            await self._take(content, place, intake)
        except BadCapture as error:
            self._refuse(place, str(error))

    async def _take(self, content: bytes, place: str, intake: Intake) -> tuple[list[Wrong], int]:
        """Tell every row that can be read; those that cannot, and how many were told. Durable on return."""
        found = await asyncio.to_thread(rows, content, self._options)
        wrong = [one for one in found if isinstance(one, Wrong)]
        good = [one for one in found if isinstance(one, Row)]
        for first in range(0, len(good), _AT_ONCE):
            await asyncio.gather(*(intake.observe(self._observation(one)) for one in good[first : first + _AT_ONCE]))
        self._counts["taken"] += len(good)
        if wrong:
            self._counts["refused"] += len(wrong)
            self._refuse(place, f"{len(wrong)} of {len(found)} rows; row {wrong[0].row}: {wrong[0].why}")
        else:
            self._wrong.pop(place, None)
        return wrong, len(good)

    def _observation(self, row: Row) -> Observation:
        return Observation(self._device.id, "incident", row.began_at or datetime.now(UTC), row.detail)

    def _refuse(self, place: str, why: str) -> None:
        if self._wrong.get(place) != why:
            self._log.warning("dispatch_refused", place=place, error=printable(why), todo="see docs/dispatch.md")
        self._wrong.pop(place, None)
        self._wrong[place] = printable(why)
        while len(self._wrong) > _TOLD_MAX:
            self._wrong.pop(next(iter(self._wrong)))
