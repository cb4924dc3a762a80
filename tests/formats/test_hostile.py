"""Every parser of what devices store, against what none should: a typed error or a value, in bounded time and room.

`EVIDOCK_FUZZ=n` multiplies the number of random mutations.
"""

from __future__ import annotations

import json
import math
import os
import random
import struct
import tracemalloc
from collections import Counter
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_specs import SpecError
from firmware_specs.formats.blackvue_track import SENTENCES_MAX, sentences
from firmware_specs.formats.bmff import BOXES_MAX, Structure, structure
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.recognised import recognise
from firmware_specs.formats.source import BUDGET, Malformed, Text
from tests.formats.make import FTYP, box, full, mvhd, trak
from tests.formats.parsers import PARSERS, VAPIX_ERROR, VAPIX_LIST, everything

ROUNDS = int(os.environ.get("EVIDOCK_FUZZ", "1"))
PLACES = 97
"""Bytes of each seed at which fields are bent in the short form; with EVIDOCK_FUZZ above 1 it is every byte."""
FOUND = Path(__file__).parent / "found"


EXTREMES = [0, 1, 7, 8, 15, 16, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]


def reads(name: str, data: bytes) -> bool:
    """Whether it is a value; our typed error else, and nothing else ever."""
    return PARSERS[name].accepts(data)


@pytest.mark.parametrize("name", PARSERS)
def test_the_whole_of_it_is_read(name: str) -> None:
    assert all(reads(name, seed) for seed in PARSERS[name].seeds)


def test_what_a_fuzzer_found_once_is_refused_or_read() -> None:
    """Each file is an input that broke a parser, and is named for it: `make fuzz` writes it."""
    for path in sorted(FOUND.glob("*-*")):
        reads(path.name.rpartition("-")[0].replace("_", " "), path.read_bytes())


def test_nothing_of_the_whole_film_is_left_unread() -> None:
    told = claims(film(Text(everything())))
    assert "unread" not in told
    assert [one["format"] for one in told["telemetry"]] == ["GPMF", "freeGPS", "BlackVue"]
    assert told["times"][1]["reading"] == "2026-11-22T10:11:12-05:00"


@pytest.mark.parametrize("name", PARSERS)
def test_cut_after_every_byte(name: str) -> None:
    for data in PARSERS[name].seeds:
        for length in range(len(data)):
            reads(name, data[:length])


