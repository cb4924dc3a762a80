"""Slices of recordings, and the rounds in which many are offered: each comes, and none moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from drivers.interview_room.rounds import Grid, Rounds

BEGAN = datetime(2026, 11, 22, 7, tzinfo=UTC)
LENGTH = timedelta(minutes=10)


def lasting(minutes: float, *, whole: bool = True) -> Grid:
    return Grid(BEGAN, BEGAN + timedelta(minutes=minutes), LENGTH, whole)


def test_how_many_slices_there_are() -> None:
    assert [lasting(one).count for one in (0, 5, 10, 10.1, 25, 30)] == [1, 1, 1, 2, 3, 3]
    assert [lasting(one, whole=False).count for one in (-60, 0, 9.9, 10, 25)] == [0, 0, 0, 1, 2]


@given(st.floats(0, 5000), st.booleans())
def test_they_cover_it_without_a_gap(minutes: float, whole: bool) -> None:  # noqa: FBT001 - given by hypothesis
    grid = lasting(minutes, whole=whole)
    cuts = [grid.at(number) for number in range(grid.count)]
    assert all(one[1] == other[0] for one, other in pairwise(cuts))
    if whole:
        assert (cuts[0][0], cuts[-1][1]) == (grid.begins, grid.ends)


@given(st.lists(st.integers(0, 40), max_size=6), st.integers(1, 30))
def test_in_as_few_rounds_as_there_can_be_everything_came_once(counts: list[int], at_once: int) -> None:
    grids = [lasting(count * 10, whole=False) for count in counts]
    rounds, total = Rounds(at_once), sum(counts)
    seen: list[tuple[int, int]] = []
    for _ in range(-(-total // at_once)):
        now = [(index, number) for index, numbers in rounds.next(grids) for number in numbers]
        assert 0 < len(now) <= at_once
        seen += now
    assert seen == [(index, number) for index, count in enumerate(counts) for number in range(count)]


def test_what_became_less_begins_anew() -> None:
    rounds = Rounds(5)
    list(rounds.next([lasting(80)]))
    assert [list(numbers) for _, numbers in rounds.next([lasting(30)])] == [[0, 1, 2]]


def test_a_clock_that_stood_in_another_age_costs_no_memory() -> None:
    never = Grid(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), timedelta(minutes=1), whole=True)
    ((index, numbers),) = Rounds().next([never])
    assert (index, len(numbers)) == (0, 10_000)
