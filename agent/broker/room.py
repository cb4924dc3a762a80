"""The work at the broker: birth, announcements, figures, alarms and heads go out; receipts and commands come in.

One connection, kept by `agent.mqtt.Session`. While it stands, four tasks use it; when it is lost all end, and begin
anew with the next one. Whatever has to survive that stands in the journal.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from agent.broker import outbox, telling
from agent.broker.hearing import Hearing
from agent.broker.messages import (
    CONTENT_TYPE,
    AlarmTold,
    HeadTold,
    NoticeTold,
    StateTold,
    prefix,
    topic,
)
from agent.capture import Priority, rfc3339
from agent.errors import AgentError, ConfigError, JournalError, Problem, UplinkDown, UplinkError, UplinkRefused
from agent.journal import anchors
from agent.journal.rows import micros
from agent.mqtt import Outgoing, Session, Subscription, Will
from agent.process import first_of
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.broker.messages import Payload
    from agent.capture import Holding
    from agent.journal import Journal
    from agent.mqtt import Connection, Message, StationOptions
    from agent.note import Verifier
    from agent.station.live import Live
    from agent.station.running import Running

__all__ = ["Broker"]

WILL_DELAY: Final = 120
"""Seconds before the broker tells of our death: longer than the first tries to come back."""
A_SECOND: Final = 50
"""Most announcements a second, so that an outage's backlog drowns nobody; what is urgent does not wait for that."""
_PAGE: Final = 20
_UNSURE: Final = 120
"""What was announced so many seconds before a connection was lost is announced again: brokers write seldom."""
_REFUSED_AGAIN: Final = 3600
_BUSY_AGAIN: Final = 60
_GOODBYE: Final = 3.0
_DOWN_TOLD: Final = 60.0
_FAILED_AGAIN: Final = 60.0
_BREATH: Final = 0.2
"""Seconds between two looks at what is alarming: several at once are one message."""


