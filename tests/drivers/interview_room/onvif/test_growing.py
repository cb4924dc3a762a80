"""Recordings that are no longer what they were at the look before: recorded on, or overwritten at their beginning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agent.testing.probe import Probe
from agent.testing.rig import running, until
from drivers.interview_room.onvif import OnvifRecorder
from drivers.interview_room.onvif.emulator import Kept, RecorderEmulator

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Origin

BEGAN = datetime(2026, 11, 22, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def driver(tmp_path: Path, emulator: RecorderEmulator) -> OnvifRecorder:
    (tmp_path / "password").write_text("pass\n")
    told = {"use": "interview_room.onvif", "name": "room-1", "url": emulator.url, "user": "admin", "rescan": 0.05}
    return OnvifRecorder(OnvifRecorder.Options.model_validate({**told, "password_file": tmp_path / "password"}))


def origins(probe: Probe, first: int = 0) -> set[Origin]:
    return {offer.capture.origin for offer in probe.offered[first:]}


async def looks(emulator: RecorderEmulator, count: int) -> None:
    def searches() -> int:
        return sum(name == "EndSearch" for name, _ in emulator.asked)

    before = searches()
    await until(lambda: searches() >= before + count)


@pytest.mark.parametrize(("before", "after"), [(5, 9), (5, 25), (10, 14), (15, 18), (15, 60)])
async def test_what_is_recorded_on_under_the_same_token_is_another_capture(
    tmp_path: Path, before: float, after: float
) -> None:
    """A recorder has one recording for each camera, which stops and goes on: its end passed for what was taken."""
    kept = Kept("R1", BEGAN, BEGAN + before * MINUTE)
    async with RecorderEmulator(kept=[kept]) as emulator:
        probe = Probe()
        async with running(driver(tmp_path, emulator), probe):
            await looks(emulator, 2)
            known = origins(probe)
            kept.ended_at = BEGAN + after * MINUTE
            await until(lambda: bool(origins(probe) - known))
            await looks(emulator, 2)
            seen = len(probe.offered)
            await looks(emulator, 2)
    whole = {one for one in known if "-" not in one.key}
    assert origins(probe, seen) & known <= whole, "the end of what was taken passes for the end that is there now"


async def test_a_recorder_that_overwrites_the_beginning_of_a_recording_moves_no_slice(tmp_path: Path) -> None:
    began_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3, minutes=5)
    kept = Kept("R1", began_at, None, "Recording")
    async with RecorderEmulator(kept=[kept]) as emulator:
        probe = Probe()
        async with running(driver(tmp_path, emulator), probe):
            await looks(emulator, 2)
            known, seen = origins(probe), len(probe.offered)
            for _ in range(3):
                kept.began_at += 7 * MINUTE
                await looks(emulator, 2)
                now = len(probe.offered)
                await looks(emulator, 2)
    begins = {one.began_at for one in origins(probe, seen)}
    assert all((at - began_at) % (10 * MINUTE) == timedelta() for at in begins if at is not None)
    assert len(known) - 2 <= len(origins(probe, now) & known) < len(known), "what is left of a slice is that slice"
    assert min(at for at in {one.began_at for one in origins(probe, now)} if at is not None) == began_at + 20 * MINUTE
