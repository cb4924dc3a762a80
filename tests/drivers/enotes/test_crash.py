"""The daemon is killed at each step between a tablet's bytes and its answer: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest

from agent.testing.devices import some_bytes
from agent.testing.process import DaemonProcess, read_state
from drivers.enotes import EnoteTablets
from drivers.enotes.emulator import Tablet
from drivers.enotes.emulator.tablet import Torn
from tests.drivers.enotes.rig import scanned, table

KILLED = """
import asyncio, os, pathlib, signal, sys
config, mark, place = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
from agent.config import load
from agent.daemon import Agent
import drivers.enotes.receiving, drivers.enotes.attachments
kind, name = {
    "held, not noted": (drivers.enotes.receiving.Receiving, "_note"),
    "noted, not answered": (drivers.enotes.receiving.Receiving, "_receipt"),
    "judged, not held": (drivers.enotes.receiving.Receiving, "_take"),
    "attachment held, not noted": (drivers.enotes.attachments.Attachments, "_held"),
}[place]
whole = getattr(kind, name)
def once(*arguments):
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments)
setattr(kind, name, once)
asyncio.run(Agent(load(config)).run())
"""


LONG = os.environ.get("EVIDOCK_ENOTES_LONG")
PLACES = ["held, not noted"]
if LONG:
    PLACES += ["judged, not held", "noted, not answered", "attachment held, not noted"]


@pytest.mark.parametrize("place", PLACES)
async def test_killed_between_held_and_answered(tmp_path: Path, place: str) -> None:
    made, mark = table(tmp_path), tmp_path / "killed"
    invitation = scanned(EnoteTablets.enrol(EnoteTablets.Options.model_validate(made)))
    command = (sys.executable, "-c", KILLED, "{config}", str(mark), place)
    async with (
        DaemonProcess(tmp_path / "dock", drivers=[made], command=command) as daemon,
        Tablet(tmp_path / "tablet") as tablet,
    ):
        await daemon.ready()
        await _sure(tablet.enrol, invitation)
        note = tablet.notebook.create("text")
        for number in range(20):
            tablet.notebook.append(note, f" {number}")
        tablet.notebook.attach(note, ("photo.jpg", some_bytes(3 << 20, "photo")))
        sending = asyncio.create_task(tablet.sync(patience=60))
        await daemon.wait()
        assert mark.exists()
        await daemon.start()
        await sending
        await daemon.stop()
        await daemon.verify([])
    book = await asyncio.to_thread(read_state, daemon.state)
    assert book is not None
    assert len(book.holdings) == 23
    held = Counter(holding.digest.sha256.hex() for holding in book.holdings.values())
    assert set(held.values()) == {1}, "something was doubled"
    db = sqlite3.connect(tmp_path / "enotes" / "enotes.db")
    rows = db.execute("SELECT status, count(*), count(DISTINCT seq) FROM envelope GROUP BY status").fetchall()
    db.close()
    assert rows == [("ok", 22, 22)]
    assert tablet.notebook.outbox == []


async def _sure(act: object, *arguments: object) -> None:
    """The listener stands a moment after the daemon is ready."""
    async with asyncio.timeout(20):
        while True:
            try:
                await act(*arguments)
            except (Torn, OSError):
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.skipif(not LONG, reason="EVIDOCK_ENOTES_LONG is not set (make enotes)")
async def test_months_offline_in_bounded_memory(tmp_path: Path) -> None:
    """Ten tablets with 1000 entries each, one of them without its first entry until all others are there."""
    made = table(tmp_path)
    settings = EnoteTablets.Options.model_validate(made)
    first = EnoteTablets.enrol(settings)
    async with DaemonProcess(tmp_path / "dock", drivers=[made]) as daemon:
        await daemon.ready()
        tablets = []
        for number in range(10):
            tablet = Tablet(tmp_path / f"tablet-{number}", name=f"TAB-{number}", badge=str(number))
            await _sure(tablet.enrol, scanned(first if number == 0 else EnoteTablets.enrol(settings)))
            for at in range(500):
                note = tablet.notebook.create(f"note {at} " + "of some length " * 20)
                tablet.notebook.finalize(note)
            tablets.append(tablet)
        late = tablets[0].notebook.outbox.pop(0)
        before = _resident(daemon.pid or 0)
        await asyncio.gather(*(tablet.sync(patience=1200) for tablet in tablets))
        tablets[0].notebook.outbox.append(late)
        await tablets[0].sync(patience=60)
        grown = _resident(daemon.pid or 0) - before
        for tablet in tablets:
            await tablet.hang_up()
        await daemon.stop()
        await daemon.verify([])
    db = sqlite3.connect(tmp_path / "enotes" / "enotes.db")
    rows = db.execute("SELECT status, count(*) FROM envelope GROUP BY status").fetchall()
    db.close()
    assert rows == [("ok", 10_000)]
    assert grown < 100_000_000, f"{grown / 1e6:.0f} MB more are resident"


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(one for one in lines if one.startswith("VmHWM")).split()[1]) * 1024
