"""Who has which device: a person's word, a file's, and what stands at one moment. Each word is an entry of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent.capture import KEY_MAX, Observation, rfc3339
from agent.context import WORD_MAX, Malformed, Sort, about_device, folded, told_of
from agent.errors import Refusal
from agent.joining.touched import devices_named, tell
from agent.journal import contexts, facts

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping
    from datetime import datetime

    from agent.capture import Json
    from agent.context import ContextOptions
    from agent.journal import Journal

__all__ = ["ROWS_MAX", "assign", "assign_all", "every_name", "held_by", "history", "officers_of", "own_name"]

ROWS_MAX: Final = 1000
"""Assignments of one request."""
_SORTS: Final = (Sort.OFFICER, Sort.UNIT)


def assign(
    journal: Journal,
    options: ContextOptions,
    asked: Mapping[str, Any],
    *,
    actor: str,
    why: str,
    seen: Container[str] = frozenset(),
) -> dict[str, Json]:
    """Write that a device belongs to an officer or a unit, or to nobody; what stands then. In a transaction.

    `asked`: device (id, serial number, or name of a vehicle), officer or unit (null: nobody), from, until, new. `seen`:
    devices that are known beside those of captures. Raises `Refusal` where it cannot be understood, or where no such
    device is known and `new` does not say that this is right.
    """
    device = str(asked.get("device") or "").strip()
    if not 0 < len(device) <= KEY_MAX or not device.isprintable():
        raise Refusal("say which device", hint="Nothing was changed. List them: evidock device list.")
    device = own_name(journal, device)
    words = [sort for sort in _SORTS if sort.value in asked]
    if len(words) != 1:
        raise Refusal("say an officer or a unit, one at a time", hint="Nothing was changed.")
    if asked.get("new") is not True and device not in seen and not devices_named(journal, options, device):
        raise Refusal(
            f"no device is known here under {device!r}",
            hint="Nothing was changed. List them: evidock device list. If it is to come only, add --new.",
        )
    (sort,) = words
    detail = {name: asked[name] for name in (sort.value, "from", "until") if asked.get(name) is not None}
    observation = Observation(
        device, f"assignment.{sort.value}", journal.now(), {sort.value: None, **detail, "time": {"source": "station"}}
    )
    try:
        told = told_of(observation)
    except Malformed as error:
        raise Refusal(f"{error}", hint="Nothing was changed.") from error
    if told is None:  # pragma: no cover - an assignment tells of an interval
        raise Refusal("that is no assignment")
    already = facts.said_already(journal, observation, told)
    same = already or tell(journal, options, observation, actor=actor, why=why)[-1]
    return {
        "already": already is not None,
        "device": device,
        "entry": same.seq,
        "from": rfc3339(same.began_at),
        "until": None if same.ended_at is None else rfc3339(same.ended_at),
        sort.value: asked.get(sort.value),
    }


def own_name(journal: Journal, name: str) -> str:
    """The id of the device that is called so, where exactly one is: so that all words about it are of one name."""
    found = contexts.called(journal, name)
    return found[0] if len(found) == 1 else name


def every_name(journal: Journal, options: ContextOptions, names: Iterable[str]) -> list[str]:
    """These names, the others of the same devices, and of the vehicles that they ride in."""
    found = dict.fromkeys(names)
    for device in [one for name in list(found) for one in (contexts.called(journal, name) or [name])]:
        found |= dict.fromkeys([device, *contexts.names_of(journal, device)])
        if (vehicle := options.vehicle_of(device)) is not None:
            found[vehicle.name] = None
    return list(dict.fromkeys(folded(name) for name in found))


def assign_all(
    journal: Journal, options: ContextOptions, rows: object, *, actor: str, why: str, seen: Container[str]
) -> list[Json]:
    """The same for many, all or none: a file of an agency. What stands so already is written no second time."""
    if not isinstance(rows, list) or not 0 < len(rows) <= ROWS_MAX or not all(isinstance(row, dict) for row in rows):
        raise Refusal(f"give 1 to {ROWS_MAX} assignments")
    told: list[Json] = []
    for number, row in enumerate(rows, 1):
        try:
            told.append(assign(journal, options, row, actor=actor, why=why, seen=seen))
        except Refusal as error:
            if "line" not in row and len({str(one.get("device")) for one in rows}) == 1:
                raise  # a person's word about one device: no row is to be looked for
            where = f"line {row['line']}" if isinstance(row.get("line"), int) else f"assignment {number}"
            raise Refusal(f"{where}: {error}", hint=error.what_to_do) from error
    return told


def held_by(journal: Journal, names: Iterable[str], at: datetime | None = None) -> dict[str, Any]:
    """Officer and unit of a device at one moment (default: now), each with since when, until when and the entry."""
    abouts = [about_device(name) for name in names]
    told: dict[str, Any] = {}
    for sort in _SORTS:
        fact = facts.standing(journal, sort, abouts, at or journal.now())
        told[sort.value] = None
        if fact is not None:
            said = facts.said_by(journal, fact.seq)
            told[sort.value] = {
                "by": said["actor"],
                "entry": fact.seq,
                "from": rfc3339(fact.began_at),
                "until": None if fact.ended_at is None else rfc3339(fact.ended_at),
                sort.value: said["observation"]["detail"][sort.value],
            }
    return told


def history(journal: Journal, names: Iterable[str], limit: int = 20) -> list[dict[str, Any]]:
    """The last words about whose a device is, newest first."""
    seqs = [seq for name in names for sort in _SORTS for seq in facts.newest(journal, sort, about_device(name), limit)]
    told = []
    for seq in sorted(set(seqs), reverse=True)[:limit]:
        said = facts.said_by(journal, seq)
        part, detail = said["fact"], said["observation"]["detail"]
        told.append(
            {
                part["sort"]: detail[part["sort"]],
                "by": said["actor"],
                "entry": seq,
                "from": part["from"],
                "told_at": said["recorded_at"],
                "until": part["until"],
                "why": said.get("why"),
            }
        )
    return told


def officers_of(journal: Journal, devices: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """For the dock's screen: the officer of each device (id, serial number) of which a word stands; "" for nobody."""
    found: dict[str, str] = {}
    now = journal.now()
    for device, serial in devices:
        abouts = [about_device(name) for name in (device, serial) if name]
        fact = facts.standing(journal, Sort.OFFICER, abouts, now)
        if fact is not None:
            said = facts.said_by(journal, fact.seq)["observation"]["detail"]
            found[device] = str(said["officer"] or "")[:WORD_MAX]
    return found
