"""What a template reads from names, and what it is not read with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import Policy
from agent.testing.rig import held, running, until
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from drivers.interview_room.drop_folder.names import Names, Said, media_type

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drivers.interview_room.drop_folder import DropFolder
    from drivers.interview_room.drop_folder.emulator import RecorderEmulator


@pytest.mark.parametrize(
    ("template", "key", "said"),
    [
        ("{recording}_{camera}_{clip}.mp4", "x/26-11_0042_CAM1_0003.mp4", Said("26-11_0042", "CAM1", 3)),
        ("{recording}/{camera}.mp4", "2026-0042/front.mp4", Said("2026-0042", "front")),
        ("{recording}/*_{clip}.*", None, None),
        ("{camera}-{began:%Y%m%d_%H%M%S}.mkv", "room1-20261122_070000.mkv",
         Said(None, "room1", None, datetime(2026, 11, 22, 12, tzinfo=UTC))),
        ("{recording}_{clip}.mp4", "notes.pdf", None),
        ("{began:%Y%m%d}_{clip}.mp4", "20261399_1.mp4", None),
        ("{recording}{clip}.mp4", "interview12.mp4", Said("interview1", None, 2)),
    ],
)  # fmt: skip
def test_reading(template: str, key: str | None, said: Said | None) -> None:
    if key is None:
        with pytest.raises(ValueError, match="one"):
            Names(template)
        return
    assert Names(template, "America/Toronto").read(key) == said


@pytest.mark.parametrize(
    "template",
    ["film.mp4", "{nobody}.mp4", "{clip}_{clip}", "{camera}{clip}", "{clip:3}.mp4", "{began:%A}", "{recording"],
)
def test_a_wrong_template_says_what_is_wrong(template: str) -> None:
    with pytest.raises(ValueError, match=r"names|stands|something|format|knows|known"):
        Names(template)


@given(st.text(alphabet="a_/.0-", max_size=255))
def test_any_name_is_read_in_bounded_time(key: str) -> None:
    Names("{recording}_{camera}_{clip}_*.mp4").read(key)


def test_a_long_name_made_to_be_slow() -> None:
    names = Names("{recording}_{camera}_*{clip}.mp4")
    assert names.read("_" * 255) is None
    assert names.read("a_" * 127) is None


def test_media_types_by_ending() -> None:
    assert [media_type(one) for one in ("a.MP4", "a.b.mov", "a", "a.xyz")] == [
        "video/mp4", "video/quicktime", "application/octet-stream", "application/octet-stream"
    ]  # fmt: skip


# -- recordings of several files ---------------------------------------------------------------------------------------


async def test_nothing_of_a_recording_is_forgotten_while_a_part_of_it_is_still_written(
    recorder: RecorderEmulator, made: Callable[..., DropFolder], tmp_path: Path
) -> None:
    first = recorder.export("one_a_1.mp4", b"the first part" * 1000)
    alone = recorder.export("two_a_1.mp4", b"another interview" * 1000)
    part = recorder.begin("one_a_2.mp4.part", b"the second part" * 1000)
    part.write(5000)
    async with Station(tmp_path / "station", policy=Policy(device="release", receipt="digest")) as station:
        station.connect(BenchUplink())
        async with running(made(names="{recording}_{camera}_{clip}.mp4"), station):
            await held(station, 2)
            await station.send()
            await until(lambda: not alone.exists())
            began = station.release.considered
            await until(lambda: station.release.considered > began + 2)
            assert first.exists(), "its folder lists two files of this recording, and one of them is held"
            part.write()
            part.close()
            part.path.rename(tmp_path / "room/one_a_2.mp4")
            await held(station, 3)
            await station.send()
            await until(lambda: not first.exists() and not (tmp_path / "room/one_a_2.mp4").exists())
        counts = {one.origin.key: one.members for one in await station.holdings()}
        assert counts == {"one_a_1.mp4": 2, "one_a_2.mp4": 2, "two_a_1.mp4": 1}
        await station.verify()
