"""What the destination knows beside the journal: lost, damaged, and older than a night without the station."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from agent.testing.devices import some_bytes
from agent.testing.probe import same_bytes
from agent.testing.rig import until
from drivers.body_worn.axis_dock.shelf import Container, Shelf, Thing
from tests.drivers.axis_dock.rig import recording

if TYPE_CHECKING:
    from pathlib import Path

    from tests.drivers.axis_dock.conftest import Desk


async def test_a_lost_shelf_loses_no_bytes(desk: Desk) -> None:
    """Nothing tells any more what the journal's object was: what comes under its name is kept beside it."""
    sent, name = recording(clips=[]), "20261122_101612_8D08.mkv"
    first, other = some_bytes(70_000, 2), some_bytes(70_000, 3)
    for data in (first, other, first):
        async with desk.open(), desk.controller() as controller:
            await controller.send(recording(clips=[(name, data)]))
            await controller.send(recording(clips=[(name, data)]))
        (desk.folder / "axis" / "shelf.db").unlink()
    held = await desk.held()
    for version, data in (("", first), (";2", other), (";3", first)):
        same_bytes(desk.bytes_of(held[f"{sent.container}/{name}{version}"]), data)
    assert len([key for key in held if "description" not in key]) == 3
    (about,) = (await desk.description())["objects"]
    assert about["key"].endswith(";3")


@pytest.mark.parametrize("desk", [{"more": {"abandoned": 3600.0}}], indirect=True)
async def test_time_in_which_nobody_listened_abandons_nothing(desk: Desk) -> None:
    """The station was off for days, or its clock was set: the controller had no way to go on."""
    sent = recording(complete=False)
    async with desk.open(), desk.controller() as controller:
        await controller.send(sent)
    with closing(sqlite3.connect(desk.folder / "axis" / "shelf.db")) as db, db:
        db.execute("UPDATE container SET heard_at = heard_at - 864000")
    async with desk.open() as driver, desk.controller() as controller:
        await until(lambda: driver._health.get("recordings under way") == "1")
        await controller.say("POST", sent.container, {"Status": "Complete"})
    assert (await desk.description())["state"] == "complete"
    assert not desk.station.observed


async def test_silence_is_counted_over_restarts_and_ends_with_each_word(tmp_path: Path) -> None:
    """A station that is never on for six hours tells it too."""
    for _ in range(3):
        shelf = Shelf(tmp_path)
        await shelf.open()
        if await shelf.container("recording") is None:
            for name in ("recording", "other", "System"):
                await shelf.put_container(Container(name, "axis:1"))
        await shelf.listened(4.0)
        await shelf.close()
    await shelf.open()
    assert {one.name for one in await shelf.silent(12)} == {"recording", "other"}
    assert not await shelf.silent(13)
    await shelf.put_thing(Thing("recording", "clip"))
    await shelf.put_container(Container("other", "axis:1"))
    assert not await shelf.silent(0.1)
    await shelf.listened(1.0)
    assert [one.name for one in await shelf.silent(1, "recording")] == ["recording"]
    await shelf.close()
