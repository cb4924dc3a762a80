"""What each bay of the dock says to the person in front of it, in six words, and why.

| State | It is shown when | It means |
|---|---|---|
| `empty` | nothing is plugged in | the bay is free |
| `do_not_remove` | the device's volume is writable: captures on it are being deleted | pulled now it may be damaged |
| `help` | it cannot be read, or a copy has not moved for `STALL` seconds | a person must look; the bay says at what |
| `copying` | captures are being taken from it, or are offered for the first time | not everything on it is safe yet |
| `charging` | not everything that it lists was offered yet | it is looked through, or still writes: leave it |
| `help` | it was looked through; something was refused, is in doubt, or is unexplained | ask before it leaves |
| `safe` | it was looked through in this docking, and everything that it lists is held | it may be taken |

The first line that fits is shown. `safe` says that everything on the device is *held*: it lies in the spool, read back
from the disk, and stands in the journal. It does not say that the DEMS has it, nor that the device forgot it: what is
still listed then stays on the device, and is released at this or a later docking. Taken in between, nothing is lost.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from agent.driver import Bay, Care, ShowsBays, TellsCare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from agent.capture import Device
    from agent.ingest.copying import Arrival
    from agent.station.running import Loaded, Running
    from agent.station.views import View

__all__ = ["STALL", "STATES", "Moving", "bays", "care_view", "cared", "others"]

STATES: Final = ("empty", "charging", "copying", "safe", "do_not_remove", "help")

STALL: Final = 120.0
"""Seconds without a byte after which a copy is taken to hang."""

_STALL_TODO: Final = "Press the camera firmly into its bay. If that does not help, keep it and call the administrator."
_OPEN_TODO: Final = "Leave the camera in its bay: what is missing is tried again. If it stays, call the administrator."


class Moving:
    """Since when each copy has not moved."""

    def __init__(self) -> None:
        self._moved: dict[bytes, tuple[int, float]] = {}

    def note(self, arrivals: Mapping[bytes, Arrival]) -> None:
        """Call it now and then."""
        now = monotonic()
        self._moved = {
            token: seen
            if (seen := self._moved.get(token)) is not None and seen[0] == arrival.arrived
            else (arrival.arrived, now)
            for token, arrival in arrivals.items()
        }

    def stalled(self, token: bytes, arrival: Arrival) -> bool:
        """Whether it has not moved for too long. What has arrived whole is being read back from our own disk."""
        seen = self._moved.get(token)
        waits = seen is not None and monotonic() - seen[1] > STALL
        return waits and arrival.arrived != arrival.capture.length


class _Copying(NamedTuple):
    """What is arriving from one device."""

    captures: int
    arrived: int
    rate: float | None
    stalled: bool


def bays(
    running: Running,
    *,
    rates: Mapping[bytes, float | None],
    moving: Moving,
    roster: Mapping[str, str],
    no_room: bool,
) -> list[View]:
    """Every bay of every driver that knows its bays, in the order of agent.toml. `rates`: bytes per second by token."""
    arriving, care = _arriving(running.ingest.arrivals, rates, moving), cared(running.equipment.drivers)
    return [
        _view(bay, loaded.options.name, arriving, roster, no_room=no_room)
        | {"care": None if bay.device is None else care_view(care.get(bay.device.id))}
        for loaded in running.equipment.drivers
        if isinstance(loaded.driver, ShowsBays)
        for bay in loaded.driver.bays()
    ]


def cared(drivers: Iterable[Loaded]) -> dict[str, Care]:
    """How each device is, by its id, where its driver knows."""
    told: dict[str, Care] = {}
    for loaded in drivers:
        if isinstance(loaded.driver, TellsCare):
            told |= loaded.driver.care()
    return told


def care_view(care: Care | None) -> View:
    """In percent and bytes; null for what is not known."""
    known = care or Care()
    return {"battery": known.battery, "free_bytes": known.free_bytes, "room_bytes": known.room_bytes}


def others(running: Running) -> list[View]:
    """Devices that are here and stand in no bay: recorders, plate readers, notebooks."""
    shown = {loaded.options.name for loaded in running.equipment.drivers if isinstance(loaded.driver, ShowsBays)}
    copying = {arrival.capture.device.id for arrival in running.ingest.arrivals.values()}
    return [
        {
            "name": seen.device.place or seen.device.id,
            "driver": seen.device.driver,
            "family": seen.device.family,
            "copying": seen.device.id in copying,
        }
        for seen in sorted(running.devices.values(), key=lambda one: (one.device.driver, one.device.id))
        if seen.present and seen.device.driver not in shown
    ]


def _arriving(
    arrivals: Mapping[bytes, Arrival], rates: Mapping[bytes, float | None], moving: Moving
) -> dict[str, _Copying]:
    found: dict[str, _Copying] = {}
    for token, arrival in arrivals.items():
        before = found.get(arrival.capture.device.id, _Copying(0, 0, None, stalled=False))
        rate = rates.get(token)
        found[arrival.capture.device.id] = _Copying(
            before.captures + 1,
            before.arrived + arrival.arrived,
            before.rate if rate is None else (before.rate or 0.0) + rate,
            before.stalled or moving.stalled(token, arrival),
        )
    return found


def _view(bay: Bay, driver: str, arriving: Mapping[str, _Copying], roster: Mapping[str, str], *, no_room: bool) -> View:
    device = bay.device
    copying = None if device is None else arriving.get(device.id)
    state, reason, detail, todo = _state(bay, copying, no_room=no_room)
    return {
        "name": bay.name,
        "driver": driver,
        "state": state,
        "reason": reason,
        "detail": detail,
        "todo": todo,
        "device": None if device is None else _device(device),
        "officer": None if device is None else bay.officer or _officer(device, roster),
        "copying": _progress(bay, copying) if state == "copying" else None,
        "index": {
            "listed": bay.listed,
            "held": bay.safe,
            "aside": bay.aside,
            "refused": bay.refused,
            "unexplained": bay.unexplained,
        }
        if bay.complete
        else None,
    }


_Said: TypeAlias = tuple[str, str | None, str | None, str | None]
"""(state, reason, detail, what to do). The reason is a word that the screen knows in every language."""


def _state(bay: Bay, copying: _Copying | None, *, no_room: bool) -> _Said:
    """The table above, line by line."""
    said: _Said = ("charging", None, None, None)
    if bay.device is None and bay.trouble is None:
        said = ("empty", None, None, None)
    elif bay.writable:
        said = ("do_not_remove", None, None, None)
    elif bay.trouble is not None:
        said = ("help", "trouble", bay.trouble, bay.todo)
    elif copying is not None and copying.stalled:
        said = ("help", "stalled", f"no byte has come for {STALL:.0f} s", _STALL_TODO)
    elif copying is not None or bay.offering:
        said = ("copying", None, None, None)
    elif bay.complete:
        said = _reckoned(bay, no_room=no_room)
    return said


def _reckoned(bay: Bay, *, no_room: bool) -> _Said:
    for count, reason, word in (
        (bay.aside, "aside", "stand aside in doubt"),
        (bay.unexplained, "no_room" if no_room else "unexplained", "could not be taken"),
        (bay.refused, "refused", "were refused"),
    ):
        if count:
            return "help", reason, f"{count} of {bay.listed} {word}", _OPEN_TODO
    return "safe", None, None, None


def _progress(bay: Bay, copying: _Copying | None) -> View:
    """Bytes of this look that are answered or have arrived, of all that is offered."""
    under_way = copying or _Copying(0, 0, None, stalled=False)
    done = min(bay.answered_bytes + under_way.arrived, bay.offered_bytes)
    return {"captures": under_way.captures, "done": done, "length": bay.offered_bytes, "rate": under_way.rate}


def _device(device: Device) -> View:
    return {name: getattr(device, name) for name in ("id", "maker", "model", "serial", "firmware")}


def _officer(device: Device, roster: Mapping[str, str]) -> str | None:
    named = (name for name in (device.id, device.serial) if name is not None and name in roster)
    return next((roster[name] or None for name in named), None)
