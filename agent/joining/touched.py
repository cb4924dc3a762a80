"""Which captures something touches that was just told: by its device and time, through who had which device."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from agent.context import Malformed, Sort, folded, told_of
from agent.journal import contexts, facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from agent.capture import Observation
    from agent.context import ContextOptions, Vehicle
    from agent.journal import Journal
    from agent.journal.facts import Fact

__all__ = ["bare", "devices_named", "riding_with", "tell", "touch", "touch_by_positions"]


def bare(about: str) -> str:
    """The name in `device NAME`, `unit NAME`, `officer NAME`."""
    return about.partition(" ")[2]


def tell(
    journal: Journal,
    options: ContextOptions,
    observation: Observation,
    *,
    actor: str = "agent",
    why: str | None = None,
) -> list[Fact]:
    """Write an observation and have the captures looked at again that it touches; what changed. In a transaction.

    Assignments and incidents may be told again and again: what says nothing new is not written.
    """
    with suppress(Malformed):
        told = told_of(observation)
        if told is not None and facts.said_already(journal, observation, told) is not None:
            return []
    changed = facts.keep(journal, observation, actor=actor, why=why)
    for fact in changed:
        touch(journal, options, fact)
    return changed


def touch(journal: Journal, options: ContextOptions, fact: Fact) -> int:
    """Have the captures looked at again that this fact may belong to; how many. In a transaction."""
    since, until = fact.began_at, fact.ended_at
    if fact.sort is Sort.CLOCK:
        return 0  # it counts for captures that are taken from now on
    if fact.sort is Sort.MARK:
        rule = options.rule_of(fact.value or "")
        if rule.ignore:
            return 0
        names = riding_with(journal, options, bare(fact.about))
        return contexts.unsettle(journal, names, since - rule.before, None if until is None else until + rule.after)
    if fact.sort is Sort.INCIDENT:
        return contexts.unsettle(journal, _concerned(journal, options, fact, since, until or since), since, until)
    return contexts.unsettle(journal, devices_named(journal, options, bare(fact.about)), since, until)


def touch_by_positions(
    journal: Journal, options: ContextOptions, device: str, interval: tuple[datetime, datetime], after: timedelta
) -> int:
    """The same for positions: what follows may still come, so it is looked at some time later."""
    return contexts.unsettle(journal, riding_with(journal, options, device), *interval, after=after)


def devices_named(journal: Journal, options: ContextOptions, name: str) -> list[str]:
    """Devices with captures that a person means: by id, serial number, or as riding in the vehicle of that name."""
    found = contexts.called(journal, name)
    for vehicle in options.vehicle:
        if folded(vehicle.name) == folded(name):
            found += _of(journal, vehicle)
    return list(dict.fromkeys(found))


def riding_with(journal: Journal, options: ContextOptions, device: str) -> list[str]:
    """Devices with captures that are always where this one is; itself among them."""
    found = contexts.called(journal, device)
    vehicle = options.vehicle_of(device)
    return list(dict.fromkeys([*found, *([] if vehicle is None else _of(journal, vehicle))]))


def _of(journal: Journal, vehicle: Vehicle) -> list[str]:
    return [device for device in contexts.devices(journal) if vehicle.has(device)]


def _concerned(
    journal: Journal, options: ContextOptions, fact: Fact, since: datetime, until: datetime
) -> Iterator[str]:
    """Devices of the unit, of the officer, or the device itself, that an incident was told for."""
    name = bare(fact.about)
    if fact.about.startswith("device "):
        yield from devices_named(journal, options, name)
        return
    sort = Sort.UNIT if fact.about.startswith("unit ") else Sort.OFFICER
    for assigned in facts.valued(journal, sort, name, since, until):
        yield from devices_named(journal, options, bare(assigned.about))
    for vehicle in options.vehicle:
        if sort is Sort.UNIT and vehicle.unit is not None and folded(vehicle.unit) == name:
            yield from _of(journal, vehicle)
