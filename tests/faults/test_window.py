"""Killed between a deletion that lasts and its entry: the device offers it no more, and it is released all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from tests.faults.nursery import WINDOW
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.rig import Nursery


async def test_a_deletion_whose_entry_was_cut_off_is_inferred_from_the_next_whole_look(
    tmp_path: Path, nursery: Nursery
) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, nursery, dems)
        for number in range(3):
            rig.camera.record(some_bytes(5000, number))
        assert await nursery.end(await rig.start(WINDOW), None) == -9, rig.daemon.words.read_text()[-3000:]
        assert len(list(rig.camera.still())) < 3
        assert not await rig.wrong()
        book = await rig.book()
        cut = [one.id for one in book.holdings.values() if book.stories[one.id].events[-1] == "release.intended"]
        assert {book.holdings[id_].standing for id_ in cut} == {Standing.RECEIPTED}
        # Killed once more, while the inference is written.
        assert await nursery.end(await rig.start(WINDOW), None) == -9
        assert not await rig.wrong()
        await rig.drain()
        stories = (await rig.book()).stories
        assert all("released" in stories[id_].events for id_ in cut)
        assert "release_inferred" in rig.daemon.words.read_text()
