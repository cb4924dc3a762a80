"""A shift of a dispatch system and of a call-taking position that make every mistake: in the end all is right."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.joining import assign
from drivers.dispatch.cad import Cad
from drivers.dispatch.emulator import Dispatch, Position
from drivers.dispatch.ng911 import Ng911
from tests.context.conftest import WORN, seconds
from tests.drivers.dispatch.conftest import TOKEN, Joined, running, until
from tests.drivers.dispatch.test_cad import listening
from tests.drivers.dispatch.test_cad import options as cad_options
from tests.drivers.dispatch.test_ng911 import options

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("faults", ["......", "tbclt.", "llllll", "cccccc", "btbtbt"])
async def test_a_shift_of_a_dispatch_system(station: Joined, token_file: Path, faults: str) -> None:
    rig = station.rig
    asked = {"device": WORN.id, "unit": "B12", "from": "2026-11-22T00:00:00Z", "new": True}
    await rig.desk.write(lambda journal: assign(journal, rig.joining.options, asked, actor="anna", why="shift"))
    for number in range(4):
        await rig.hold(f"film-{number}", number * 1000 + 300, device=WORN)
    driver = Cad(cad_options(**listening(token_file)))
    async with running(driver, station):
        await until(lambda: driver.bound)
        dispatch = Dispatch(f"{driver.bound.url}/incidents", TOKEN, faults)  # type: ignore[union-attr]
        wrong = await dispatch.tell("B12", "2026-1", seconds(200))  # still going on
        await dispatch.tell("B12", "2026-1", seconds(200), seconds(600), id=wrong)
        await dispatch.tell("B12", "2026-2", seconds(1200), seconds(1600), category="traffic stop")
        moved = await dispatch.tell("B12", "2026-3", seconds(2200), seconds(2600))
        await dispatch.tell("B12", "2026-3", seconds(3200), seconds(3600), id=moved)
        await dispatch.tell("B99", "2026-4", seconds(200), seconds(3600))  # nobody of ours
        await dispatch.settle()
    await rig.settled()
    assert [await rig.found(incident=f"2026-{number}") for number in (1, 2, 3, 4)] == [
        ["film-0"], ["film-1"], ["film-3"], [],
    ]  # fmt: skip
    assert (await rig.verified()).problems == []


async def test_a_position_that_writes_slowly_and_twice(station: Joined, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    position = Position(drop, faults=".srs")
    async with running(Ng911(options(folder={"path": drop})), station):
        last = {}
        for number in range(4):
            urns = [f"urn:emergency:uid:{kind}:{number:010d}:psap.example" for kind in ("incidentid", "callid")]
            content = await asyncio.to_thread(position.drop, *urns, seconds(number))
            last[f"call-{number:06d}.json"] = content
        await until(lambda: {capture.key: content for capture, content in station.taken} == last)
    for number in range(4):
        found = await station.rig.found(incident=f"urn:emergency:uid:incidentid:{number:010d}:psap.example")
        assert f"call-{number:06d}.json" in found
