"""Every parser of what devices store, against what none should: a typed error or a value, in bounded time and room.

`EVIDOCK_FUZZ=n` multiplies the number of random mutations.
"""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capture import canonical
from firmware_specs import SpecError
from firmware_specs.formats import blackvue_track, camm, freegps, gpmf
from firmware_specs.formats.bmff import BOXES_MAX
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.recognised import recognise
from firmware_specs.formats.source import Malformed, Text
from tests.formats.make import FTYP, box, camm_film, full, mvhd, trak

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = int(os.environ.get("EVIDOCK_FUZZ", "1"))


def fragment() -> bytes:
    tfhd = full(b"tfhd", struct.pack(">II", 1, 512), flags=0x8)
    trun = full(b"trun", struct.pack(">III", 2, 512, 512), flags=0x100)
    traf = box(b"traf", tfhd, full(b"tfdt", struct.pack(">Q", 1024), version=1), trun)
    return box(b"moof", full(b"mfhd", struct.pack(">I", 1)), traf) + box(b"mdat", b"film")


def fragments() -> bytes:
    return FTYP + box(b"moov", mvhd(), trak(1, b"vide", b"avc1", [])) + fragment() * 2


def gps_block() -> bytes:
    body = struct.pack("<6I", 16, 45, 20, 17, 12, 31) + b"ANE\0" + struct.pack("<4f", 5427.3, 1832.9, 7.5, 330.0)
    return struct.pack(">I", 0x60) + b"freeGPS " + struct.pack("<I", 76) + bytes(32) + body + bytes(8)


def telemetry() -> bytes:
    def item(key: bytes, kind: bytes, size: int, raw: bytes) -> bytes:
        return key + kind + struct.pack(">BH", size, len(raw) // size) + raw + bytes(-len(raw) % 4)

    scale = item(b"SCAL", b"l", 4, struct.pack(">5i", 10**7, 10**7, 1000, 1000, 100))
    fix = item(b"GPS5", b"l", 20, struct.pack(">5i", 331264969, -1173273542, -20184, 167, 19))
    stream = scale + fix
    inner = item(b"DVNM", b"c", 1, b"Camera") + item(b"STRM", b"\0", 1, stream)
    return item(b"DEVC", b"\0", 1, inner)


def everything() -> bytes:
    """One film with each box that we read."""
    keys = full(b"keys", struct.pack(">I", 1), box(b"mdta", b"com.apple.quicktime.creationdate"))
    data = box(b"data", struct.pack(">II", 1, 0), b"2026-11-22T10:11:12-05:00")
    ilst = box(b"ilst", struct.pack(">II", 8 + len(data), 1), data)
    meta = box(b"meta", full(b"hdlr", bytes(4), b"mdta", bytes(13)), keys, ilst)
    place = box(b"\xa9xyz", struct.pack(">HH", 18, 0), b"+42.9834-081.2497/")
    maker = box(b"free", box(b"cprt", b" Pittasoft;DR900\0"), box(b"gps ", LINE), box(b"3gf ", ACCELERATION))
    media = telemetry()
    block, start = gps_block(), len(FTYP) + 8
    index = box(b"gps ", struct.pack(">IIII", 0, 1, start + len(media), len(block)))
    tracks = trak(1, b"meta", b"gpmd", [(start, len(media))])
    moov = box(b"moov", mvhd(3_878_205_072), index, tracks, box(b"udta", meta, place, box(b"GPMF", telemetry())))
    return FTYP + box(b"mdat", media, block) + moov + maker


LINE = b"[1623057129256]$GPRMC,201205.00,A,3853.16949,N,07659.54604,W,5.849,284.43,070621,,,D*76\r\n"
ACCELERATION = struct.pack(">Ihhh", 100, 1, 2, 3) * 3
CAMM = struct.pack("<HHdi2d7f", 0, 6, 1.4e9, 3, 42.0, -81.0, *[1.0] * 7)

WHOLE: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "film": (lambda data: claims(film(Text(data))), everything()),
    "fragments": (
        lambda data: claims(film(Text(data))),
        FTYP + box(b"moov", mvhd(), trak(1, b"vide", b"avc1", [])) + fragment() * 2,
    ),
    "camm film": (lambda data: claims(film(Text(data))), camm_film()),
    "gpmf": (gpmf.telemetry, telemetry()),
    "camm": (camm.record, CAMM),
    "freegps": (freegps.block, gps_block()),
    "gps": (blackvue_track.sentences, LINE * 2),
    "3gf": (blackvue_track.accelerations, ACCELERATION),
    "any": (lambda data: recognise(Text(data)).told, b'{"CoordinateEntries": [{"LocationWKT": "POINT(1 2)"}]}'),
}
EXTREMES = [0, 1, 7, 8, 15, 16, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]


