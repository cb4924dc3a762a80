"""Commands: who may give them, what they may say, and that each is obeyed once and is an entry of the custody log.

    evidock-command/v1
    {"command":"hold","capture":"8a3f…","id":"…","station":"example-org/main/dock-1","why":"court order 12/26",…}

    — alice.example.org 8dR1…

That is a signed note (`agent.note`) by an operator whose key stands in `[mqtt] operator_keys`. That it came from the
broker proves nothing. No command deletes, releases, or changes a policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from agent.broker import outbox
from agent.broker.messages import Order
from agent.capture import canonical, rfc3339
from agent.config import problems_of
from agent.errors import Refusal
from agent.journal import queries
from agent.journal.entry import Event
from agent.note import COSIGNATURE, BadNote, Note, sign
from agent.station import acts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Json
    from agent.journal import Journal
    from agent.note import Signer, Verifier

__all__ = ["SPAN_MAX", "Obeyed", "Signed", "obey", "opened", "signed", "timely", "unfinished"]

_VERSION: Final = "evidock-command/v1"
SPAN_MAX: Final = timedelta(hours=24)
"""Between `not_before` and `not_after`."""
_CLOCKS_DIFFER: Final = timedelta(minutes=1)
_OF_CAPTURES: Final = {"prioritise": "prioritise", "hold": "hold", "resume": "lift"}
"""Commands about one capture, and the act of `agent.station.acts` that each is."""
ACTOR: Final = "operator:"
"""How the actor of a command begins in an entry; the name of the key follows."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A command whose signature was verified."""

    order: Order
    operator: str
    """Name of the key."""
    note: str
    sha256: bytes
    """Of the note."""

    @property
    def actor(self) -> str:
        """As it stands in an entry."""
        return ACTOR + self.operator


@dataclass(frozen=True, slots=True)
class Obeyed:
    """What became of a command."""

    detail: str
    again: bool
    """It had been obeyed, or refused, before."""
    done: bool


def signed(order: Order, signer: Signer) -> str:
    """The note of a command. `Refusal` where no station would take it."""
    text = f"{_VERSION}\n{canonical(_told(order)).decode()}\n"
    note = sign(text, signer)
    _fits(order)
    return note.decode()


def opened(note: str, keys: Sequence[Verifier]) -> Signed:
    """What one of these operators ordered. `Refusal` for anything else."""
    try:
        raw = note.encode()
        parsed = Note.parse(raw)
        (signature, *_) = parsed.verified_by(key for key in keys if key.kind != COSIGNATURE)
    except (BadNote, UnicodeEncodeError) as bad:
        raise Refusal(f"no operator of this station signed this command: {bad}") from bad
    version, _, body = parsed.text.partition("\n")
    if version != _VERSION:
        raise Refusal(f"the first line of the command is not {_VERSION}")
    try:
        order = Order.model_validate_json(body)
        if canonical(_told(order)).decode() + "\n" != body:
            raise Refusal("the command is not one line of canonical JSON, or says more than this version knows")
    except ValidationError as error:
        wrong = "; ".join(f"{problem.path}: {problem.message}" for problem in problems_of(error, Order))
        raise Refusal(f"the command cannot be read: {wrong}") from error
    _fits(order)
    return Signed(order, signature.by.name, note, sha256(raw).digest())


def timely(order: Order, station: str, now: datetime) -> None:
    """`Refusal` unless the command is for this station, and for now."""
    if order.station != station:
        raise Refusal(f"the command is for {order.station}, and this is {station}")
    if now + _CLOCKS_DIFFER < _time(order.not_before):
        raise Refusal(f"the command holds from {order.not_before} on, and it is {rfc3339(now)} here")
    if now > _time(order.not_after):
        raise Refusal(f"the command held until {order.not_after}, and it is {rfc3339(now)} here")


def obey(journal: Journal, given: Signed, *, refused: str | None = None) -> Obeyed:
    """Do what a command says of the journal, or write down why not, once. Call it inside a transaction.

    A command that was answered before gets the same answer, whatever has happened since.
    """
    order = given.order
    if (known := outbox.answered(journal, order.id)) is not None:
        digest, answer = known
        if digest != given.sha256:
            raise Refusal(f"another command with the id {order.id} was given before")
        return Obeyed(answer.partition(" ")[2], again=True, done=answer.startswith("done "))
    detail = refused
    if detail is None:
        try:
            detail = _act(journal, given)
        except Refusal as error:
            refused = detail = str(error)
    told: dict[str, Json] = {
        "command": f"remote {order.command}",
        "remote": {"id": order.id, "note": given.note, "refused": refused},
        "why": order.why,
    }
    journal.record(Event.OPERATOR_COMMAND, told, actor=given.actor)
    outbox.keep_answer(journal, order.id, given.sha256, f"{'done' if refused is None else 'refused'} {detail}")
    return Obeyed(detail, again=False, done=refused is None)


def unfinished(order: Order, detail: str) -> bool:
    """Whether a command was obeyed as far as the journal goes, and nobody wrote that the room has done the rest."""
    return order.command == "reload-hotlist" and detail == _accepted(order)


def _accepted(order: Order) -> str:
    return f"{order.command}: accepted"


def _act(journal: Journal, given: Signed) -> str:
    """What was done, in a sentence. Commands that touch nothing in the journal are done by the room."""
    order = given.order
    verb = _OF_CAPTURES.get(order.command)
    if verb is None or order.capture is None:
        return _accepted(order)
    capture = acts.chosen(journal, order.capture)
    if order.command == "resume" and not _held_remotely(journal, capture):
        raise Refusal(f"capture {capture} is kept by order of a person at the station, who alone lifts it")
    known = acts.act(journal, verb, capture, actor=given.actor, why=order.why, priority=order.priority)
    match order.command:
        case "prioritise":
            return f"capture {known.id} is {known.priority.name.lower()} now"
        case "hold":
            return f"capture {known.id} is kept on its device and in the spool until this is lifted"
    return f"the policy decides about capture {known.id} again"


def _held_remotely(journal: Journal, capture: str) -> bool:
    """Whether each order that keeps a capture came by a command, or there is none: the newest tells not of all."""
    if not journal.get(capture).retained:
        return True
    standing: list[str] = []
    for entry in queries.story(journal, capture):
        told = entry["predicate"]
        if told["event"] != Event.OPERATOR_COMMAND:
            continue
        if told.get("command") == "hold":
            standing.append(str(told["actor"]))
        elif told.get("command") == "lift hold":
            standing.clear()
    return bool(standing) and all(actor.startswith(ACTOR) for actor in standing)


def _fits(order: Order) -> None:
    """`Refusal` where the parts of a command do not belong together."""
    begin, end = _time(order.not_before), _time(order.not_after)
    if not timedelta(0) < end - begin <= SPAN_MAX:
        raise Refusal("a command holds for a day at most: look at not_before and not_after")
    if (order.command in _OF_CAPTURES) != (order.capture is not None):
        raise Refusal(f"{order.command} needs {'a' if order.command in _OF_CAPTURES else 'no'} capture")
    if (order.priority is not None) != (order.command == "prioritise"):
        raise Refusal("prioritise needs a priority, and it alone")
    if order.priority is not None:
        acts.priority_named(order.priority)
    acts.said(order.why)


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:  # the 30th of February
        raise Refusal(f"{text} is no time") from error


def _told(order: Order) -> dict[str, Json]:
    return order.model_dump(mode="json", by_alias=True, exclude_none=True)
