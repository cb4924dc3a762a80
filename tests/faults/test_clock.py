"""Clocks that jump by years, begin in 1970, repeat a second or change their zone: order and proofs hold.

The daemon is the real one; its wall clock is bent by `evidock_clock.c` while it runs, as when somebody sets it, and the
DEMS keeps the true time. Order is that of the log and of the clock that nobody sets; a receipt is believed for what it
names.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest

from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from tests.faults.form import LONG
from tests.faults.hands import Hands, entries, out_of_order
from tests.faults.report import reached
from tests.faults.rig import Nursery, Rig
from tests.faults.shim import compiled

if TYPE_CHECKING:
    from pathlib import Path

YEAR = 365.25 * 86400
WEEKS = 1024 * 7 * 86400
FROM_1970 = -time.time() + 5
JUMPS = {
    "ten years ahead and back": (0, 10 * YEAR, 0),
    "thirty years back and forth": (0, -30 * YEAR, 0),
    "no clock at boot, then set right": (FROM_1970, 0),
    "a leap second: the second comes twice": (0, -1, -1),
    "the week number of GPS rolls over": (0, -WEEKS, 0, WEEKS, 0),
    "born in the future, then set right": (20 * YEAR, 0),
}
SHORT = ("no clock at boot, then set right", "ten years ahead and back")
ZONES = ("UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/Berlin", "right/Europe/Berlin")


async def lives(tmp_path: Path, nursery: Nursery, hands: Hands, offsets: tuple[float, ...]) -> list[str]:
    """Run; set the clock while it runs, with a recording after each; end, and let it drain in the last time."""
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, nursery, dems)
        await rig.daemon.install()
        hands.set(offsets[0])
        pid = await rig.start()
        for number, offset in enumerate(offsets):
            hands.set(offset)
            rig.camera.record(some_bytes(2000, number))
            async with asyncio.timeout(60):
                while not rig.daemon.words.exists() or rig.daemon.words.read_text().count(" held ") <= number:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        code = await nursery.end(pid, signal.SIGTERM)
        wrong = [] if code == 0 else [f"it ended with {code}: {rig.daemon.words.read_text()[-2000:]}"]
        wrong += await rig.wrong()
        told = entries(rig.daemon.state, tmp_path / "copy")
        wrong += out_of_order(told)
        years = {int(str(entry["recorded_at"])[:4]) for entry in told}
        meant = {time.gmtime(time.time() + offset).tm_year for offset in offsets}
        assert years >= meant, "the clock was not bent as it was meant to be"
        if not wrong and offsets[-1] == 0:
            book = await rig.book()
            aside = [one.id for one in book.holdings.values() if one.standing.value == "quarantined"]
            await rig.retry(aside)
            wrong = await rig.drained()
        return wrong


@pytest.mark.parametrize("jump", JUMPS if LONG else SHORT)
async def test_the_clock_is_set_while_it_runs(
    tmp_path: Path, jump: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library, hands = compiled("evidock_clock", tmp_path_factory.mktemp("clock")), Hands(tmp_path)
    nursery = Nursery(LD_PRELOAD=str(library), EVIDOCK_CLOCK=str(hands.path), EVIDOCK_FORKED="1")
    try:
        wrong = await lives(tmp_path, nursery, hands, JUMPS[jump])
    finally:
        nursery.close()
    reached(9, jump, asked=len(JUMPS[jump]), reached=len(JUMPS[jump]), violations=len(wrong[:1]))
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not LONG, reason="in the long form only")
async def test_a_zone_is_no_matter(tmp_path: Path) -> None:
    """One station, started in one zone after another: entries are in UTC, whatever the zone."""
    wrong: list[str] = []
    async with EmulatedDems(tmp_path / "dems") as dems:
        for number, zone in enumerate(ZONES):
            nursery = Nursery(TZ=zone, EVIDOCK_FORKED="1")
            if number == 0:
                rig = Rig(tmp_path, nursery, dems)
            rig.nursery = nursery
            rig.camera.record(some_bytes(2000, number))
            wrong += await rig.drained()
            nursery.close()
        wrong += out_of_order(entries(rig.daemon.state, tmp_path / "copy"))
    reached(9, "another time zone at each start", asked=len(ZONES), reached=len(ZONES), violations=len(wrong[:1]))
    assert not wrong, "\n".join(wrong)
