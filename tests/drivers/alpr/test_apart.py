"""A device that tells neither times nor ids: what it saw today is not what it saw last week."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from agent.testing.rig import WantsAll
from agent.testing.station import Station
from drivers.alpr.emulator import Sent
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.rig import options, sender

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("mapping", "told", "count"),
    [
        ({}, {}, 2),
        ({"captured_at": "$.at", "captured_format": "%Y"}, {"at": "22.11.2026 07:41"}, 2),
        ({"captured_at": "$.at"}, {"at": "2026-11-22T07:41:03"}, 1),
        ({"event": "$.id"}, {"id": "7"}, 1),
    ],
)
async def test_two_messages_that_are_the_same_byte_for_byte(
    tmp_path: Path, mapping: dict[str, Any], told: dict[str, str], count: int
) -> None:
    body = json.dumps({"plate": "EVDK042", **told}).encode()
    config = options(tmp_path, "generic", camera={"mapping": {"encoding": "json", "plate": "$.plate", **mapping}})
    async with Station(tmp_path / "station", screens=[WantsAll("alpr")]) as station:
        async with received(config, station):
            for _ in range(2):
                assert await sender(config).once(Sent("application/json", body)) == 200
        holdings = await station.holdings()
        assert len(holdings) == count
        assert not any("EVDK042" in one.origin.key for one in holdings)
        await station.verify()
