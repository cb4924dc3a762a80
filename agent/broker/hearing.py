"""What comes from the broker: receipts and commands. Neither is believed because the broker brought it."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import ValidationError

from agent.broker import orders, outbox
from agent.broker.messages import CommandGiven, ReceiptGiven, ResponseTold, topic
from agent.capture import printable
from agent.driver import TakesOrders
from agent.errors import AgentError, BadReceipt, ConfigError, JournalError, Problem, Refusal
from agent.forward.late import came_late
from agent.journal.entry import Event, told_reason
from agent.note import BadNote, Verifier
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent.broker.orders import Signed
    from agent.capture import Json
    from agent.journal import Journal
    from agent.mqtt import Message, StationOptions
    from agent.station.running import Running

__all__ = ["Heard", "Hearing"]

COMMAND_MAX: Final = 16 * 1024
CORRELATION_MAX: Final = 64
_EXPIRY_MAX: Final = 86400
_ENTRY_EVERY: Final = 600.0
"""Seconds between two entries about refused messages of a kind: whoever may publish must not fill the log."""
_NOTICED: Final = timedelta(days=1)
_REFUSALS: Final = 20


@dataclass(frozen=True, slots=True)
class Heard:
    """A command that was answered."""

    answer: ResponseTold
    report: bool = False
    """Everything is to be said now."""


class Hearing:
    """Reads what comes; keeps no state but what people are told of it."""

    def __init__(
        self, running: Running, options: StationOptions, station: str, *, keys: Callable[[], Sequence[Verifier]]
    ) -> None:
        """Raises `ConfigError` where a key is none."""
        self._running, self._station, self._keys = running, station, keys
        self._receipts_for = options.receipts_for
        self.operators = self.verifiers(options)
        self._refusals: deque[tuple[datetime, str, str]] = deque(maxlen=_REFUSALS)
        self._written: dict[str, tuple[float, int]] = {}
        self._log = structlog.get_logger("broker")
        self.alarmed = False
        """Something was refused since the last look."""

    @staticmethod
    def verifiers(options: StationOptions) -> tuple[Verifier, ...]:
        """Whose commands are obeyed. Raises `ConfigError` where a key is none."""
        made, problems = list[Verifier](), list[Problem]()
        for number, vkey in enumerate(options.operator_keys):
            try:
                made.append(Verifier.parse(vkey))
            except BadNote as error:
                problems.append(Problem(f"operator_keys[{number}]", str(error)))
        if problems:
            raise ConfigError(problems)
        return tuple(made)

    def troubles(self) -> Iterator[dict[str, str | None]]:
        """What was refused in the last day."""
        self.alarmed = False
        since = datetime.now(UTC) - _NOTICED
        for kind in ("receipt", "cmd"):
            found = [why for at, of, why in self._refusals if of == kind and at >= since]
            if found:
                what = "receipts" if kind == "receipt" else "commands"
                detail = f"{what} that came over MQTT were refused; the last one: {found[-1]}"
                todo = "Ask the administrator of the DEMS, and of the broker, who sends them."
                yield repair("mqtt.untrusted", "warning", what, detail, todo)

    # -- receipts -----------------------------------------------------------------------------------------------------

    async def receipt(self, message: Message) -> None:
        """Verify each receipt as one that came by HTTPS, and commit it."""
        try:
            given = ReceiptGiven.model_validate_json(message.payload)
        except ValidationError as error:
            await self._refuse("receipt", f"it is no receipt/1: {_first(error)}")
            return
        for note in given.receipts:
            try:
                await self._one_receipt(note.encode("utf-8", "replace"))
            except (BadReceipt, Refusal) as error:
                await self._refuse("receipt", str(error))

    async def _one_receipt(self, note: bytes) -> None:
        came = await came_late(self._running.desk, note, self._keys(), self._destination(), over="mqtt")
        if came is not None:
            self._log.debug("receipt_came", capture=came)
            for forward in self._running.forwards:
                forward.nudge()

    def _destination(self) -> str:
        if self._receipts_for is not None:
            return self._receipts_for
        links = [forward.link for forward in self._running.forwards]
        return next((link.name for link in links if link.role == "primary"), "mqtt")

    # -- commands -----------------------------------------------------------------------------------------------------

    async def command(self, message: Message) -> Heard:
        """Obey, or say why not."""
        id_: str | None = None
        try:
            self._formal(message)
            try:
                given = CommandGiven.model_validate_json(message.payload)
            except ValidationError as error:
                raise Refusal(f"it is no cmd/1: {_first(error)}") from error
            signed = orders.opened(given.note, self.operators)
            id_ = signed.order.id
            done = await self._running.desk.write(lambda journal: self._obeyed(journal, signed))
        except JournalError:
            raise
        except Refusal as error:
            await self._refuse("cmd", str(error))
            return Heard(ResponseTold(id=id_, done=False, detail=printable(str(error))[:1000]))
        detail = done.detail
        if done.done and (not done.again or orders.unfinished(signed.order, detail)):
            self._log.info("act", verb=signed.order.command, actor=signed.actor, why=signed.order.why, id=id_)
            detail = await self._performed(signed) or detail
        answer = ResponseTold(id=id_, done=done.done, again=done.again, detail=printable(detail)[:1000])
        # One that was cut off was so by the end of its connection, and the next connection begins with all of it.
        return Heard(answer, report=signed.order.command == "report" and done.done and not done.again)

    def _formal(self, message: Message) -> None:
        """What must be so before a signature is looked at."""
        if len(message.payload) > COMMAND_MAX:
            raise Refusal(f"a command has {COMMAND_MAX} bytes at most, and this one {len(message.payload)}")
        if message.retained:
            raise Refusal("a command that the broker kept is none: publish it without `retain`")
        if message.expiry is None or message.expiry > _EXPIRY_MAX:
            raise Refusal("a command needs a Message Expiry Interval of a day at most")
        if message.response_topic not in (None, topic(self._station, "resp")):
            raise Refusal(f"the answer goes to {topic(self._station, 'resp')} and nowhere else")
        if message.correlation is not None and len(message.correlation) > CORRELATION_MAX:
            raise Refusal(f"Correlation Data has {CORRELATION_MAX} bytes at most")

    def _obeyed(self, journal: Journal, signed: Signed) -> orders.Obeyed:
        _, answer = outbox.answered(journal, signed.order.id) or (b"", "")
        # Whoever missed an answer asks for it when the command holds no more.
        if not answer or orders.unfinished(signed.order, answer.removeprefix("done ")):
            orders.timely(signed.order, self._station, self._running.clock.stamp().at)
        return orders.obey(journal, signed)

    async def _performed(self, signed: Signed) -> str | None:
        """What is not done in the journal alone. Of what is cut off in it the answer goes on saying `accepted`."""
        if signed.order.command == "reload-hotlist":
            id_, detail = signed.order.id, await self._reload_hotlists(signed)
            await self._running.desk.write(lambda journal: outbox.change_answer(journal, id_, f"done {detail}"))
            return detail
        for forward in self._running.forwards:
            forward.nudge()
        return None

    async def _reload_hotlists(self, signed: Signed) -> str:
        told: list[str] = []
        for loaded in self._running.equipment.drivers:
            name, driver = loaded.options.name, loaded.driver
            if not isinstance(driver, TakesOrders) or not loaded.options.use.startswith("alpr."):
                continue

            async def record(detail: Mapping[str, Json], name: str = name) -> None:
                entry: dict[str, Json] = {"order": {"detail": dict(detail), "driver": name, "word": "reload"}}
                await self._running.desk.write(
                    lambda journal: journal.record(Event.DRIVER_ORDERED, entry, actor=signed.actor)
                )

            try:
                async with asyncio.timeout(60):
                    await driver.order("reload", {}, actor=signed.actor, record=record)
            except AgentError as error:
                told.append(f"{name}: {error}")
            except TimeoutError:
                told.append(f"{name}: no answer in a minute")
            else:
                told.append(f"{name}: read again")
        return "; ".join(told) or "no driver here has hotlists"

    # -- what is refused ----------------------------------------------------------------------------------------------

    async def _refuse(self, kind: str, why: str) -> None:
        """Tell log and people, and, now and then, the custody log."""
        why = printable(why)[:500]
        self._refusals.append((datetime.now(UTC), kind, why))
        self.alarmed = True
        self._log.warning("message_refused", kind=kind, reason=why)
        last, count = self._written.get(kind, (-_ENTRY_EVERY, 0))
        if monotonic() - last < _ENTRY_EVERY:
            self._written[kind] = (last, count + 1)
            return
        self._written[kind] = (monotonic(), 0)
        told: dict[str, Json] = {"kind": kind, "more": count, "reason": told_reason(why)}
        await self._running.desk.write(lambda journal: journal.record(Event.MESSAGE_REFUSED, {"message": told}))


def _first(error: ValidationError) -> str:
    found = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, found["loc"]))
    return printable(f"{place}: {found['msg']}" if place else str(found["msg"]))[:200]
