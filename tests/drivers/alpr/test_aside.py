"""A message at which our own code fails is kept for a person, and not refused for ever."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import structlog

from agent.testing.probe import Probe
from drivers.alpr.emulator import MESSAGES, Passage
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.rig import options, sender

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("maker", ["hikvision", "axis"])
async def test_a_fault_of_ours_is_told_without_a_word_of_the_message(
    tmp_path: Path, maker: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is to be repeated once, and then set aside; at once where a camera may not repeat. Nothing quotes a plate."""
    lines: list[str] = []
    structlog.configure(processors=[lambda _, __, event: lines.append(repr(event)) or json.dumps(event, default=str)])

    def broken(read: object) -> object:
        raise ValueError(f"invalid: {read}")

    monkeypatch.setattr("drivers.alpr.watching.Watch.read", lambda _, read: broken(read))
    told, probe = options(tmp_path, maker), Probe()
    try:
        async with received(told, probe) as driver:
            sent = MESSAGES[maker](Passage(), "")
            answers = [await sender(told).once(sent) for _ in range(2)]
            assert answers == ([200, 200] if maker == "hikvision" else [503, 200])
            assert {data for _, data, _ in probe.aside} == {sent.body}
            assert "alpr.aside" in {notice.id for notice in driver.notices()}
            said = [repr(await driver.health()), repr(driver.notices()), *lines, caplog.text]
    finally:
        structlog.reset_defaults()
    said += [repr((capture, why)) for capture, _, why in probe.aside]
    assert any("ValueError at test_aside.py" in line for line in said)
    assert not any("EVDK" in line for line in said)
