"""Who is told of a hit at once, on this machine: a program, a sound, the desktop. It can delay and fill nothing.

Each has a short line of its own: what does not fit pushes the oldest out, which is counted. A hit that nobody was told
of is a capture all the same, and stands in the list of those that wait for an answer.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from jeepney import DBusAddress, new_method_call
from jeepney.io.asyncio import open_dbus_router

from agent.mqtt import Outgoing, Session

if TYPE_CHECKING:
    from agent.mqtt import BrokerOptions, Connection
    from drivers.alpr.hotlist.hits import Hit
    from drivers.alpr.hotlist.options import AlertOptions

__all__ = ["LINE", "Alerts"]

LINE: Final = 32
"""Hits that wait for one of them."""

_DESKTOP: Final = DBusAddress(
    "/org/freedesktop/Notifications", "org.freedesktop.Notifications", "org.freedesktop.Notifications"
)
_CRITICAL: Final = 2


class Alerts:
    """All that are configured."""

    def __init__(self, options: tuple[AlertOptions, ...]) -> None:
        """Raises `ConfigError` where a broker's files cannot be used."""
        self._ways = [
            _Way(number, one) if one.broker is None else _Published(number, one, one.broker)
            for number, one in enumerate(options, 1)
        ]

    def tell(self, hit: Hit) -> None:
        """Put it into each line; returns at once."""
        for way in self._ways:
            way.add(hit)

    @property
    def troubles(self) -> dict[str, str]:
        """Which of them failed last time, and why."""
        return {way.name: way.trouble for way in self._ways if way.trouble is not None}

    async def run(self) -> None:
        """Tell, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for way in self._ways:
                group.create_task(way.run())


class _Way:
    def __init__(self, number: int, options: AlertOptions) -> None:
        self.name, self._options = f"{options.kind} {number}", options
        self._line: deque[Hit] = deque(maxlen=LINE)
        self._wanted = asyncio.Event()
        self._log = structlog.get_logger("hotlist")
        self.trouble: str | None = None
        self.missed = 0
        """Hits that were pushed out of the line."""
        self._missed_told = 0

    def add(self, hit: Hit) -> None:
        if len(self._line) == LINE:
            self.missed += 1
        self._line.append(hit)
        self._wanted.set()

    async def run(self) -> None:
        while True:
            await self._wanted.wait()
            while self._line:
                await self._told(self._line.popleft())
            self._caught_up()
            self._wanted.clear()

    def _caught_up(self) -> None:
        """The line is empty: say once what did not fit into it."""
        if more := self.missed - self._missed_told:
            todo = "Nobody was told of them by this alert; they wait for an answer: evidock hotlist hits."
            self._log.warning("alert_passed_over", alert=self.name, hits=more, todo=todo)
        self._missed_told = self.missed

    async def _told(self, hit: Hit) -> None:
        try:
            async with asyncio.timeout(self._options.within.total_seconds()):
                await self._tell(hit)
        except Exception as error:  # noqa: BLE001 - whatever a desktop or a program does, hits go on
            if self.trouble != (why := _why(error)):
                todo = "Look at [[driver.alert]] in agent.toml. The hit itself is kept: evidock hotlist hits."
                self._log.warning("alert_failed", alert=self.name, error=why, todo=todo)
            self.trouble = why
        else:
            if self.trouble is not None:
                self._log.info("alert_works_again", alert=self.name)
            self.trouble = None
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError  # jeepney, hanging up, takes our end for that of its own task

    async def _tell(self, hit: Hit) -> None:
        options = self._options
        match options.kind:
            case "command":
                await _run(options.command, json.dumps(hit.told(plate=options.plate)).encode())
            case "sound":
                await _run((*options.player, str(options.sound)), b"")
            case "desktop":
                await _notify(options.bus or os.environ.get("DBUS_SESSION_BUS_ADDRESS", "SESSION"), hit, options.plate)


class _Published(_Way):
    """Over MQTT: what waits while there is no connection goes out with the next one, the newest `LINE` of it."""

    def __init__(self, number: int, options: AlertOptions, broker: BrokerOptions) -> None:
        super().__init__(number, options)
        self._session = Session(broker, name=f"alert-{number}")

    def add(self, hit: Hit) -> None:
        super().add(hit)
        self._session.hurry()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._session.run(self._publish))
            group.create_task(self._watch())

    async def _publish(self, connection: Connection) -> None:
        while True:
            while self._line:
                hit = self._line[0]
                told = json.dumps(hit.told(plate=self._options.plate)).encode()
                await connection.publish(Outgoing(self._options.topic, told, qos=1, content_type="application/json"))
                if self._line and self._line[0] is hit:
                    self._line.popleft()
            self._caught_up()
            self._wanted.clear()
            await self._wanted.wait()

    async def _watch(self) -> None:
        while True:
            self.trouble = self._session.trouble
            await asyncio.sleep(1)


async def _run(command: tuple[str, ...], told: bytes) -> None:
    """Run it to its end; the hit stands on its standard input, for arguments can be seen by every user."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await process.communicate(told)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    if process.returncode:
        raise OSError(0, f"it ended with {process.returncode}")


async def _notify(bus: str, hit: Hit, plate: bool) -> None:  # noqa: FBT001 - from the options
    """A critical notification (Desktop Notifications Specification 1.2): it stays until somebody closes it."""
    title = f"{'URGENT ' if hit.urgent else ''}{hit.category}: {hit.listed if plate else 'a hit'}"
    lines = [f"{hit.rule} at {hit.camera}", f"list {hit.list}, {hit.age}"]
    if plate:
        lines[:0] = [f"read {hit.plate}", hit.vehicle or ""]
    body = "\n".join(text for text in lines if text)
    arguments: tuple[Any, ...] = ("Evidock", 0, "dialog-warning", title, body, [], {"urgency": ("y", _CRITICAL)}, 0)
    async with open_dbus_router(bus) as router:
        call = new_method_call(_DESKTOP, "Notify", "susssasa{sv}i", arguments)
        reply = await router.send_and_get_reply(call)
        if reply.header.message_type.name == "error":
            raise OSError(0, "the desktop refused it")


def _why(error: Exception) -> str:
    """In words that quote nothing of the hit."""
    if isinstance(error, TimeoutError):
        return "it was not done in time"
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else type(error).__name__