def reads(name: str, data: bytes) -> bool:
    """Whether it is a value; our typed error else, and nothing else ever."""
    try:
        told = WHOLE[name][0](data)
    except SpecError:
        return False
    if isinstance(told, dict):
        assert len(canonical(told)) < 1 << 20
    return True


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_of_it_is_read(name: str) -> None:
    assert reads(name, WHOLE[name][1])


def test_nothing_of_the_whole_film_is_left_unread() -> None:
    told = claims(film(Text(everything())))
    assert "unread" not in told
    assert [one["format"] for one in told["telemetry"]] == ["GPMF", "freeGPS", "BlackVue"]
    assert told["times"][1]["reading"] == "2026-11-22T10:11:12-05:00"


@pytest.mark.parametrize("name", WHOLE)
def test_cut_after_every_byte(name: str) -> None:
    data = WHOLE[name][1]
    for length in range(len(data)):
        reads(name, data[:length])


@pytest.mark.parametrize("name", WHOLE)
def test_every_field_at_its_extremes(name: str) -> None:
    """At every byte, each extreme value of two, four and eight bytes, in both orders of bytes."""
    data = WHOLE[name][1]
    for at in range(0, len(data), 1 if len(data) < 500 else 11):
        for value in EXTREMES:
            for order in ("big", "little"):
                for width in (2, 4, 8) if value < 1 << 16 else (4, 8):
                    raw = value.to_bytes(width, order)  # type: ignore[arg-type]
                    reads(name, data[:at] + raw + data[at + width :])


@settings(max_examples=100)
@given(st.data())
def test_random_mutation(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(WHOLE)))
    raw = bytearray(WHOLE[name][1])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    reads(name, bytes(raw))


def test_many_random_mutations() -> None:
    """Quicker ones than hypothesis makes, always the same."""
    chance = random.Random(20261122)
    for name, (_, whole) in WHOLE.items():
        for _ in range(1000 * ROUNDS):
            raw = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                at = chance.randrange(len(raw))
                raw[at] = chance.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, raw[at] ^ 1 << chance.randrange(8), chance.randrange(256))
                )
            reads(name, bytes(raw))


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for name in WHOLE:
        reads(name, data)


def test_real_files_cut_and_bent(samples: Path) -> None:
    """Every sample of telemetry, and the film that has the most in it."""
    chance = random.Random(1)
    files = [
        *(samples / "gpmf").glob("*.raw"),
        samples / "camm" / "camm_mixed.mp4",
        samples / "mp4-structure" / "mdta.mp4",
    ]
    for path in files:
        whole = path.read_bytes()
        for _ in range(60 * ROUNDS):
            raw = bytearray(whole[: chance.randrange(len(whole))])
            for _ in range(min(len(raw), 4)):
                raw[chance.randrange(len(raw))] = chance.choice((0, 1, 0xFF, 0x80))
            with suppress(SpecError):
                recognise(Text(bytes(raw)))


def deep(levels: int) -> bytes:
    raw = b""
    for _ in range(levels):
        raw = b"STRM\0" + struct.pack(">BH", 1, len(raw) & 0xFFFF) + raw
    return b"DEVC\0" + struct.pack(">BH", 1, len(raw) & 0xFFFF) + raw


@pytest.mark.parametrize(
    "data",
    [
        FTYP + box(b"free") * (BOXES_MAX + 1),
        FTYP + box(b"moov", box(b"free") * 10_000),
        FTYP + box(b"moov", *[trak(1, b"vide", b"avc1", [])] * 100),
        FTYP + box(b"moov", mvhd(), box(b"gps ", struct.pack(">II", 0, 0xFFFFFFFF))),
        FTYP + box(b"moov", mvhd(), trak(1, b"camm", b"camm", [(0, 0xFFFFFFFF)] * 5)),
        deep(5000),
        b"DEVC" + b"\0\1\xff\xff" + (b"ABCDb\1\0\0" * 8191)[:0xFFFF],
        b"[1]$" + b"GPRMC," * 100_000,
        b"{" * 200_000,
    ],
    ids=["boxes", "children", "tracks", "index", "samples", "levels", "items", "line", "braces"],
)
def test_bombs_cost_little(data: bytes) -> None:
    """Memory stays within some megabytes, and what is read within the budget."""
    tracemalloc.start()
    source = Text(data)
    with suppress(SpecError):
        recognise(source)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < (16 << 20) + 2 * len(data)
    assert source.spent <= 64 << 20


def test_a_budget_ends_what_reads_for_ever() -> None:
    assert any("more reading" in one for one in film(Text(everything(), budget=100)).unread)
    with pytest.raises(Malformed, match="more reading"):
        film(Text(everything(), budget=20))
