"""Hits on the dock's screen: words alone, plate and pictures where that is configured, until they are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.driver import ShowsLeads
from drivers.alpr.hotlist import showing
from drivers.alpr.read import Image
from tests.drivers.hotlist.rig import PICTURE, Bench, read_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WIDE = b"\xff\xd8\xff\xe0" + b"the road " * 400


async def test_a_hit_is_shown_without_its_plate_until_it_is_answered(tmp_path: Path) -> None:
    bench = Bench(tmp_path, list={"urgent": ["stolen_vehicle", "stolen_plate", "wanted", "missing", "amber_alert"]})
    async with bench.open() as driver:
        assert isinstance(driver, ShowsLeads)
        assert driver.leads() == []
        assert await bench.station.take(read_of("EVDKD42", likelihood=0.9)) is Standing.HELD
        await bench.station.take(read_of("ZQX7W41", 2))
        (lead,) = driver.leads()
        assert lead.id == (await bench.station.only()).id
        assert lead.pictures == 0
        assert driver.picture(lead.id, 0) is None
        assert "ocr(1) at alpr:front, sure 0.45" in lead.lines
        assert "EVDK" not in repr(lead)
        assert lead.id[:8] in lead.todo
        await bench.order(driver, "outcome", capture=lead.id, outcome="misread")
        assert driver.leads() == []


async def test_plate_and_pictures_are_shown_where_that_is_configured(tmp_path: Path) -> None:
    bench = Bench(tmp_path, on_screen="pictures")
    async with bench.open() as driver:
        offer = read_of("EVDK042")
        images = (Image("overview", WIDE), *offer.read.images, Image("frame", WIDE))
        object.__setattr__(offer.read, "images", images)
        await bench.station.take(offer)
        (lead,) = driver.leads()
        assert lead.lines[0] == "listed EVDK042, read EVDK042"
        assert [driver.picture(lead.id, number) for number in range(3)] == [PICTURE, WIDE, None], (
            "the plate comes first"
        )
        assert driver.picture(lead.id, -1) is None
        await bench.order(driver, "outcome", capture=lead.id, outcome="confirmed")
        assert driver.picture(lead.id, 0) is None, "answered, they are not kept any longer"
    again = bench.driver()
    again._open()
    assert again.leads() == []
    again.shelves["region"].close()


async def test_after_a_restart_nobody_knows_the_plate(tmp_path: Path) -> None:
    bench = Bench(tmp_path, on_screen="pictures")
    async with bench.open() as driver:
        await bench.station.take(read_of("EVDK042"))
    driver = bench.driver()
    driver._open()
    (lead,) = driver.leads()
    assert (lead.pictures, "EVDK" in repr(lead)) == (0, False)
    driver.shelves["region"].close()


async def test_pictures_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_ROOM", 3 * len(PICTURE))
    bench = Bench(tmp_path, on_screen="pictures")
    async with bench.open() as driver:
        for number in range(20):
            await bench.station.take(read_of("EVDK042", number))
        leads = driver.leads()
        assert len(leads) == 12
        assert [lead.pictures for lead in leads] == [1, 1, 1, *[0] * 9]
        assert leads[0].at >= leads[-1].at


async def test_nothing_is_shown_where_nothing_is_to_be(tmp_path: Path) -> None:
    bench = Bench(tmp_path, on_screen="nothing")
    async with bench.open() as driver:
        await bench.station.take(read_of("EVDK042"))
        assert driver.leads() == []
        assert driver.hits.pending()
