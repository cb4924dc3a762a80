"""Senders and cameras of other authors, run by hand: EVIDOCK_ALPR_PEERS names a folder that holds what they are called.

    webhook_tester.py      parkpow/deep-license-plate-recognition, webhooks/webhook_tester (MIT): sends as Stream does
    mock-anpr-server.js    Supergiovane/node-red-contrib-hikvision-ultimate, tools (MIT): answers as a camera's list

Neither is in a package registry, so `make test` has their messages as vectors, and not the programs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from agent.testing.ports import free_port
from agent.testing.probe import Probe, read_all
from agent.testing.rig import until
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.rig import SECRET, options
from tests.drivers.alpr.test_gaps import told

PEERS = os.environ.get("EVIDOCK_ALPR_PEERS", "")
SEND = """
import io, sys
sys.path.insert(0, sys.argv[1])
from webhook_tester import WebhookTester
tester = WebhookTester(url=sys.argv[2], token=sys.argv[3], plate="evdk042", region_code="ca-on")
tester.get_files_payload = lambda: {"upload": ("image.jpg", io.BytesIO(b"\\xff\\xd8\\xff\\xe0 noise \\xff\\xd9"))}
tester.execute()  # its picture would come from the Internet
"""


def peer(name: str) -> Path:
    path = Path(PEERS) / name
    if not PEERS or not path.is_file():
        pytest.skip(f"{name} is not here: EVIDOCK_ALPR_PEERS names the folder where it lies")
    return path


async def test_the_sender_of_plate_recognizers_makers_is_answered_and_heard(tmp_path: Path) -> None:
    folder, probe = peer("webhook_tester.py").parent, Probe()
    config = options(tmp_path, "platerecognizer", camera={"auth": "token"})
    async with received(config, probe):
        url = f"http://127.0.0.1:{config.listen.port}/alpr/platerecognizer/front"
        words = (sys.executable, "-c", SEND, str(folder), url, SECRET)
        process = await asyncio.create_subprocess_exec(*words, stdout=-1, stderr=-2)
        said, _ = await process.communicate()
        assert b"successfully received" in said, said.decode()
    (offer,) = probe.offered
    read = offer.read  # type: ignore[attr-defined]
    assert (read.plate.number, read.plate.region, read.vehicle.type) == ("evdk042", "CA-ON", "Car")
    assert b"\xff\xd8\xff\xe0 noise" in await read_all(offer, 0)


async def test_the_camera_of_another_author_is_asked_for_its_list(tmp_path: Path) -> None:
    script, node = peer("mock-anpr-server.js"), shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    port, probe = free_port(), Probe()
    process = await asyncio.create_subprocess_exec(
        node, str(script), env={**os.environ, "MOCK_ANPR_PORT": str(port)}, stdout=-1, stderr=-2
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        async with received(told(tmp_path, port), probe):
            await until(lambda: len(probe.offered) >= 20)
    finally:
        process.kill()
        await process.wait()
    found = [offer.read.plate.number for offer in probe.offered]  # type: ignore[attr-defined]
    assert found[:3] == ["AAA100", "BHN101", "COA102"], "in the order of their names, whatever the order of its list"
    keys = [offer.capture.key for offer in probe.offered]
    assert len(set(keys)) == len(keys), "each once"