class Broker:
    """The station at the agency's broker."""

    def __init__(self, running: Running, options: StationOptions, *, keys: Callable[[], Sequence[Verifier]]) -> None:
        """`keys`: whose receipts are believed now. Raises `ConfigError` where the table cannot be used."""
        config = running.config
        try:
            self.station = prefix(config, options)
            self.hearing = Hearing(running, options, self.station, keys=keys)
            options.context()
            options.login()
        except ConfigError as error:
            places = [Problem(f"mqtt.{problem.path}", problem.message) for problem in error.problems]
            raise ConfigError(places, hint=error.what_to_do) from error
        self._options, self._running = options, running
        kinds = ["receipt", *(["cmd"] if self.hearing.operators else [])]
        name = self._options.client_id or f"evidock-{config.station.name}"
        self.session = Session(
            self._options.model_copy(update={"client_id": name}),
            name="station",
            topics=[Subscription(topic(self.station, kind), retained=False) for kind in kinds],
        )
        self._news, self._urgent, self._alarming = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._asked = False
        self._birth = 0
        self._lost_at: datetime | None = None
        self._refused: dict[str, str] = {}
        self._nobody = False
        self._head = -1
        self._alarm: tuple[NoticeTold, ...] | None = None
        self._log = structlog.get_logger("broker")

    def nudge(self, held: Holding | None = None) -> None:
        """A capture was held; what is urgent may try to connect at once."""
        self._news.set()
        if held is not None and held.priority <= Priority.HIT:
            self._urgent.set()
            self.session.hurry()

    def report(self) -> None:
        """Say everything now: birth, figures, alarms, head."""
        self._head, self._alarm, self._asked = -1, None, True
        self._alarming.set()

    def told(self) -> dict[str, str | bool | None]:
        """For `evidock status`."""
        session = self.session
        since = None if session.since is None else rfc3339(session.since)
        return {
            "at": self._options.at,
            "station": self.station,
            "up": session.up,
            "since": since,
            "trouble": session.trouble,
        }

    def troubles(self) -> Iterator[dict[str, str | None]]:
        """Repair notices."""
        session = self.session
        if session.trouble is not None and session.since is not None:
            lasted = (datetime.now(UTC) - session.since).total_seconds()
            if session.reason is not None or lasted > _DOWN_TOLD:
                yield repair("mqtt.down", "warning", "broker", session.trouble, session.todo)
        for kind, why in self._refused.items():
            todo = f"The broker must let this station write to {topic(self.station, kind)}: see docs/mqtt.md."
            yield repair("mqtt.refused", "warning", kind, why, todo)
        if self._nobody and session.up:
            detail = "nobody is subscribed to what this station announces"
            yield repair("mqtt.nobody", "warning", "broker", detail, "Ask the administrator of the DEMS.")
        yield from self.hearing.troubles()

    async def run(self, live: Live) -> None:
        """Until cancelled. Raises `JournalError` only: a fault of this room keeps no capture from being sent.

        `live`: what the daemon shows, which looks seldom at what costs much.
        """
        while True:
            try:
                await self.session.run(lambda connection: self._visit(connection, live), will=self._will)
            except JournalError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, evidence goes its way without announcements
                self._log.error("broker_failed", error=repr(error), exc_info=error)
                await asyncio.sleep(_FAILED_AGAIN)

    # -- one connection -----------------------------------------------------------------------------------------------

    async def _will(self) -> Will:
        self._birth = await self._running.desk.write(outbox.next_birth)
        return Will(self._outgoing(StateTold(online=False, bd=self._birth)), delay=WILL_DELAY)

    async def _visit(self, connection: Connection, live: Live) -> None:
        await self._running.desk.write(lambda journal: self._unsure(journal, kept=connection.session_present))
        self._head, self._alarm = -1, None
        try:
            await self._say(connection, await telling.state(self._running, self._birth))
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen(connection))
                group.create_task(self._announce(connection))
                group.create_task(self._figures(connection, live))
        except asyncio.CancelledError:
            with suppress(UplinkError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._say(connection, StateTold(online=False, bd=self._birth))
            raise
        except BaseExceptionGroup as errors:
            if (ours := errors.subgroup(AgentError)) is None:
                raise errors.exceptions[0] from errors
            raise first_of(ours) from errors
        finally:
            self._lost_at = datetime.now(UTC)

    def _unsure(self, journal: Journal, *, kept: bool) -> None:
        """Announce again what the broker may have lost. `kept`: it knows us, and so what it wrote before it ended.

        When the connection was lost before we started nobody knows, but nothing was announced after the last time: a
        power cut may have taken both of us.
        """
        lost_at = outbox.last_told(journal) if self._lost_at is None else micros(self._lost_at)
        outbox.lost(journal, lost_at - _UNSURE * 1_000_000 if kept else 0)

    async def _listen(self, connection: Connection) -> None:
        async for message in connection:
            answer = await self._heard(message)
            if answer is not None:
                await self._publish(connection, answer, "resp")
            connection.acknowledge(message)

    async def _heard(self, message: Message) -> Outgoing | None:
        """Do what a message asks for; our answer, where it wants one."""
        answer: Outgoing | None = None
        if message.topic == topic(self.station, "receipt"):
            await self.hearing.receipt(message)
        elif message.topic == topic(self.station, "cmd"):
            heard = await self.hearing.command(message)
            if heard.report:
                self.report()
            answer = replace(self._outgoing(heard.answer), correlation=message.correlation)
        if self.hearing.alarmed:
            self._alarming.set()
        return answer

    # -- captures -----------------------------------------------------------------------------------------------------

    async def _announce(self, connection: Connection) -> None:
        """What is urgent at once, the rest at a pace."""
        clock, free_at = asyncio.get_running_loop().time, 0.0
        while True:
            self._news.clear()
            self._urgent.clear()
            now = micros(datetime.now(UTC))
            page, pause = await self._collected(now), free_at - clock()
            due = page.due if pause <= 0 else tuple(one for one in page.due if one.urgent)
            if due:
                await self._announce_page(connection, due)
                free_at = max(free_at, clock()) + len(due) / A_SECOND
            elif page.due:
                await _until(self._urgent, pause)
            else:
                await _until(self._news, None if page.next_at is None else max(1.0, (page.next_at - now) / 1e6))

    async def _collected(self, now: int) -> outbox.Page:
        return await self._running.desk.write(lambda journal: outbox.collect(journal, now, _PAGE))

    async def _announce_page(self, connection: Connection, due: Sequence[outbox.Due]) -> None:
        """The urgent first, and only when the broker has them the others."""
        for urgent in (True, False):
            batch = [one for one in due if one.urgent is urgent]
            if batch:
                await self._announce_together(connection, batch)

    async def _announce_together(self, connection: Connection, batch: Sequence[outbox.Due]) -> None:
        results = await asyncio.gather(*(self._announce_one(connection, one) for one in batch))
        now = micros(datetime.now(UTC))

        def told(journal: Journal) -> None:
            for one, after in zip(batch, results, strict=True):
                outbox.told(journal, one.row, now, after=after)

        await self._running.desk.write(told)

    async def _announce_one(self, connection: Connection, due: outbox.Due) -> int | None:
        """None: told. Seconds: until it is tried again."""
        payload = telling.capture(due)
        try:
            self._nobody = not await connection.publish(self._outgoing(payload, id_=due.holding.id))
        except UplinkRefused as error:
            self._was_refused(payload.kind, error)
            return _REFUSED_AGAIN
        except UplinkDown as error:
            if not error.alone:
                raise
            self._was_refused(payload.kind, error)
            return _BUSY_AGAIN
        self._works(payload.kind)
        return None

    # -- figures, alarms, heads ---------------------------------------------------------------------------------------

    async def _figures(self, connection: Connection, live: Live) -> None:
        """Figures at their time; alarms as soon as there is one; heads seldom; all of it when it is asked for."""
        clock, every = asyncio.get_running_loop().time, self._options.status_every.total_seconds()
        figures_at = heads_at = 0.0
        while True:
            self._alarming.clear()
            if self._asked:
                self._asked, figures_at, heads_at = False, 0.0, 0.0
                await self._say(connection, await telling.state(self._running, self._birth))
            status = await live.status()
            notices = telling.notices(status)
            if notices != self._alarm:
                self._alarm = notices
                await self._say(connection, AlarmTold(at=rfc3339(datetime.now(UTC)), notices=notices))
            if clock() >= figures_at:
                # Stations that were started together must not speak together for ever.
                figures_at = clock() + every * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
                await self._say(connection, telling.status(self._running, self._birth, status))
            if clock() >= heads_at:
                heads_at = clock() + self._options.head_every.total_seconds()
                await self._say_head(connection)
            await _until(self._alarming, figures_at - clock())
            await asyncio.sleep(_BREATH)

    async def _say_head(self, connection: Connection) -> None:
        newest = await self._running.desk.read(anchors.newest)
        if newest is not None and newest.size != self._head:
            await self._say(connection, HeadTold(size=newest.size, checkpoint=newest.best.decode()))
            self._head = newest.size

    # -- saying -------------------------------------------------------------------------------------------------------

    async def _say(self, connection: Connection, payload: Payload) -> None:
        await self._publish(connection, self._outgoing(payload), payload.kind)

    async def _publish(self, connection: Connection, message: Outgoing, kind: str) -> None:
        """Publish; that the broker refuses one kind does not keep the others from going."""
        try:
            await connection.publish(message)
        except UplinkRefused as error:
            self._was_refused(kind, error)
        except UplinkDown as error:
            if not error.alone:
                raise
            self._was_refused(kind, error)
        else:
            self._works(kind)

    def _was_refused(self, kind: str, error: UplinkError) -> None:
        if kind not in self._refused:
            self._log.warning("announcement_refused", kind=kind, reason=str(error), todo=error.what_to_do)
            self._alarming.set()
        self._refused[kind] = str(error)

    def _works(self, kind: str) -> None:
        if self._refused and self._refused.pop(kind, None) is not None:
            self._log.info("announcement_taken_again", kind=kind)

    def _outgoing(self, payload: Payload, id_: str | None = None) -> Outgoing:
        schema = str(payload.schema_)  # type: ignore[attr-defined]  # each model has its own
        try:
            encoded = payload.encoded()
        except ValueError:  # ids of devices, or claims, of a length that only an attacker gives them
            encoded = payload.model_copy(update={"devices": None, "read": None}).encoded()
        return Outgoing(
            topic(self.station, payload.kind),
            encoded,
            qos=payload.qos,
            retain=payload.retained,
            expiry=payload.expiry,
            content_type=CONTENT_TYPE,
            user=(("schema", schema), *((("id", id_),) if id_ else ())),
        )


async def _until(news: asyncio.Event, seconds: float | None) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await news.wait()
