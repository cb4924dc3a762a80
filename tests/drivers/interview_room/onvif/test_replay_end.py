"""What counts as the end of a replay, and the bounds of one that comes to none."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

import pytest

from agent.errors import DeviceError
from drivers.interview_room.onvif.relay import Relay
from drivers.interview_room.onvif.rtsp import Frame, read, written
from tests.drivers.interview_room.onvif.breaking import BEGAN, breaking, sound

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize("stalls", [False, True])
@pytest.mark.parametrize(("whole", "bounded"), [(True, False), (False, False), (False, True)])
async def test_only_an_end_that_is_one_counts(*, stalls: bool, whole: bool, bounded: bool) -> None:
    """T is the end; silence, or a closed connection, is none, unless all the time that was asked for is here."""
    frames = [sound(number, number, last=whole and number == 9) for number in range(10)]
    ends = BEGAN + timedelta(seconds=10) if bounded else None
    async with breaking(frames, stalls=stalls) as uri, Relay(uri, None, BEGAN, ends, answer=1) as relay:
        process = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "quiet", "-rtsp_transport", "tcp", "-i", relay.url, "-c", "copy", "-f", "null", "-"
        )
        async with asyncio.timeout(20):
            await process.wait()
    assert relay.seen.packets == 10
    assert (relay.seen.ended or relay.reached) is (whole or bounded)
    assert (relay.trouble is None) is (whole or bounded)


async def test_one_time_that_is_wrong_makes_no_replay_whole() -> None:
    frames = [sound(number, 100 if number == 3 else number) for number in range(6)]
    async with breaking(frames) as uri, Relay(uri, None, BEGAN, BEGAN + timedelta(seconds=60), answer=2) as relay:
        await heard(relay)
        assert not relay.reached
        assert "closed the connection" in str(relay.trouble)


async def heard(relay: Relay) -> None:
    """Be what ffmpeg is until the relay ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(relay.url.rsplit(":", 1)[1].split("/")[0]))
    for number, method in enumerate(("DESCRIBE", "SETUP", "PLAY"), 1):
        writer.write(written(f"{method} {relay.url} RTSP/1.0", {"CSeq": number}))
        while isinstance(told := await read(reader), Frame):
            pass
        assert told.status == 200
    with suppress(DeviceError, OSError):
        while True:
            await read(reader)
    writer.close()


@pytest.mark.parametrize(("ends", "latest"), [(20, 600), (None, 20)])
async def test_a_recorder_that_heeds_no_end_is_bounded(ends: int | None, latest: int) -> None:
    def endless() -> Iterator[bytes]:
        for number in count():
            yield sound(number & 0xFFFF, 10**5 if number == 3 else number)  # one time that is wrong ends nothing

    until = None if ends is None else BEGAN + timedelta(seconds=ends)
    async with (
        breaking(endless()) as uri,
        Relay(uri, None, BEGAN, until, answer=2, latest=BEGAN + timedelta(seconds=latest)) as relay,
    ):
        await heard(relay)
        assert relay.trouble is None
        assert relay.reached
        assert 30 < relay.seen.packets <= 30 + 60


@pytest.mark.parametrize("seconds", [0, 5])
async def test_a_recorder_whose_times_stand_still_is_bounded(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr("drivers.interview_room.onvif.relay.BYTES_A_SECOND", 20_000)
    frames = (sound(number & 0xFFFF, seconds) for number in count())
    async with (
        breaking(frames) as uri,
        Relay(uri, None, BEGAN, BEGAN + timedelta(seconds=20), answer=2) as relay,
    ):
        await heard(relay)
        assert "without an end" in str(relay.trouble)
        assert not relay.reached
