"""The real daemon: it lets a camera forget under its witness's word, and never again after a rollback."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from agent.belief import install
from agent.cli.daemon import Daemon
from agent.config import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.testing.dems import EmulatedDems

TOML = """
[station]
name = "dock-1"
agency = "example.org"
state = "{folder}/state"

[spool]
watermark = "1 MiB"

[policy]
device = "release"
witness = "required"

[custody]
interval = "50 ms"

[[custody.witness]]
vkey = "{dems.witness_vkey}"
url = "{dems.witness_url}"

[[driver]]
use = "body_worn.usb_volume"
name = "bay-1"
mount = "{folder}/bay"
must_be_mountpoint = false
device = {{ id = "usb:test:1" }}
rescan = 0.1
settle = 0

[[uplink]]
use = "tus"
name = "dems"
url = "{dems.url}"
receipt_keys = ["{dems.receipt_vkey}"]
"""


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Daemon]:
    config = load(folder / "agent.toml")
    if not config.trust.exists():
        install(config)
    words = (sys.executable, "-m", "agent.cli", "--config", str(folder / "agent.toml"), "run")
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
    try:
        asked = Daemon(folder / "state" / "control.sock")
        await until(asked.answers)
        yield asked
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0, (folder / "log").read_text()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def standings(asked: Daemon) -> list[Any]:
    return [one["standing"] for one in asked.captures()["captures"]]


@pytest.mark.slow
async def test_a_camera_forgets_under_the_witnesss_word_and_never_after_a_rollback(
    tmp_path: Path, dems: EmulatedDems
) -> None:
    # A Unix socket's path is short, pytest's are long.
    (tmp_path / "agent.toml").write_text(TOML.format(folder=tmp_path, dems=dems))
    clips = tmp_path / "bay" / "DCIM" / "100EVDCK"
    clips.mkdir(parents=True)
    (clips / "CLIP0001.MP4").write_bytes(b"one" * 1000)
    async with daemon(tmp_path):
        await until(lambda: not (clips / "CLIP0001.MP4").exists())
    shutil.copytree(tmp_path / "state", tmp_path / "backup")
    (clips / "CLIP0002.MP4").write_bytes(b"two" * 1000)
    async with daemon(tmp_path) as asked:
        await until(lambda: not (clips / "CLIP0002.MP4").exists())
        around = asked.capture(asked.captures()["captures"][0]["id"])["capture"]["witnessed"]
        assert around["after"]["at"] <= around["before"]["at"]
        assert [bound["by"] for bound in around.values()] == ["witnesses"] * 2

    shutil.rmtree(tmp_path / "state")
    shutil.copytree(tmp_path / "backup", tmp_path / "state")
    (clips / "CLIP0003.MP4").write_bytes(b"three" * 1000)
    for _ in range(2):  # the alarm outlives a restart
        async with daemon(tmp_path) as asked:
            await until(lambda: any(one["state"] == "problem" for one in asked.status()["problems"]))
            await until(lambda: standings(asked)[:1] == ["receipted"])  # taken and sent all the same
            await asyncio.sleep(1.0)
            assert standings(asked)[:1] == ["receipted"]
            assert (clips / "CLIP0003.MP4").exists()
    log = (tmp_path / "log").read_text()
    assert "history_contradicted" in log
    assert "PRIVATE" not in log
    assert await dems.violations() == []


async def test_a_witness_that_is_away_is_told_with_what_waits_for_it(tmp_path: Path, dems: EmulatedDems) -> None:
    text = TOML.format(folder=tmp_path, dems=dems).replace(f'url = "{dems.witness_url}"', 'url = "http://127.0.0.1:9"')
    (tmp_path / "agent.toml").write_text(text)
    clips = tmp_path / "bay" / "DCIM" / "100EVDCK"
    clips.mkdir(parents=True)
    (clips / "CLIP0001.MP4").write_bytes(b"one" * 1000)
    async with daemon(tmp_path) as asked:
        await until(lambda: standings(asked) == ["receipted"])
        await until(lambda: any(one["what"] == "witness" for one in asked.status()["problems"]))
        assert asked.status()["checkpoint"]["log_vkey"].startswith("edge.example.org/dock-1/log1+")
        assert (clips / "CLIP0001.MP4").exists()
