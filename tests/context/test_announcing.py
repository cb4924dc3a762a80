"""What belongs to captures reaches the DEMS: as documents, each with what is new, also after a restart."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from agent.capture import Observation
from agent.context import ContextOptions
from agent.errors import SpoolFull
from agent.joining import Announcing, Joining, assign
from agent.joining import announcing as module
from agent.journal import queries
from agent.testing.devices import BenchDevice
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from tests.context.conftest import WORN, Rig, seconds

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from agent.capture import Standing
    from agent.driver import Readable

ANNA = {"actor": "anna", "why": "shift"}


class Hand:
    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.full = False

    async def take(self, offer: Readable) -> Standing:
        if self.full:
            raise SpoolFull("no room")
        self.taken.append((offer.capture.key, b"".join([block async for block in offer.open(0)])))
        return None  # type: ignore[return-value]


async def assigned(rig: Rig, officer: str) -> None:
    asked = {"device": WORN.id, "officer": officer, "from": seconds(-60).isoformat()}
    await rig.desk.write(lambda journal: assign(journal, rig.joining.options, asked, **ANNA))
    await rig.settled()


async def test_what_changed_is_told_once_and_what_changed_again_once_more(rig: Rig) -> None:
    hand = Hand()
    announcing = Announcing(rig.desk, "car-17", hand.take)
    assert await announcing.announce(at_once=True) == 0
    capture = await rig.hold("a", 0, device=WORN)
    await assigned(rig, "4471")
    hand.full = True
    assert await announcing.announce(at_once=True) == 0
    hand.full = False
    assert await announcing.announce(at_once=True) == 1
    assert await announcing.announce(at_once=True) == 0
    assert await Announcing(rig.desk, "car-17", hand.take).announce() == 0, "after a restart as well"
    await assigned(rig, "5520")
    assert await announcing.announce() == 0, "once a minute"
    assert await announcing.announce(at_once=True) == 1
    first, second = (json.loads(content) for _, content in hand.taken)
    assert first["type"] == module.DOCUMENT_TYPE
    ((one,), (other,)) = first["captures"], second["captures"]
    assert [said["capture"] for said in (one, other)] == [capture] * 2
    assert [said["context"]["officers"][-1]["officer"] for said in (one, other)] == ["4471", "5520"]
    assert other["instead_of"] == one["entry"]


async def test_many_are_told_in_documents_that_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 3)
    for number in range(7):
        await rig.hold(f"{number}", number, device=WORN)
    await assigned(rig, "4471")
    hand = Hand()
    announcing = Announcing(rig.desk, "car-17", hand.take)
    assert [await announcing.announce() for _ in range(3)] == [3, 3, 0]
    assert await announcing.announce(at_once=True) == 1
    told = [said["capture"] for _, content in hand.taken for said in json.loads(content)["captures"]]
    assert len(told) == len(set(told)) == 7
    assert len({key for key, _ in hand.taken}) == 3


async def test_over_a_real_spool_to_a_destination(tmp_path: Path) -> None:
    """The document is held, sent and receipted like evidence, and the journal is whole."""
    async with Station(tmp_path) as station:
        station.connect(BenchUplink())
        device = BenchDevice("usb:SN-1")
        device.record("CLIP1", b"film", began_at=seconds(0))
        await station.dock(device)
        joining = Joining(station.desk, ContextOptions(settle=timedelta(0)))
        await joining.start()
        told = Observation("usb:SN-1", "assignment.officer", seconds(-60), {"officer": "4471"})
        await joining.observe(told)
        assert await joining.settle() == 1
        assert await Announcing(station.desk, "bench", station.ingest.take).announce() == 1
        await station.send()
        found = await station.desk.read(queries.listing)
        assert {one.media_type: one.standing.value for one in found}[module.MEDIA_TYPE] == "receipted"
        await station.verify()
