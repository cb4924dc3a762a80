"""A DEMS that dies, lies, stalls, answers twice or lives in another year: what is held stays held until it is proven.

While it is out of order the daemon runs, and is looked at: no device forgets anything but on a receipt that is true.
Then it is in order again, and everything arrives once.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from agent.capture import Standing
from agent.testing.dems import DemsProcess, EmulatedDems
from agent.testing.dems.certificates import make_certificates
from agent.testing.devices import some_bytes
from tests.faults.form import LONG, SEED, form, time_is_over, why
from tests.faults.renegotiating import Renegotiating
from tests.faults.report import reached
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.rig import Nursery

LYING = [
    f"receipt:{twist}"
    for twist in ("wrong-digest", "wrong-length", "wrong-signature", "other-capture", "other-log", "none")
]
STORMS = [f"*:*:{status}" for status in (400, 401, 403, 404, 409, 410, 413, 423, 429, 460, 500, 502, 503, 504)]
WIRES = ["PATCH:*:cut@70000", "PATCH:*:stall@1000:for=1", "*:*:delay=3", "*:*:drop", "*:*:drop-answer"]
LIES = ["*:*:offset=-100", "*:*:offset=+100", "PATCH:*:expire", "PATCH:*:corrupt@5"]
FAULTS = [*LYING, *STORMS, *WIRES, *LIES]
SHORT = ["receipt:wrong-digest", "receipt:wrong-signature", "*:*:503", "*:*:drop-answer", "PATCH:*:corrupt@5"]
NEVER_TRUE = {*LYING, *STORMS}
"""Under these nothing is proven, and nothing may go."""
WHILE = form(1, 2)
"""Seconds that a fault lasts."""


def recorded(rig: Rig) -> None:
    for number in range(2):
        rig.camera.record(some_bytes(3000, number))
    rig.camera.record(some_bytes(600_000, 3))


async def until_held(rig: Rig, count: int, within: float = 60.0) -> None:
    async with asyncio.timeout(within):
        while not rig.daemon.words.exists() or rig.daemon.words.read_text().count(" held ") < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def way(straight: bool) -> str:  # noqa: FBT001 - pytest's own signature
    return "thread" if straight else "loop"


@pytest.mark.parametrize("straight", [True, False] if LONG else [True], ids=way)
@pytest.mark.parametrize("fault", FAULTS if LONG else SHORT)
async def test_what_is_held_stays_held_until_it_is_proven(
    tmp_path: Path, quick: Nursery, fault: str, *, straight: bool
) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, quick, dems, straight=straight)
        recorded(rig)
        await dems.add_fault(fault)
        pid = await rig.start()
        await until_held(rig, 3)
        await asyncio.sleep(WHILE)
        code = await quick.end(pid, signal.SIGTERM)
        wrong = [] if code == 0 else [f"it ended with {code}"]
        wrong += [one for one in await rig.wrong() if "the DEMS" not in one or "does not have it" in one]
        if fault in NEVER_TRUE and len(list(rig.camera.still())) != 3:
            wrong.append("a device forgot what nothing proves")
        await dems.clear_faults()
        wrong += await arrived(rig, quick, fault)
        tell("faults of the DEMS, one each", wrong, fault)


async def arrived(rig: Rig, quick: Nursery, fault: str) -> list[str]:
    """What is wrong after the DEMS is in order again. What it refused, or lied about, a person sends again."""
    book = await rig.book()
    aside = [h.id for h in book.holdings.values() if h.standing in (Standing.REFUSED, Standing.QUARANTINED)]
    if aside:
        await rig.retry(aside)
    # A DEMS that lost or bent what it had stored is told so; its own complaints are not ours.
    if fault.startswith("PATCH:*:corrupt"):
        return [one for one in await rig.drained() if "violation" not in one.lower()]
    return await rig.drained()


def tell(what: str, wrong: list[str], seed: object = SEED, *, asked: int = 1, done: int = 1) -> None:
    reached(8, what, asked=asked, reached=done, violations=1 if wrong else 0, seed=str(seed), detail=why(asked, done))
    assert not wrong, "\n".join(wrong)


async def test_killed_again_and_again_in_mid_upload(tmp_path: Path, quick: Nursery) -> None:
    chance, kills, done = Random(SEED), form(2, 20), 0
    async with DemsProcess(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, quick, dems)
        for number in range(3):
            rig.camera.record(some_bytes(3_000_000, number))
        await dems.add_fault("PATCH:*:delay=0.05")
        pid = await rig.start()
        await until_held(rig, 1)
        for _ in range(kills):
            if time_is_over():
                break
            await asyncio.sleep(chance.uniform(0.05, 0.5))
            dems.kill()
            await dems.restart()
            await dems.add_fault("PATCH:*:delay=0.05")
            done += 1
        await quick.end(pid, signal.SIGTERM)
        await dems.clear_faults()
        tell("the DEMS killed and started again", await rig.wrong() or await rig.drained(), asked=kills, done=done)


async def test_restarted_with_nothing_of_what_it_was_sent(tmp_path: Path, quick: Nursery) -> None:
    """Only its keys are left: every upload under way begins anew, and the upload's URL leads to nothing."""
    async with DemsProcess(tmp_path / "dems") as dems:
        rig = Rig(tmp_path, quick, dems)
        rig.camera.record(some_bytes(2_000_000))
        await dems.add_fault("PATCH:*:delay=0.1", "receipt:none")
        pid = await rig.start()
        async with asyncio.timeout(60):
            while not any(entry.offset for entry in await dems.index()):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        dems.kill()
        await dems.stop()
        for path in dems.options.folder.iterdir():
            if path.is_dir() and path.name != "tls":
                shutil.rmtree(path)
            elif not path.name.endswith(".key"):
                path.unlink(missing_ok=True)
        await dems.start()
        await asyncio.sleep(WHILE)
        await quick.end(pid, signal.SIGTERM)
        tell("the DEMS restarted empty", await rig.wrong() or await rig.drained())


