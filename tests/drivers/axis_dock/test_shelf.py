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


NAME = "20261122_101612_8D08.mkv"


async def sent_after_each_loss(desk: Desk, *films: bytes) -> dict[str, bytes]:
    """Each is sent twice under one name, with a shelf that is lost before the next; what is held of it, by key."""
    for data in films:
        async with desk.open(), desk.controller() as controller:
            await controller.send(recording(clips=[(NAME, data)]))
            await controller.send(recording(clips=[(NAME, data)]))
        (desk.folder / "axis" / "shelf.db").unlink()
    held = await desk.held()
    assert len(held) == len(await desk.station.holdings()), "one key is held with two contents"
    return {key.rpartition("/")[2]: desk.bytes_of(one) for key, one in held.items() if "description" not in key}


@pytest.mark.slow
@pytest.mark.parametrize("other", [some_bytes(70_000, 3), some_bytes(60_000, 3)], ids=["as long", "shorter"])
async def test_a_lost_shelf_is_no_reason_to_hold_anything_twice(desk: Desk, other: bytes) -> None:
    """The agent is asked what it was given under this name: the bytes tell which of it comes again."""
    first = some_bytes(70_000, 2)
    found = await sent_after_each_loss(desk, first, first, other, first, other, first)
    assert found.keys() == {NAME, f"{NAME};2"}
    same_bytes(found[NAME], first)
    same_bytes(found[f"{NAME};2"], other)
    (one, two) = (await desk.description())["objects"]
    assert [one["key"], two["key"]] == [f"{recording().container}/{NAME}", f"{recording().container}/{NAME};2"]
    assert [one["length"], two["length"]] == [len(first), len(other)]


async def test_what_came_before_what_came_last_is_known_by_its_bytes(desk: Desk) -> None:
    """With the shelf as it was: of one name each content is held once, in whatever order they come again."""
    films = [some_bytes(length, length) for length in (70_000, 60_000, 70_000, 60_001)]
    async with desk.open(), desk.controller() as controller:
        for data in (*films, *films):
            await controller.send(recording(clips=[(NAME, data)]))
    assert len([key for key in await desk.held() if "description" not in key]) == len(set(films))


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
