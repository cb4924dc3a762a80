"""What is not as it should be, in words for the person at the dock, each with what to do: see `agent.repairs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent.clock import EARLIEST
from agent.errors import SpoolFull
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from agent.capture import Stamp
    from agent.config import Config
    from agent.errors import JournalFull
    from agent.machine.disk import Ground
    from agent.spool import Room
    from agent.station.views import View

__all__ = ["SOON", "of_full", "problems", "room_todo"]

SOON: Final = 24 * 3600.0
"""Seconds: a spool that will be full within this time is told of."""


def problems(
    config: Config,
    summary: View,
    room: Room,
    stamp: Stamp,
    links: Iterable[Mapping[str, Any]],
    troubles: Iterable[Mapping[str, Any]] = (),
    *,
    full_in: float | None = None,
    ground: Ground | None = None,
) -> list[View]:
    """The worst first. `state` is `problem` (something stands still) or `warning` (someone should look)."""
    troubles = [dict(one) for one in troubles]
    full = any(one["id"] == "journal.full" for one in troubles)
    found = [
        *_of_witnesses(summary["checkpoint"]),
        *_of_links(links),
        *(() if full else _of_room(config, room, full_in)),
        *_of_disk(ground),
        *_of_clock(stamp),
        *_of_aside(summary["aside"]),
        *_of_config(config),
        *_of_certificates(config, stamp),
        *troubles,
    ]
    return sorted(found, key=lambda one: one["state"] != "problem")


def _of_links(links: Iterable[Mapping[str, Any]]) -> Iterator[View]:
    for link in links:
        if not link["up"]:
            yield repair("uplink.down", "problem", "uplink", f"{link['name']}: {link['problem']}", link["todo"])


def _of_witnesses(checkpoint: Mapping[str, Any]) -> Iterator[View]:
    for vkey in checkpoint["contradicted_by"]:
        detail = f"the witness {vkey.partition('+')[0]} knows another history of this log: nothing is released"
        todo = "Call the station's administrator: this journal was rolled back, cloned or changed. Change nothing."
        yield repair("witness.contradicts", "problem", "witness", detail, todo)


def of_full(full: JournalFull, held: int) -> View:
    """The journal needs less room than any capture: where it has none, the spool has none either."""
    waits = f"; {_captures(held)} held here and not yet at the DEMS" if held else ""
    detail = f"{full}: nothing is taken and nothing is released, and what is held stays whole{waits}"
    return repair("journal.full", "problem", "journal", detail, full.what_to_do)


def room_todo(config: Config) -> str:
    """What to do where nothing more fits. With the policy of a new station nothing ever leaves its disk by itself."""
    if config.policy.spool != "keep":
        return SpoolFull.hint
    return (
        'Leave the devices docked. policy.spool = "keep" lets nothing leave this disk: write "released" or "receipted" '
        "into agent.toml and restart the service, or give it a larger disk."
    )


def _of_room(config: Config, room: Room, full_in: float | None) -> Iterator[View]:
    if not room.usable:
        detail = "the spool has no room above the watermark: nothing is taken"
        yield repair("room.full", "problem", "room", detail, room_todo(config))
    elif full_in is not None and full_in < SOON:
        detail = f"the spool is full in {max(1, round(full_in / 3600))} h at today's rate"
        todo = (
            "Bring captures to the DEMS faster, let the spool forget sooner (policy.spool), or give it a larger disk."
        )
        yield repair("room.soon", "warning", "room", detail, todo)


def _of_disk(ground: Ground | None) -> Iterator[View]:
    if ground is None:
        return
    if ground.read_only:
        todo = "Call the station's administrator: the disk may be failing. The devices still have what was not held."
        yield repair("disk.read_only", "problem", "disk", "the spool's file system is mounted read-only", todo)
    said = [*ground.troubles, *(f"{disk.name}: {trouble}" for disk in ground.disks for trouble in disk.troubles)]
    if said:
        todo = "Have the disk replaced before it fails. Until then: evidock check, evidock spool verify."
        yield repair("disk.errors", "warning", "disk", "; ".join(said), todo)


def _of_clock(stamp: Stamp) -> Iterator[View]:
    if stamp.at < EARLIEST:
        todo = "Set the clock, and look at its battery."
        yield repair("clock.behind", "problem", "clock", "the station's clock is years behind", todo)
    elif not stamp.synchronised:
        todo = "Let the station keep its time by NTP or GNSS; timedatectl tells how it does."
        detail = "nothing keeps the station's clock right, and every entry says so"
        yield repair("clock.unkept", "warning", "clock", detail, todo)


def _of_aside(aside: Mapping[str, int]) -> Iterator[View]:
    if aside["refused"]:
        todo = "The administrator of the DEMS must say why: evidock capture list --standing refused."
        detail = f"the DEMS refused {_captures(aside['refused'])}"
        yield repair("captures.refused", "warning", "refused", detail, todo)
    if aside["quarantined"]:
        todo = "A person must look: evidock capture list --standing quarantined, then evidock capture show ID says why."
        detail = f"{_captures(aside['quarantined'])} stand aside in doubt"
        yield repair("captures.quarantined", "warning", "quarantined", detail, todo)


def _of_certificates(config: Config, stamp: Stamp) -> Iterator[View]:
    if not config.shows:
        return
    from agent.identity import expiries  # noqa: PLC0415 - X.509, for stations that show a certificate

    for found in expiries(config.shows, stamp.at):
        detail = f"{found.what}: {found.detail}"
        if found.state == "problem":
            yield repair("certificate.ended", "problem", "certificate", detail, found.todo)
        else:
            yield repair("certificate.ending", "warning", "certificate", detail, found.todo)


def _of_config(config: Config) -> Iterator[View]:
    if not config.uplink:
        todo = "Add an [[uplink]] table."
        yield repair("uplink.none", "warning", "uplink", "no destination is configured: what is taken stays here", todo)
    if not config.driver:
        todo = "Add a [[driver]] table."
        yield repair("driver.none", "warning", "driver", "no driver is configured: nothing is taken", todo)


def _captures(count: int) -> str:
    return "1 capture" if count == 1 else f"{count} captures"
