"""What a driver has set aside lies among the parts, whole and with its reason."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from agent.testing.devices import BenchDevice, some_bytes
from tests.spine.test_recover import lying, reasons

if TYPE_CHECKING:
    from agent.testing.station import Station


@pytest.mark.parametrize("begun", [False, True])
async def test_what_a_driver_sets_aside_lies_there_whole_also_after_a_break(
    station: Station, bench: BenchDevice, *, begun: bool
) -> None:
    data = some_bytes(1000)
    bench.record("a", data)
    capture, expected = bench.offer("a").capture, {hashlib.sha256(data).hexdigest()}
    if begun:  # the agent ended while it wrote this
        about = {"claims": {}, "length": 1000, "origin": dict(capture.origin.claims)}
        stage = station.spool.stage(capture.origin.token, about)
        stage.write(data[:400])
        stage.close()
        expected.add(hashlib.sha256(data[:400]).hexdigest())
        await station.restart()
    for _ in range(2):
        await station.set_aside(capture, data, "nobody can take it")
    assert lying(station, "parts") == expected
    assert lying(station, "stage") == set()
    assert set((await reasons(station)).values()) == {"nobody can take it"}
    await station.restart()
    await station.dock(bench)
    await station.verify()
