"""The whole way in a real daemon: a camera, a dispatch system, a receiver of positions, an emulated DEMS."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

from agent.clock import Clock
from agent.joining.announcing import MEDIA_TYPE
from agent.journal import Journal, contexts, queries
from agent.testing.cameras import CameraFolder
from agent.testing.devices import some_bytes
from agent.testing.process import LOG, DaemonProcess, tus

if TYPE_CHECKING:
    from pathlib import Path

    from agent.testing.dems import EmulatedDems
    from agent.testing.dems.core import Entry

RECORDED_AT = 1_700_000_000.0  # 2023-11-14T22:13:20Z
INCIDENT = {"incident": "2023-117", "device": "cam-1", "from": "2023-11-14T22:00:00Z", "until": "2023-11-14T23:00:00Z"}


def told(state: Path) -> dict[str, Any]:
    """What the journal of a daemon that does not run says of its one camera capture."""
    journal = Journal.open(state / "journal.db", log=LOG, stamp=Clock().stamp)
    try:
        (found,) = queries.listing(journal, queries.Search(device="cam-1"))
        named = [one.id for one in queries.listing(journal, queries.Search(incident="2023-117"))]
        assert named == [found.id]
        return contexts.current(journal, found.id) or {}
    finally:
        journal.close()


def is_document(entry: Entry) -> bool:
    return base64.b64encode(MEDIA_TYPE.encode()).decode() in entry.metadata and entry.receipted


async def test_an_incident_reaches_the_capture_and_the_dems(tmp_path: Path, dems: EmulatedDems) -> None:
    camera, drop = CameraFolder(tmp_path / "camera"), tmp_path / "cad"
    drop.mkdir()
    camera.record(some_bytes(1000), recorded_at=RECORDED_AT)
    cad = {"use": "dispatch.cad", "name": "cad", "rescan": 0.05, "folder": {"path": drop}}
    uplink = tus(dems.url, dems.receipt_vkey)
    daemon = DaemonProcess(tmp_path / "station", drivers=[camera.driver(), cad], uplink=uplink)
    daemon.config.write_text(f'{daemon.config.read_text()}\n[context]\nsettle = "0 s"\n')
    async with daemon:
        await daemon.ready()
        (drop / "day.json").write_text(json.dumps([INCIDENT]))
        async with asyncio.timeout(60):
            while not any(is_document(one) for one in await dems.index()):  # noqa: ASYNC110 - of others
                await asyncio.sleep(0.1)
        assert await daemon.stop(within=20) == 0
        assert told(daemon.state)["incidents"][0]["incident"] == "2023-117"
    (document,) = [one for one in await dems.index() if is_document(one)]
    said = json.loads(dems.stored(document).read_bytes())
    assert said["captures"][0]["context"]["incidents"][0]["incident"] == "2023-117"
    assert await dems.violations() == []