@pytest.mark.slow
async def test_the_certificate_of_another_authority_gets_no_byte(tmp_path: Path, quick: Nursery) -> None:
    async with DemsProcess(tmp_path / "dems", tls=True) as dems:
        rig = Rig(tmp_path, quick, dems, uplink={"ca_file": str(dems.ca_file)})
        recorded(rig)
        pid = await rig.start()
        await until_held(rig, 1)
        await dems.stop()
        ours, theirs = dems.options.folder / "tls", tmp_path / "other" / "tls"
        shutil.copytree(ours, tmp_path / "kept")
        async with DemsProcess(tmp_path / "other", tls=True):
            pass  # somebody else's certificates are made
        trusted = (ours / "ca.pem").read_bytes()
        for name in ("server.pem", "server.key"):
            shutil.copy(theirs / name, ours / name)
        await dems.start()
        for number in range(2):
            rig.camera.record(some_bytes(3000, 10 + number))
        await asyncio.sleep(WHILE)
        code = await quick.end(pid, signal.SIGTERM)
        wrong = [] if code == 0 else [f"it ended with {code}"]
        wrong += [] if len(list(rig.camera.still())) >= 2 else ["a device forgot what nobody we trust has"]
        await dems.stop()
        for name in ("server.pem", "server.key"):
            shutil.copy(tmp_path / "kept" / name, ours / name)
        assert (ours / "ca.pem").read_bytes() == trusted
        await dems.start()
        tell(
            "TLS: another authority's certificate, then the right one",
            wrong or await rig.wrong() or await rig.drained(),
        )


@pytest.mark.parametrize("straight", [True, False], ids=way)
async def test_a_new_handshake_in_mid_upload_costs_nothing(tmp_path: Path, quick: Nursery, *, straight: bool) -> None:
    certificates = make_certificates(tmp_path / "tls", "127.0.0.1")
    async with EmulatedDems(tmp_path / "dems") as dems:
        port, path = urlsplit(dems.url).port or 0, urlsplit(dems.url).path
        with Renegotiating(certificates, port, every=100_000) as wire:
            there = {"url": f"https://127.0.0.1:{wire.port}{path}", "ca_file": str(certificates.ca_file)}
            rig = Rig(tmp_path, quick, dems, uplink=there, straight=straight)
            recorded(rig)
            wrong = await rig.drained()
        wrong += [] if wire.handshakes else ["there was no new handshake"]
        tell("TLS renegotiated in mid-upload", wrong, f"{wire.handshakes} handshakes")


@pytest.mark.parametrize("years", [-30, -1, 1, 10] if LONG else [-1])
async def test_a_dems_whose_clock_is_years_off(tmp_path: Path, quick: Nursery, years: int) -> None:
    """What it says that it stored before it was held proves nothing: both keep it, and a person is told."""
    off = [years * 365.25 * 86400]
    async with EmulatedDems(tmp_path / "dems", clock=lambda: time.time() + off[0]) as dems:
        rig = Rig(tmp_path, quick, dems)
        recorded(rig)
        pid = await rig.start()
        await until_held(rig, 3)
        await asyncio.sleep(WHILE)
        code = await quick.end(pid, signal.SIGTERM)
        wrong = [] if code == 0 else [f"it ended with {code}"]
        wrong += await rig.wrong()
        if years < 0 and len(list(rig.camera.still())) != 3:
            wrong.append("a device forgot on a receipt from before the capture")
        if years < 0:
            standings = {one.standing for one in (await rig.book()).holdings.values()}
            wrong += [] if standings <= {Standing.HELD, Standing.QUARANTINED} else [f"it stands {standings}"]
        off[0] = 0
        tell(
            "the clock of the DEMS is years off", wrong or (await rig.drained() if years > 0 else []), f"{years} years"
        )