@pytest.mark.parametrize("name", PARSERS)
def test_every_field_at_its_extremes(name: str) -> None:
    """At every byte, each extreme value of two, four and eight bytes, in both orders of bytes."""
    data = PARSERS[name].seeds[0]
    for at in range(0, len(data), 1 if ROUNDS > 1 else max(1, len(data) // PLACES)):
        for value in EXTREMES:
            for order in ("big", "little"):
                for width in (2, 4, 8) if value < 1 << 16 else (4, 8):
                    raw = value.to_bytes(width, order)  # type: ignore[arg-type]
                    reads(name, data[:at] + raw + data[at + width :])


def item(key: bytes, kind: bytes, raw: bytes, size: int = 1) -> bytes:
    return key + kind + struct.pack(">BH", size, len(raw) // size) + raw + bytes(-len(raw) % 4)


def payload(*items: bytes) -> bytes:
    return item(b"DEVC", b"\0", item(b"STRM", b"\0", b"".join(items)))


BEYOND = {
    "trail": json.dumps({"CoordinateEntries": [{"LocationWKT": "POINT (7 46)", "SecondsFromStart": 10**400}]}).encode(),
    "gpmf": payload(item(b"GPSF", b"f", struct.pack(">f", math.nan))),
    "gpmf infinite": payload(
        item(b"TYPE", b"c", b"lllllllSS"),
        item(b"SCAL", b"d", struct.pack(">9d", *[1.0] * 6, 5e-324, 1.0, 1.0)),
        item(b"GPS9", b"?", struct.pack(">7i2H", *[1] * 9), size=32),
    ),
    "vapix export": VAPIX_ERROR.replace(b"110", "\u00b2".encode()),
    "vapix list": VAPIX_LIST.replace(b"2024-06-21T07:17:25.349296Z", b"0001-01-01T00:00:00+14:00"),
}
"""What is a number to one function and none to the next."""


@pytest.mark.parametrize("name", BEYOND)
def test_numbers_beyond_all_bounds(name: str) -> None:
    reads(name.removesuffix(" infinite"), BEYOND[name])


def test_boxes_of_as_many_kinds_as_there_are_boxes_are_counted_in_one_pass() -> None:
    """A sum over all kinds at each box would be the square of them; steps are counted, for time is the machine's."""
    kinds = [bytes(one) for one in product(range(0x61, 0x7B), repeat=4)][:3000]
    data, steps = FTYP + b"".join(struct.pack(">I4s", 8, kind) for kind in kinds), [0]

    class Counting(Counter[str]):
        def values(self) -> Any:  # noqa: ANN401
            steps[0] += len(self)
            return super().values()

    made = Structure(len(data), counts=Counting())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("firmware_specs.formats.bmff.Structure", lambda _: made)
        structure(Text(data))
    assert made.counts.total() == 3001
    assert steps[0] < 10 * 3001


@settings(max_examples=100)
@given(st.data())
def test_random_mutation(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PARSERS)))
    raw = bytearray(data.draw(st.sampled_from(PARSERS[name].seeds)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, max(0, len(raw) - 1)))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    reads(name, bytes(raw))


def test_many_random_mutations() -> None:
    """Quicker ones than hypothesis makes, always the same."""
    chance = random.Random(20261122)
    for name, parser in PARSERS.items():
        for _ in range(400 * ROUNDS):
            raw = bytearray(chance.choice(parser.seeds))
            for _ in range(chance.randint(1, 6)):
                at = chance.randrange(len(raw))
                raw[at] = chance.choice(
                    (0, 1, 0x7F, 0x80, 0xFF, raw[at] ^ 1 << chance.randrange(8), chance.randrange(256))
                )
            reads(name, bytes(raw))


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for name in PARSERS:
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


def mdhd(created: int) -> bytes:
    return full(b"mdhd", struct.pack(">IIIIHH", created, 0, 1000, 6000, 0x55C4, 0))


def many(wrap: bytes, one: bytes, *, times: int) -> bytes:
    return b"".join(box(wrap, one * 4000) for _ in range(times // 4000))


@pytest.mark.parametrize(
    "data",
    [
        FTYP
        + box(b"moov", box(b"trak", *(box(b"mdia", *map(mdhd, range(n, n + 4000))) for n in range(0, 160_000, 4000)))),
        FTYP + box(b"moov", many(b"udta", box(b"\xa9day", struct.pack(">HH", 10, 0), b"2020-01-01"), times=160_000)),
        FTYP + box(b"moov", many(b"udta", box(b"@mak", b"\n" * 300), times=16_000)),
    ],
    ids=["headers", "days", "words"],
)
def test_a_film_says_as_much_as_can_be_said_and_no_more(data: bytes) -> None:
    """Each would take minutes if what it says again were looked up among all that it said before."""
    found = film(Text(data)).movie
    if found is not None:
        assert len(found.clocks) <= 256
        assert found.said <= 1024


def test_sentences_without_end_are_none() -> None:
    line = b"[1]$AAAAA,*00"
    assert len(sentences(line * SENTENCES_MAX)) == SENTENCES_MAX
    with pytest.raises(Malformed, match="sentences stand in it"):
        sentences(line * (SENTENCES_MAX + 1))


def test_many_small_reads_are_paid_for_like_few_long_ones() -> None:
    source = Text(bytes(8), budget=320)
    for _ in range(10):
        source.read(0, 8)
    with pytest.raises(Malformed, match="more reading"):
        source.read(0, 8)


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
    assert source.spent <= BUDGET


def test_a_budget_ends_what_reads_for_ever() -> None:
    assert any("more reading" in one for one in film(Text(everything(), budget=400)).unread)
    with pytest.raises(Malformed, match="more reading"):
        film(Text(everything(), budget=20))
