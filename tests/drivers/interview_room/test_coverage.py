"""Copies laid beside each other: two recorders of a room, two stations that hold the same, gaps in one and in all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.interview_room.coverage import Piece, interviews, piece_from, piece_of, piece_told, told_of

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def piece(begin: float, end: float, recorder: str = "main", camera: str = "front", station: str = "one") -> Piece:
    name = f"room:room-1:{recorder}"
    return Piece(f"{recorder} {camera} {begin} {end}", name, camera, at(begin), at(end), "held", "00", (station,))


def spans(found: list[tuple[Any, ...]]) -> list[tuple[float, float]]:
    return [((begin - NOON).total_seconds(), (end - NOON).total_seconds()) for begin, end, *_ in found]


def test_one_recorder_whose_segments_follow_each_other() -> None:
    (one,) = interviews(piece(30 * n, 30 * n + 30.2) for n in range(10))
    (copy,) = one.copies
    assert (spans(copy.spans), copy.gaps, one.lacking) == ([(0, 300.2)], [], [])


def test_what_each_of_two_recorders_lacks() -> None:
    main = [piece(0, 100), piece(200, 300)]
    backup = [piece(5, 250, "backup")]
    (one,) = interviews([*main, *backup])
    assert {copy.recorder: spans(copy.gaps) for copy in one.copies} == {
        "room:room-1:main": [(100, 200)],
        "room:room-1:backup": [(0, 5), (250, 300)],
    }
    assert one.lacking == []
    assert spans(one.single) == [(0, 5), (100, 200), (250, 300)]
    assert [who for _, _, who in one.single] == ["room:room-1:main", "room:room-1:backup", "room:room-1:main"]


def test_a_gap_that_all_have() -> None:
    (one,) = interviews([piece(0, 100), piece(150, 200), piece(0, 90, "backup"), piece(160, 200, "backup")])
    assert spans(one.lacking) == [(100, 150)]


def test_what_two_stations_hold_counts_once_and_names_both() -> None:
    (one,) = interviews([piece(0, 100, station="one"), piece(0, 100, station="two")])
    (copy,) = one.copies
    assert copy.pieces[0].stations == ("one", "two")


def test_two_interviews_and_two_rooms() -> None:
    other = Piece("x", "room:room-2:main", "", at(0), at(10), "held", "00", ("one",))
    found = interviews([piece(0, 100), piece(500, 600), other])
    assert [(one.room, (one.begins - NOON).total_seconds()) for one in found] == [
        ("room-1", 0),
        ("room-2", 0),
        ("room-1", 500),
    ]


def test_two_interviews_that_follow_each_other_closely_stay_two() -> None:
    first = [replace(one, interview="a") for one in (piece(0, 30), piece(31, 60))]
    second = [replace(piece(70, 100), interview="b")]
    assert len(interviews([*first, *second])) == 2
    assert len(interviews([*first, *second, piece(0, 100, "backup")])) == 1, "the other recorder did not stop"


PIECES = st.builds(
    lambda begin, length, recorder, camera: piece(begin, begin + length, recorder, camera),
    st.integers(0, 2000), st.integers(0, 300), st.sampled_from(["main", "backup", "x"]), st.sampled_from(["a", "b"]),
)  # fmt: skip


@given(st.lists(PIECES, max_size=30))
def test_nothing_is_lost_or_made_up(pieces: list[Piece]) -> None:
    found = interviews(pieces)
    assert {one.capture for one in pieces} == {
        one.capture for interview in found for copy in interview.copies for one in copy.pieces
    }
    for interview in found:
        for copy in interview.copies:
            gaps = sum((end - begin for begin, end in copy.gaps), timedelta())
            whole = interview.ends - interview.begins
            slack = timedelta(seconds=2 * len(copy.pieces) + 2)
            assert whole - slack <= copy.covered + gaps <= whole
            assert copy.spans == sorted(copy.spans)
        assert told_of(interview)


@given(PIECES)
def test_another_stations_word_is_read_as_it_was_written(one: Piece) -> None:
    told = replace(one, interview="20261128T120000Z-00000000")
    assert piece_from(piece_told(told)) == told


@pytest.mark.parametrize(
    "change",
    [{"begins": "yesterday"}, {"ends": None}, {"begins": "2026-11-28T12:00:00"}, {"ends": "2025-01-01T00:00:00Z"}],
)
def test_a_word_that_makes_no_sense(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no times"):
        piece_from({**piece_told(piece(0, 10)), **change})


CAPTURE = {
    "id": "1", "device": "room:room-1:main", "standing": "held", "sha256": "00", "log": "one",
    "began_at": "2026-11-28T12:00:10.000Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"live": {"stream": "front", "seconds": ["30.5", "60.75"]}}, (10, 40.25)),
        ({"live": {"stream": "front", "seconds": None}, "media": {"duration": "3.000"}}, (10, 13)),
        ({"media": {"duration": "10.000"}}, (0, 10)),
        ({"media": {"duration": "5"}, "name_says": {"began_at": "2026-11-28T12:01:00Z", "camera": "back"}}, (60, 65)),
        ({}, None),
        ({"media": {"duration": "nan"}}, None),
        ({"media": {"duration": "-5"}}, None),
        ({"media": {"duration": "1e300"}}, None),
        ({"live": {"seconds": "x"}, "media": 5}, None),
    ],
)
def test_what_a_capture_holds_of_the_time(claims: dict[str, Any], expected: tuple[float, float] | None) -> None:
    found = piece_of(CAPTURE, claims)
    assert (None if found is None else spans([(found.begins, found.ends)])[0]) == expected
