"""What is not as it should be, in words for the person at the dock, each with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.clock import EARLIEST
from agent.errors import SpoolFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.capture import Stamp
    from agent.config import Config
    from agent.spool import Room
    from agent.station.views import View

__all__ = ["problems"]


def problems(
    config: Config,
    summary: View,
    room: Room,
    stamp: Stamp,
    links: Iterable[Mapping[str, Any]],
    troubles: Iterable[Mapping[str, Any]] = (),
) -> list[View]:
    """The worst first. `state` is `problem` (something stands still) or `warning` (someone should look)."""
    found = [
        *_of_witnesses(summary["checkpoint"]),
        *_of_links(links),
        *_of_room(room),
        *_of_clock(stamp),
        *_of_aside(summary["aside"]),
        *_of_config(config),
        *map(dict, troubles),
    ]
    return sorted(found, key=lambda one: one["state"] != "problem")


def _say(state: str, what: str, detail: str, todo: str | None) -> View:
    return {"state": state, "what": what, "detail": detail, "todo": todo}


def _of_links(links: Iterable[Mapping[str, Any]]) -> Iterator[View]:
    for link in links:
        if not link["up"]:
            yield _say("problem", "uplink", f"{link['name']}: {link['problem']}", link["todo"])


def _of_witnesses(checkpoint: Mapping[str, Any]) -> Iterator[View]:
    for vkey in checkpoint["contradicted_by"]:
        detail = f"the witness {vkey.partition('+')[0]} knows another history of this log: nothing is released"
        todo = "Call the station's administrator: this journal was rolled back, cloned or changed. Change nothing."
        yield _say("problem", "witness", detail, todo)


def _of_room(room: Room) -> Iterator[View]:
    if not room.usable:
        yield _say("problem", "room", "the spool has no room above the watermark: nothing is taken", SpoolFull.hint)


def _of_clock(stamp: Stamp) -> Iterator[View]:
    if stamp.at < EARLIEST:
        yield _say("problem", "clock", "the station's clock is years behind", "Set the clock, and look at its battery.")
    elif not stamp.synchronised:
        todo = "Let the station keep its time by NTP or GNSS; timedatectl tells how it does."
        yield _say("warning", "clock", "nothing keeps the station's clock right, and every entry says so", todo)


def _of_aside(aside: Mapping[str, int]) -> Iterator[View]:
    if aside["refused"]:
        todo = "The administrator of the DEMS must say why: evidock capture list --standing refused."
        yield _say("warning", "refused", f"the DEMS refused {_captures(aside['refused'])}", todo)
    if aside["quarantined"]:
        todo = "A person must look: evidock capture list --standing quarantined."
        yield _say("warning", "quarantined", f"{_captures(aside['quarantined'])} stand aside in doubt", todo)


def _of_config(config: Config) -> Iterator[View]:
    if not config.uplink:
        todo = "Add an [[uplink]] table."
        yield _say("warning", "uplink", "no destination is configured: what is taken stays here", todo)
    if not config.driver:
        yield _say("warning", "driver", "no driver is configured: nothing is taken", "Add a [[driver]] table.")


def _captures(count: int) -> str:
    return "1 capture" if count == 1 else f"{count} captures"
