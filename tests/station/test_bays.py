"""What each bay says: line by line of the table in `agent.station.bays`, and never `safe` before its time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.capture import Capture, Device
from agent.driver import Bay
from agent.ingest.copying import Arrival
from agent.station import bays as bays_module
from agent.station.bays import Moving, bays, others
from tests.screen.dock import Bays, Loaded

DEVICE = Device("usb:1:2:SN-7", "body_worn", "bay-1", serial="SN-7")
HERE = Bay("bay-1", DEVICE)
DONE = replace(HERE, complete=True, listed=42, safe=42)


class Running:
    """As much of a daemon as is looked at."""

    def __init__(self, *shown: Bay, arrivals: dict[bytes, Arrival] | None = None) -> None:
        driver = Bays(0)
        for bay in shown:
            driver[bay.name] = bay
        options: Any = type("Options", (), {"name": "dock"})()
        self.drivers = [Loaded(options, driver)]
        self.arrivals = arrivals or {}
        self.devices: dict[str, Any] = {}

    equipment = property(lambda self: self)
    ingest = property(lambda self: self)


def said(
    bay: Bay, arrival: Arrival | None = None, *, moving: Moving | None = None, no_room: bool = False, **roster: str
) -> dict[str, Any]:
    arrivals = {} if arrival is None else {b"1": arrival}
    running: Any = Running(bay, arrivals=arrivals)
    (told,) = bays(running, rates={b"1": 5.0}, moving=moving or Moving(), roster=roster, no_room=no_room)
    return told


@pytest.mark.parametrize(
    ("bay", "state", "reason"),
    [
        (Bay("bay-1"), "empty", None),
        (HERE, "charging", None),
        (replace(HERE, listed=42, safe=42), "charging", None),
        (replace(HERE, offering=True), "copying", None),
        (DONE, "safe", None),
        (replace(DONE, listed=0, safe=0), "safe", None),
        (replace(DONE, complete=False), "charging", None),
        (replace(DONE, writable=True), "do_not_remove", None),
        (replace(HERE, writable=True, trouble="it hurts"), "do_not_remove", None),
        (replace(DONE, safe=41, unexplained=1), "help", "unexplained"),
        (replace(DONE, safe=41, aside=1), "help", "aside"),
        (replace(DONE, safe=41, refused=1), "help", "refused"),
        (replace(HERE, trouble="nobody knows this device"), "help", "trouble"),
        (Bay("bay-1", trouble="nothing tells it apart"), "help", "trouble"),
    ],
)
def test_one_bay(bay: Bay, state: str, reason: str | None) -> None:
    told = said(bay)
    assert (told["state"], told["reason"]) == (state, reason)
    assert (told["todo"] is not None) == (reason not in (None, "trouble"))
    assert (told["index"] is not None) == bay.complete


def test_while_a_byte_arrives_nothing_is_safe() -> None:
    told = said(DONE, Arrival(Capture(DEVICE, "CLIP1.MP4", None, 100), 40))
    assert told["state"] == "copying"
    assert told["copying"]["captures"] == 1


def test_progress_counts_what_was_answered_and_what_has_arrived() -> None:
    bay = replace(HERE, offering=True, offered_bytes=1000, answered_bytes=500)
    told = said(bay, Arrival(Capture(DEVICE, "CLIP1.MP4", None, 400), 40))
    assert told["copying"] == {"captures": 1, "done": 540, "length": 1000, "rate": 5.0}


def test_a_full_disk_is_named_as_the_reason() -> None:
    assert said(replace(DONE, safe=41, unexplained=1), no_room=True)["reason"] == "no_room"


def test_a_copy_that_does_not_move_asks_for_help(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(bays_module, "monotonic", lambda: now)
    moving, arrival = Moving(), Arrival(Capture(DEVICE, "CLIP1.MP4", None, 100), 40)
    moving.note({b"1": arrival})
    now += bays_module.STALL - 1
    moving.note({b"1": arrival})
    assert said(HERE, arrival, moving=moving)["state"] == "copying"
    now += 2
    moving.note({b"1": arrival})
    told = said(HERE, arrival, moving=moving)
    assert (told["state"], told["reason"]) == ("help", "stalled")
    arrival.arrived = 41
    moving.note({b"1": arrival})
    assert said(HERE, arrival, moving=moving)["state"] == "copying"
    arrival.arrived = 100  # whole: it is being read back from our disk
    moving.note({b"1": arrival})
    now += bays_module.STALL + 1
    assert said(HERE, arrival, moving=moving)["state"] == "copying"


def test_an_officer_by_id_by_serial_number_or_by_the_devices_own_word() -> None:
    assert said(DONE, **{"usb:1:2:SN-7": "A. Roy", "SN-7": "B. Chen"})["officer"] == "A. Roy"
    assert said(DONE, **{"SN-7": "B. Chen"})["officer"] == "B. Chen"
    assert said(replace(DONE, officer="C. Singh"), **{"SN-7": "B. Chen"})["officer"] == "C. Singh"
    assert said(DONE)["officer"] is None
    assert said(Bay("bay-1"))["officer"] is None


def test_devices_that_stand_in_no_bay() -> None:
    running: Any = Running(DONE)
    recorder = Device("room:1", "interview_room", "room-1")
    for device, present in ((recorder, True), (Device("room:2", "interview_room", "room-2"), False)):
        running.devices[device.id] = type("Seen", (), {"device": device, "present": present})()
    assert others(running) == [{"name": "room:1", "driver": "room-1", "family": "interview_room", "copying": False}]
