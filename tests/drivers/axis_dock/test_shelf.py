"""What the destination knows beside the journal: lost, damaged, and older than a night without the station."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.testing.devices import some_bytes
from agent.testing.probe import same_bytes
from tests.drivers.axis_dock.rig import recording

if TYPE_CHECKING:
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
