"""`evidock drill` on a real daemon: what it proves with each kind of DEMS, its entry in the journal, what it leaves."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.belief import install
from agent.cli.daemon import Daemon
from agent.config import load
from agent.errors import Refusal, UplinkDown
from agent.testing.dems import EmulatedDems

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TOML = """
[station]
name = "dock-1"
agency = "example.org"
state = "{folder}/state"
socket = "{folder}/s"

[spool]
watermark = "1 MiB"

[policy]
device = "{device}"
receipt = "{receipt}"

[[uplink]]
use = "tus"
name = "dems"
url = "{url}"
receipt_keys = [{keys}]
receipt_wait = 5.0
"""


@asynccontextmanager
async def station(folder: Path, dems: EmulatedDems, *, device: str = "release") -> AsyncIterator[Daemon]:
    signs = bool(dems.receipt_vkey)
    text = TOML.format(
        folder=folder,
        device=device,
        receipt="signed" if signs else "digest",
        url=dems.url,
        keys=f'"{dems.receipt_vkey}"' if signs else "",
    )
    (folder / "agent.toml").write_text(text)
    if device == "release":
        install(load(folder / "agent.toml"))
    words = (sys.executable, "-m", "agent.cli", "--config", str(folder / "agent.toml"), "run")
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
    try:
        asked = Daemon(folder / "s")
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(asked.answers):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield asked
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0, (folder / "log").read_text()


async def evidock(folder: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent.cli", "--config", str(folder / "agent.toml"), *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def last(asked: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = asked.entries(limit=1)["entries"][0]["predicate"]
    return found


def steps(report: dict[str, Any]) -> dict[str, bool]:
    return {step["step"]: step["ok"] for step in report["steps"]}


async def test_it_goes_the_whole_way_and_comes_back_bit_for_bit(tmp_path: Path) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems, station(tmp_path, dems) as asked:
        code, out, _ = await evidock(tmp_path, "drill", "--length", "17 MiB", "--json")
        assert code == 0
        report = json.loads(out)
        assert (report["passed"], report["proven"], report["length"]) == (True, "bytes", 17 << 20)
        assert steps(report) == dict.fromkeys(("taken", "confirmed", "read back", "released", "tidied"), True)
        (entry,) = [one for one in await dems.index() if one.state == "stored"]
        assert (entry.capture, entry.sha256) == (report["capture"], report["sha256"])
        assert dems.stored(entry).read_bytes().startswith(b"This is a drill of the station dock-1")
        # It is an entry, by the person who made it.
        found = await asyncio.to_thread(last, asked)
        assert found["event"] == "drill.finished"
        assert found["drill"] == report
        assert found["actor"].startswith("user:")
        # It is in no list and no sum of evidence unless it is asked for, and leaves nothing here.
        assert asked.captures()["captures"] == []
        (listed,) = asked.captures(drills=True)["captures"]
        assert (listed["standing"], listed["drill"], listed["spooled"]) == ("purged", True, False)
        told = asked.status()
        assert not any(one["captures"] for one in told["tally"].values())
        assert asked.devices()["devices"] == []
        assert list((tmp_path / "state" / "spool" / "kept").iterdir()) == []
        assert list((tmp_path / "state" / "drill").iterdir()) == []
        assert asked.verify(lambda *_: None)["ok"]
        assert (await evidock(tmp_path, "journal", "export", "--sums"))[1] == ""
        assert report["sha256"] in (await evidock(tmp_path, "journal", "export", "--sums", "--drills"))[1]
        assert await dems.violations() == []
        shown = await evidock(tmp_path, "journal", "tail", "-n", "1")
        assert "the drill passed; proven: bytes" in shown[1]


async def test_what_a_dems_shows_decides_what_is_proven(tmp_path: Path) -> None:
    async with (
        EmulatedDems(tmp_path / "dems", drills=False) as dems,
        station(tmp_path, dems, device="keep") as asked,
    ):
        report = (await asyncio.to_thread(lambda: list(asked.drill(length=5000, patience=20))))[-1]
        assert report["report"]["proven"] == "receipt", "signed, and the digest computed anew is right"
        assert "403" in report["report"]["steps"][2]["detail"]
        assert "lets no device forget" in report["report"]["steps"][3]["detail"]
    for name, options, proven in (
        ("checks", {"receipts": False, "drills": False}, "digest"),
        ("plain", {"receipts": False, "checksums": False, "drills": False}, "length"),
        ("open", {"receipts": False, "checksums": False}, "bytes"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        async with EmulatedDems(folder / "dems", **options) as dems, station(folder, dems) as asked:  # type: ignore[arg-type]
            lines = await asyncio.to_thread(lambda one=asked: list(one.drill(length=5000, patience=6)))  # type: ignore[misc]
            assert lines[-1]["report"]["proven"] == proven, lines
            assert lines[-1]["report"]["passed"]


async def test_a_dems_that_stores_something_else_is_found_out(tmp_path: Path) -> None:
    """Its receipt is right, and what it gives back is not: one bit on its disk was turned over after it had signed."""
    async with EmulatedDems(tmp_path / "dems") as dems, station(tmp_path, dems):
        await dems.add_fault("GET:1:corrupt@4096")
        code, out, err = await evidock(tmp_path, "drill", "--length", "64 KiB")
        assert code == 1
        assert "differs from byte 4096 on" in out
        assert "administrator of the DEMS" in err


async def test_a_dems_that_does_not_answer(tmp_path: Path) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems:
        await dems.add_fault("*:*:503")
        async with station(tmp_path, dems) as asked:
            code, _, err = await evidock(tmp_path, "drill", "--patience", "1")
            assert code == UplinkDown.exit_code
            assert "evidock check" in err
            found = await asyncio.to_thread(last, asked)
            assert found["drill"]["passed"] is False
            assert found["drill"]["proven"] == "nothing"
            (listed,) = asked.captures(drills=True)["captures"]
            assert listed["standing"] == "held", "it is sent later all the same"


async def test_what_a_drill_cannot_be(tmp_path: Path) -> None:
    async with EmulatedDems(tmp_path / "dems") as dems:
        async with station(tmp_path, dems) as asked:
            for length in (0, 1, 1 << 40):
                with pytest.raises(Refusal):
                    list(asked.drill(length=length, patience=5))
            assert (await evidock(tmp_path, "drill", "--length", "much"))[0] == Refusal.exit_code
        code, _, err = await evidock(tmp_path, "drill")
        assert code == Refusal.exit_code
        assert "evidock run" in err
