"""Whatever is told, in whatever order: the last word counts, nothing is lost, the tables are those of the entries."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capture import Capture, Device, Observation, Parts, rfc3339
from agent.context import Malformed, Sort, about_device, told_of
from agent.joining import held_by
from agent.journal import batches, facts
from tests.context.conftest import CAR, NOON, WORN, Rig, seconds
from tests.spine.make import digest

HOURS = st.integers(-12, 12)
WORDS = st.tuples(st.sampled_from(["1", "2", None]), HOURS, st.one_of(st.none(), st.integers(0, 8)))
CAPTURES = st.integers(-12, 12)


def expected(words: list[tuple[str | None, int, int | None]], at: float) -> str | None:
    """By the rule as it is written down: a word without an end lasts until the next that was known when it was told."""
    stands: list[tuple[float, float, str | None]] = []
    for officer, since, length in words:
        later = [one[0] for one in stands if one[0] > since]
        end = since + length if length is not None else min(later, default=float("inf"))
        if length is None and not later:  # it ends the one that went on
            stands = [(b, since if e == float("inf") else e, o) for b, e, o in stands]
        stands.append((since, end, officer))
    holders = [officer for b, e, officer in stands if b <= at < e]
    return holders[-1] if holders else None


@settings(max_examples=20, deadline=None)
@given(st.lists(WORDS, max_size=8), st.lists(CAPTURES, max_size=4, unique=True))
def test_assignments(words: list[tuple[str | None, int, int | None]], captures: list[int]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(Path(folder), CAR)
            await rig.desk.open()
            await rig.tell(WORN.id, "clock.compared", 0, offset_us=0, uncertainty_us=1000)
            half = len(captures) // 2
            made = {hour: await rig.hold(f"{hour}", hour * 3600 + 1800, device=WORN) for hour in captures[:half]}
            for officer, since, length in words:
                detail: dict[str, Any] = {"officer": officer, "from": rfc3339(seconds(since * 3600))}
                if length is not None:
                    detail["until"] = rfc3339(seconds((since + length) * 3600))
                await rig.tell(WORN.id, "assignment.officer", 0, **detail)
            made |= {hour: await rig.hold(f"{hour}", hour * 3600 + 1800, device=WORN) for hour in captures[half:]}
            await rig.settled()
            for hour in range(-12, 13):
                at = hour + 0.5
                told = await rig.desk.read(lambda journal, at=at: held_by(journal, [WORN.id], seconds(at * 3600)))
                said = told["officer"] and told["officer"]["officer"]
                assert said == expected(words, at), (words, at)
            for hour, capture in made.items():
                context = await rig.context(capture)
                officers = [] if context is None else [one["officer"] for one in context["officers"]]
                assert (officers or [None]) == [expected(words, hour + 0.5)], (words, hour)
            assert (await rig.verified()).problems == []
            await rig.desk.close()

    asyncio.run(run())


_WORDS = "vehicle.siren trigger.x assignment.officer assignment.unit incident clock.compared position x"
KINDS = st.sampled_from(_WORDS.split())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=12) | st.just("2026-11-22T07:00:00Z"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_MEMBERS = "on officer unit device incident id from until category time withdrawn latitude longitude offset_us"
NAMES = st.sampled_from(_MEMBERS.split())


@settings(max_examples=200, deadline=None)
@given(KINDS, st.dictionaries(NAMES, VALUES, max_size=6))
def test_whatever_a_driver_tells_is_understood_or_is_not(kind: str, detail: dict[str, Any]) -> None:
    try:
        told_of(Observation("dock:1", kind, NOON, detail))
    except Malformed:
        return


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(KINDS, st.dictionaries(NAMES, VALUES, max_size=4)), max_size=6))
def test_whatever_a_driver_tells_is_kept(told: list[tuple[str, dict[str, Any]]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            rig = Rig(Path(folder), CAR)
            await rig.desk.open()
            await rig.hold("a", 0)
            for number, (kind, detail) in enumerate(told):
                await rig.joining.observe(Observation("dock:1", kind, seconds(number), detail))
            await rig.hold("b", 10, device=Device("dock:1", "in_car", "dock"))
            await rig.settled()
            assert (await rig.verified()).problems == []
            await rig.desk.close()

    asyncio.run(run())


@pytest.mark.parametrize("year", [1, 1601, 1970, 1979, 2200, 9999])
async def test_a_capture_of_any_year_is_held(rig: Rig, year: int) -> None:
    """Whatever a device says of its time, and whatever was measured of its clock."""
    began_at = NOON.replace(year=year)
    claims = {"media": {"duration": "604800.000"}}
    for offset in (None, -(10**15), 10**15, 3 * 10**15):
        if offset is not None:
            await rig.tell(WORN.id, "clock.compared", 0, offset_us=offset, uncertainty_us=1)
        capture = Capture(WORN, f"{offset}", began_at, 3, claims=claims)
        await rig.desk.write(lambda journal, one=capture: journal.hold(one, digest(one.key), Parts()))
    await rig.tell(WORN.id, "assignment.officer", 0, officer="1", **{"from": "1980-01-07T00:00:00Z"})
    await rig.settled()
    assert (await rig.verified()).problems == []


@pytest.mark.parametrize("name", ["", "x" * 1025, "a\nb", "\ud800"])
async def test_what_has_no_plain_name_is_refused_and_hurts_nothing(rig: Rig, name: str) -> None:
    for kind in ("position", "vehicle.siren", "x"):
        with pytest.raises(ValueError, match="cannot be a device or a kind"):
            await rig.joining.observe(Observation(name, kind, NOON, {"on": True}))
        with pytest.raises(ValueError, match="cannot be a device or a kind"):
            await rig.joining.observe(Observation("dock:1", name, NOON, {"on": True}))
    await rig.settled()
    assert (await rig.verified()).problems == []


async def test_an_interval_of_any_length_is_found_by_index(rig: Rig) -> None:
    lengths = [0, 1, 15, 16, 17, 255, 256, 4095, 4096, 86_400, 7 * 86_400, 10**8, 14 * 10**8]
    for length in lengths:
        detail = {"unit": f"U{length}", "from": rfc3339(seconds(-length)), "until": rfc3339(seconds(0))}
        await rig.tell("cam", "assignment.unit", 0, **detail)
    for at in (-0.001, 0.0):
        moment = seconds(at)
        found = await rig.desk.read(
            lambda journal, moment=moment: facts.overlapping(journal, Sort.UNIT, [about_device("cam")], moment, moment)
        )
        assert {fact.value for fact in found} == {f"u{length}" for length in lengths if at == 0.0 or length}


async def test_batches_are_bounded_and_cut_where_they_must_be(rig: Rig) -> None:
    for number in range(2500):
        await rig.tell("gnss:1", "position", number / 100, latitude="1", longitude="2")
    await rig.tell("gnss:1", "position", 10_000, latitude="1", longitude="2")  # hours later
    await rig.tell("gnss:1", "position", 5, latitude="1", longitude="2")  # its clock went back
    await rig.tell("gnss:2", "position", 5, note="x" * 10_000)
    await rig.joining.flush()
    rows = await rig.sql("SELECT about, count, last - first FROM batch ORDER BY seq")
    assert sum(count for _, count, _ in rows) == 2503
    assert all(
        count <= batches.COUNT_MAX and span <= batches.SPAN_MAX / timedelta(microseconds=1) for _, count, span in rows
    )
    content = await rig.desk.read(lambda journal: batches.opened(journal, journal.leaves.size - 1))
    assert b"left_out" in content
    assert len(content) < 1000
    assert (await rig.verified()).problems == []
