"""Films read beside exiftool and ffprobe, which share no line with us, over every sample."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from firmware_specs.formats import blackvue_track, camm, gpmf
from firmware_specs.formats.bmff import Verdict, structure
from firmware_specs.formats.media import Film, claims, film
from firmware_specs.formats.source import FileSource, Malformed, Text
from tests.formats.make import FTYP, box, camm_film, mvhd

if TYPE_CHECKING:
    from pathlib import Path

VERDICTS = {
    "plain.mp4": ("complete", 0, 0),
    "faststart.mp4": ("complete", 0, 0),
    "fragmented.mp4": ("fragmented_complete", 0, 0),
    "mdta.mp4": ("complete", 0, 0),
    "udta_xyz.mov": ("complete", 0, 0),
    "plain_cut_in_mdat.mp4": ("moov_missing", 0, 18509),
    "plain_cut_in_moov.mp4": ("moov_truncated", 0, 1846),
    "plain_moov_zeroed.mp4": ("moov_missing", 3337, 0),
    "plain_zero_tail.mp4": ("zero_tail", 4096, 0),
    "faststart_cut_in_mdat.mp4": ("mdat_truncated", 0, 21846),
    "fragmented_cut_in_mdat.mp4": ("fragmented_truncated", 0, 4608),
    "fragmented_cut_at_boundary.mp4": ("fragmented_complete", 0, 0),
}
WORDS = {
    "FIRM": "UserData:FirmwareVersion",
    "LENS": "UserData:LensSerialNumber",
    "GPMF serial": "GoPro:CameraSerialNumber",
    "GPMF model": "GoPro:Model",
    "com.apple.quicktime.make": "Keys:Make",
    "com.apple.quicktime.model": "Keys:Model",
}
FILMS = [
    *("mp4-structure/*.mp4", "mp4-structure/*.mov", "gpmf/*.mp4", "camm/*.mp4", "freegps/*.mp4", "blackvue/*.mp4"),
    *("signed-video/*.mp4", "exiftool/*.mov", "exiftool/*.m4a"),
]


def read(path: Path) -> tuple[Film, int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        source = FileSource(fd)
        return film(source), source.spent
    finally:
        os.close(fd)


def films(samples: Path) -> list[Path]:
    return sorted(path for pattern in FILMS for path in samples.glob(pattern))


def asked(*command: str) -> Any:  # noqa: ANN401
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, check=False)
    return json.loads(done.stdout or b"{}")


def test_every_verdict(samples: Path) -> None:
    for name, expected in VERDICTS.items():
        found, _ = read(samples / "mp4-structure" / name)
        outside = found.outside
        assert (outside.verdict, outside.tail, outside.missing) == expected, name
        assert outside.mfra == (name == "fragmented.mp4")


def test_ffprobe_reads_the_same(samples: Path) -> None:
    """Whether it opens, how long it is, which tracks it has."""
    paths, opened = films(samples), 0
    assert len(paths) >= 20
    for path in paths:
        told = asked("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path))
        found, _ = read(path)
        playable = found.outside.verdict not in (Verdict.MOOV_MISSING, Verdict.MOOV_TRUNCATED)
        assert bool(told.get("streams")) == playable, path.name
        if found.movie is None:
            continue
        opened += 1
        # Of fragments we tell where decoding ends; the last picture is shown up to two tenths later.
        within = 0.25 if found.outside.counts["moof"] else 0.1
        assert found.movie.seconds == pytest.approx(float(told["format"]["duration"]), abs=within), path.name
        streams = [one for one in told["streams"] if not one["disposition"]["attached_pic"]]
        codecs = [track.codec for track in found.movie.tracks]
        assert codecs == [one["codec_tag_string"].strip() for one in streams], path.name
        for track, one in zip(found.movie.tracks, streams, strict=True):
            if one["codec_type"] == "video" and "modified" not in path.name:
                assert (track.width, track.height) in ((one["width"], one["height"]), (one["height"], one["width"]))
    assert opened >= 16


def test_exiftool_reads_the_same(samples: Path) -> None:
    """Times as they stand, words of the maker, first positions."""
    paths = films(samples)
    told = asked("exiftool", "-j", "-G1", "-n", "-ee", "-api", "QuickTimeUTC=0", *map(str, paths))
    places = 0
    for path, one in zip(paths, told, strict=True):
        found, _ = read(path)
        if found.movie is None:
            continue
        created = one["QuickTime:CreateDate"]
        clock = found.movie.clocks[0]
        assert created == ("0000:00:00 00:00:00" if clock.reading is None else f"{clock.reading:%Y:%m:%d %H:%M:%S}")
        for ours, theirs in WORDS.items():
            assert found.movie.words.get(ours) == (str(one[theirs]) if theirs in one else None), (path.name, ours)
        positions = [name for name in one if name.endswith(":GPSLatitude") and name.startswith("Track")]
        positions += [name for name in one if name == "QuickTime:GPSLatitude"]
        if positions and found.telemetry:
            places += 1
            group = positions[0].partition(":")[0]
            (telemetry,) = [stream for stream in found.telemetry if stream.first is not None]
            known = [
                (telemetry.first.latitude, telemetry.first.longitude),
                (telemetry.last.latitude, telemetry.last.longitude),
            ]
            theirs_too = (one[f"{group}:GPSLatitude"], one[f"{group}:GPSLongitude"])
            assert any(ours == pytest.approx(theirs_too, abs=2e-4) for ours in known), path.name
    assert places >= 4


def test_gpmf_reads_as_gopro_telemetry(samples: Path) -> None:
    for name, (devices, streams, records, first) in {
        "hero5": (1, 5, {"ACCL": 199, "GYRO": 399, "GPS5": 18}, (33.1264969, -117.3273542, -20.184, 0.167, 0.19)),
        "hero6+ble": (2, 12, {"ACCL": 198, "GPS5": 18, "SHUT": 24}, (33.1267334, -117.3274448, -16.823, 0, 0)),
        "karma": (2, 19, {"ACCL": 196, "GYRO": 392, "GPRI": 4}, None),
        "hero7": (17, 169, {"ACCL": 3369, "GPS5": 308, "SHUT": 509}, (42.3425835, -8.7526142, 58.512, 0.173, 0.12)),
        "hero11": (11, 231, {"GPS5": 110, "GPS9": 110, "GRAV": 274}, (42.4261529, -8.6499795, 34.098, 0.018, 0.01)),
        "consecutive1": (2, 25, {"ACCL": 444, "GPS5": 41, "SHUT": 56}, (42.1771847, -1.132886, -277.962, 0, 0)),
    }.items():
        found = gpmf.telemetry((samples / "gpmf" / f"{name}.raw").read_bytes())
        assert (found.devices, found.streams) == (devices, streams), name
        assert {key: found.records[key] for key in records} == records, name
        fix = found.first
        told = None if fix is None else (fix.latitude, fix.longitude, fix.altitude, fix.speed, fix.speed_3d)
        assert told == first, name


def test_blackvue_s_own_files(samples: Path) -> None:
    found = blackvue_track.accelerations((samples / "blackvue" / "mock.3gf").read_bytes())
    assert (len(found), found[0], found[-1]) == (155, (0, 120, -2, -20), (16870, 214, -4, 56))
    line = b"[1623057129256]$GPRMC,201205.00,A,3853.16949,N,07659.54604,W,5.849,284.43,070621,,,D*76\r\n\r\n[5]\0\0"
    (sentence,) = blackvue_track.sentences(line)
    assert sentence.right
    assert (sentence.latitude, sentence.longitude) == (pytest.approx(38.8861582), pytest.approx(-76.992434))


def test_camm_s_golden_records() -> None:
    raw = "000006000000c0675f0bd6410300000076711b0de07d4540eb73b515fb4f54c000807b430000c03f00002040"
    found = camm.record(bytes.fromhex(raw + "0000803f00000040cdcccc3dcdcc4c3e"))
    assert found.values[:2] == (1479376287.0, 3)
    assert found.position == (pytest.approx(42.9834), pytest.approx(-81.2497), 251.5)
    assert [str(one) for one in camm.readings(1479376287.0)] == [
        "2026-11-22 09:51:27+00:00",
        "2016-11-17 09:51:27+00:00",
    ]


def test_a_film_of_4_gib_costs_kilobytes(tmp_path: Path) -> None:
    """Sparse, with its index at the end behind a box of 64 bits, and a second of zeros after that."""
    path = tmp_path / "long.mp4"
    index = box(b"moov", mvhd())
    with path.open("wb") as file:
        file.write(FTYP + (1).to_bytes(4, "big") + b"mdat" + (4 << 30).to_bytes(8, "big"))
        file.seek(len(FTYP) + (4 << 30))
        file.write(index)
        file.truncate(file.tell() + (1 << 30))
    found, spent = read(path)
    assert (found.outside.verdict, found.outside.tail) == ("zero_tail", 1 << 30)
    assert found.movie is not None
    assert found.movie.seconds == 6.0
    assert spent < 256 * 1024, f"{spent} bytes were read"


def test_claims_have_no_fractions_and_are_the_device_s(samples: Path) -> None:
    from agent.capture import canonical  # noqa: PLC0415 - what an entry of the journal takes

    for path in films(samples):
        told = claims(read(path)[0])
        assert told["source"] == "says the device"
        assert len(canonical(told)) < 32 * 1024


@pytest.mark.parametrize(("created", "doubt"), [(0, "not set"), (3_800_000_000, "local time"), (1_700_000_000, "1970")])
def test_a_time_is_told_with_its_doubts(created: int, doubt: str) -> None:
    found = film(Text(FTYP + box(b"moov", mvhd(created))))
    assert found.movie is not None
    assert any(doubt in one for one in found.movie.clocks[0].doubts)
    assert found.movie.clocks[0].raw == created


def test_a_damaged_stream_hurts_no_other() -> None:
    data = bytearray(camm_film())
    at = data.index(b"\0\0\5\0")
    data[at + 2] = 99
    found = film(Text(data))
    assert found.movie is not None
    assert found.movie.words == {"@mak": "Maker"}
    assert found.unread == ["track 1: 99 is no type of a record"]


def test_what_is_no_film_is_told() -> None:
    for data in (b"", b"x", b"#!/bin/sh\n" * 10, bytes(100), box(b"abcd", b"x")):
        with pytest.raises(Malformed):
            film(Text(data))
        assert structure(Text(data)).verdict is Verdict.NOT_BMFF
