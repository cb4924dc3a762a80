"""An emulated DEMS at an MQTT broker: it hears what stations announce, and sends its receipts there.

    async with EmulatedDems(folder) as dems, DemsAtBroker(dems.core, broker.options()) as there:
        ...
        assert there.announced

It keeps its session (Clean Start 0), so that what stations say while it is away waits at the broker. Receipts are sent
when a capture is both stored and announced, whichever comes first, and again when it is announced again.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from agent.broker.messages import CONTENT_TYPE, ReceiptGiven, topic
from agent.errors import UplinkError
from agent.mqtt import Connection, Outgoing, Session, Subscription

if TYPE_CHECKING:
    from types import TracebackType

    from agent.mqtt import BrokerOptions, Message
    from agent.testing.dems.core import Core

__all__ = ["DemsAtBroker"]

_LOOK: Final = 0.1
_AT_ONCE: Final = 5.0
"""Seconds for which it is waited for that it listens."""
_log = structlog.get_logger("dems")


class DemsAtBroker:
    """Everything that stations say, by kind, as it was parsed; and receipts to those who wait for them."""

    def __init__(self, core: Core, options: BrokerOptions, *, silent: bool = False, name: str = "dems") -> None:
        """`silent`: announce nothing; then stations ask over HTTPS alone."""
        self._core, self._silent = core, silent
        self._session = Session(
            options.model_copy(update={"client_id": name}), name=name, topics=[Subscription("evidock/v1/#", own=True)]
        )
        self.heard: list[tuple[str, dict[str, Any]]] = []
        """(kind, payload), in the order in which they came; retained ones too."""
        self.announced: Counter[str] = Counter()
        """How often each capture was."""
        self.order: list[str] = []
        """Captures in the order in which they were announced first."""
        self._owed: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._session.run(self._visit)))
        # What is announced while nobody listens a broker throws away. One that comes later still is not waited for.
        with suppress(TimeoutError):
            async with asyncio.timeout(_AT_ONCE):
                while not self.up:  # noqa: ASYNC110 - its session has no event for it
                    await asyncio.sleep(0.01)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    @property
    def up(self) -> bool:
        """Whether it is connected."""
        return self._session.up

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was said of a kind."""
        return [payload for of, payload in self.heard if of == kind]

    async def send(self, station: str, note: bytes) -> None:
        """Send a receipt to a station (agency/site/station), whatever it is worth."""
        if self._session.connection is None:
            raise UplinkError("the DEMS is not at the broker")
        await self._send(self._session.connection, station, note)

    async def _visit(self, connection: Connection) -> None:
        sending = asyncio.create_task(self._sending(connection))
        try:
            async for message in connection:
                self._hear(message)
                connection.acknowledge(message)
        finally:
            sending.cancel()
            await asyncio.wait({sending})  # and not `await sending`, where our own cancellation would be lost
            if not sending.cancelled() and (error := sending.exception()) is not None:
                _log.warning("not_sent", error=str(error))

    def _hear(self, message: Message) -> None:
        *_, agency, site, station, kind = message.topic.split("/")
        payload = json.loads(message.payload)
        self.heard.append((kind, payload))
        if kind in {"capture", "hit"}:
            capture = payload["capture"]
            if capture not in self.announced:
                self.order.append(capture)
            self.announced[capture] += 1
            self._owed[capture] = f"{agency}/{site}/{station}"

    async def _sending(self, connection: Connection) -> None:
        while True:
            for capture, station in [] if self._silent else list(self._owed.items()):
                if (note := self._core.receipt(capture)) is not None:
                    del self._owed[capture]
                    await self._send(connection, station, note)
            await asyncio.sleep(_LOOK)

    async def _send(self, connection: Connection, station: str, note: bytes) -> None:
        payload = ReceiptGiven(receipts=(note.decode(),))
        await connection.publish(
            Outgoing(
                topic(station, payload.kind),
                payload.encoded(),
                content_type=CONTENT_TYPE,
                user=(("schema", payload.schema_),),
            )
        )
