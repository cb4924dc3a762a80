"""What a destination says of itself is tried at the start, once a day, and soon again where it did not answer."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from agent import supervising
from agent.errors import UplinkDown
from agent.testing.rig import until


class Tried:
    def __init__(self) -> None:
        self.times = 0
        self.down = False
        self.error: Exception = UplinkDown("nobody answers")

    async def probe(self) -> None:
        self.times += 1
        if self.down:
            raise self.error


@pytest.mark.parametrize("down", [False, True])
async def test_it_is_tried_again_and_again(monkeypatch: pytest.MonkeyPatch, *, down: bool) -> None:
    """A day later where it answered; sooner where it did not; and never just once."""
    assert supervising._PROBE_AGAIN < supervising._A_DAY == 24 * 3600
    monkeypatch.setattr(supervising, "_PROBE_AGAIN" if down else "_A_DAY", 0.001)
    uplink = Tried()
    uplink.down = down
    task = asyncio.create_task(supervising.probed(uplink, "dems"))
    await until(lambda: uplink.times > 3)
    uplink.down, before = not down, uplink.times  # what comes now waits for long
    await until(lambda: uplink.times > before)
    await asyncio.sleep(0.05)
    assert uplink.times == before + 1
    task.cancel()
    await asyncio.wait({task})


async def test_an_answer_that_nobody_thought_of_does_not_end_the_station(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "_PROBE_AGAIN", 0.001)
    uplink = Tried()
    uplink.down, uplink.error = True, OverflowError("a year of twenty digits")
    task = asyncio.create_task(supervising.probed(uplink, "dems"))
    with capture_logs() as logs:
        await until(lambda: uplink.times > 3 or task.done())
    assert not task.done()
    assert {(one["event"], one["destination"]) for one in logs} == {("probe_failed", "dems")}
    task.cancel()
    await asyncio.wait({task})
