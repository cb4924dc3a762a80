"""Triggers, positions and the clock's offset: what is joined to a capture, how sure it is, and what stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Priority
from agent.journal import batches, contexts, queries
from agent.journal.verify import Verification
from tests.context.conftest import CAMERA, CAR, NOON, WORN, Rig, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.journal import Journal

RULES = {
    **CAR,
    "trigger": [
        {"kind": "vehicle.light_bar", "before": "30 s", "after": "10 s", "priority": "flagged"},
        {"kind": "trigger.gun", "priority": "use_of_force"},
    ],
}


@pytest.fixture
def options() -> dict[str, Any]:
    return RULES


async def measured(rig: Rig, device: str, offset: float, uncertainty: float = 0.5) -> int:
    micros = {"offset_us": int(offset * 1e6), "uncertainty_us": int(uncertainty * 1e6)}
    return await rig.tell(device, "clock.compared", 0, **micros)


def kinds(context: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    return [] if context is None else [(one["kind"], one["overlap"]) for one in context["marks"]]


@pytest.mark.parametrize("first", ["trigger", "capture"])
async def test_a_trigger_marks_the_captures_of_its_car_and_no_others(rig: Rig, first: str) -> None:
    await measured(rig, CAMERA.id, 0)

    async def trigger() -> None:
        await rig.tell("dock:17", "vehicle.light_bar", 100, on=True)
        await rig.tell("dock:17", "vehicle.light_bar", 200, on=False)

    if first == "trigger":
        await trigger()
    inside = await rig.hold("inside", 120)
    before = await rig.hold("before", 15)  # until 75 s: less than 30 s before
    after = await rig.hold("after", 205)
    long_before = await rig.hold("long before", 0)  # until 60 s
    other = await rig.hold("other", 120, device=WORN)
    if first == "capture":
        await trigger()
    await rig.settled()
    assert kinds(await rig.context(inside)) == [("vehicle.light_bar", "certain")]
    assert kinds(await rig.context(before)) == [("vehicle.light_bar", "certain")]
    assert kinds(await rig.context(after)) == [("vehicle.light_bar", "certain")]
    assert await rig.context(long_before) is None
    assert await rig.context(other) is None
    assert await rig.settled() == 0, "nothing new was told, and nothing is written"
    assert (await rig.verified()).problems == []


async def test_a_join_names_rule_sources_and_uncertainty(rig: Rig) -> None:
    clock = await measured(rig, CAMERA.id, 3600, uncertainty=2)
    on = await rig.tell("dock:17", "vehicle.light_bar", 100, on=True, time={"source": "station"})
    await rig.tell("dock:17", "vehicle.light_bar", 130, on=False)
    capture = await rig.hold("a", 3600 + 100)  # its clock is an hour fast
    await rig.settled()
    context = await rig.context(capture)
    assert context is not None
    (mark,) = context["marks"]
    assert mark == {
        "after": "10", "before": "30", "entry": on, "from": "2026-11-22T12:01:40.000Z", "kind": "vehicle.light_bar",
        "overlap": "certain", "rule": "vehicle and time", "until": "2026-11-22T12:02:10.000Z",
    }  # fmt: skip
    interval = context["interval"]
    assert interval["from"] == "2026-11-22T12:01:40.000Z"
    assert interval["duration"] == "60.000"
    assert interval["clock"]["entry"] == clock
    assert interval["clock"]["offset_us"] == 3_600_000_000
    # Two seconds of the comparison, and what the clock may have run off in the six hours until it: 100 ppm.
    assert 2_000_000 + 2_100_000 < interval["clock"]["uncertainty_us"] < 2_000_000 + 2_200_000


async def test_a_clock_that_began_at_1970_is_put_right_by_the_docking_that_brought_the_capture(rig: Rig) -> None:
    await measured(rig, CAMERA.id, 0)  # an earlier docking, when its battery was well
    rig.at += timedelta(days=1)
    since_1970 = (rig.at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    await measured(rig, CAMERA.id, -since_1970)
    at = (rig.at - NOON).total_seconds() - 100
    capture = await rig.hold("a", at - since_1970)
    await rig.tell("dock:17", "trigger.gun", at + 10)
    await rig.settled()
    assert kinds(await rig.context(capture)) == [("trigger.gun", "certain")]
    assert (await rig.verified()).problems == []


async def test_what_the_device_said_of_itself_stays(rig: Rig) -> None:
    await measured(rig, CAMERA.id, 3600)
    capture = await rig.hold("a", 3700, officer="4471")
    before = await rig.desk.read(lambda journal: list(queries.story(journal, capture)))
    await rig.tell("dock:17", "trigger.gun", 110)
    await rig.settled()
    story = await rig.desk.read(lambda journal: list(queries.story(journal, capture)))
    assert story[: len(before)] == before
    assert story[0]["predicate"]["capture"]["began_at"] == "2026-11-22T13:01:40.000Z"
    assert [entry["predicate"]["event"] for entry in story] == ["held", "capture.context"]


async def test_where_nobody_compared_the_clocks_nothing_is_certain(rig: Rig) -> None:
    await rig.tell("dock:17", "trigger.gun", 30)
    near, far = await rig.hold("near", 100), await rig.hold("far", 30 + 121)
    inside = await rig.hold("inside", 0)
    await rig.settled()
    assert kinds(await rig.context(near)) == [("trigger.gun", "possible")]
    assert kinds(await rig.context(inside)) == [("trigger.gun", "likely")]
    assert await rig.context(far) is None
    assert (await rig.context(inside) or {})["interval"]["clock"] is None


async def test_a_rule_makes_a_capture_more_urgent_and_says_nothing_against_a_person(rig: Rig) -> None:
    await measured(rig, CAMERA.id, 0)
    plain, ordered = await rig.hold("plain", 100), await rig.hold("ordered", 100)
    await rig.desk.write(lambda journal: journal.prioritise(ordered, Priority.BULK, actor="anna", why="no hurry"))
    await rig.tell("dock:17", "trigger.gun", 110)
    await rig.tell("dock:17", "vehicle.light_bar", 111)
    await rig.settled()
    priorities = [(await rig.desk.read(lambda journal, id_=id_: journal.get(id_))).priority for id_ in (plain, ordered)]
    assert priorities == [Priority.USE_OF_FORCE, Priority.BULK]
    assert (await rig.context(plain) or {})["priority"] == "use_of_force"
    assert {one.id: one.priority for one in rig.joined}[plain] is Priority.USE_OF_FORCE
    for id_ in (plain, ordered):  # which stays what it is, whenever it is sent
        kind = await rig.desk.read(lambda journal, id_=id_: contexts.class_of(journal, id_))
        assert kind is Priority.USE_OF_FORCE
    assert (await rig.context(ordered) or {})["class"] == "use_of_force"
    assert (await rig.verified()).problems == []


async def test_an_ignition_marks_nothing_unless_a_rule_says_so(rig: Rig) -> None:
    capture = await rig.hold("a", 0)
    await rig.tell("dock:17", "vehicle.ignition", -10, on=True)
    await rig.settled()
    assert await rig.context(capture) is None


async def test_a_light_bar_that_was_never_told_to_be_off_is_off_some_day(rig: Rig) -> None:
    await measured(rig, CAMERA.id, 0)
    await rig.tell("dock:17", "vehicle.light_bar", 0, on=True)
    await rig.tell("dock:17", "vehicle.light_bar", 5, on=True)  # said again
    soon, late = await rig.hold("soon", 3600), await rig.hold("late", 13 * 3600)
    await rig.settled()
    assert len(kinds(await rig.context(soon))) == 1
    assert await rig.context(late) is None
    assert (await rig.verified()).problems == []


async def test_positions_lie_in_batches_and_are_joined_by_time(rig: Rig) -> None:
    await measured(rig, CAMERA.id, 10)
    capture = await rig.hold("a", 110)
    for tenth in range(2000):
        at = tenth / 10
        detail = {"latitude": f"{42.98 + tenth / 1e6:.7f}", "longitude": "-81.2453000", "fix": 3}
        await rig.tell("gnss:1", "position", at, **detail, time={"source": "gnss", "uncertainty_us": 5000})
    await rig.settled()
    (track,) = (await rig.context(capture) or {})["track"]
    assert track["count"] == 601
    assert track["first"]["at"] == "2026-11-22T12:01:40.000Z"
    assert track["last"]["at"] == "2026-11-22T12:02:40.000Z"
    assert track["first"]["place"] == {"latitude": "42.9810000", "longitude": "-81.2453000"}
    assert track["first"]["time"] == {"source": "gnss", "uncertainty_us": 5000}
    assert track["rule"] == "vehicle and time"
    leaves = await rig.sql("SELECT count(*) FROM entry WHERE instr(leaf, 'observed.batch') > 0")
    assert leaves == [(2,)], "two thousand positions are two leaves here"
    assert (await rig.verified()).problems == []


async def test_a_time_whose_week_rolled_over_keeps_its_mark_and_is_not_used(rig: Rig) -> None:
    await measured(rig, CAMERA.id, 0)
    capture = await rig.hold("a", 0, length=120)
    rolled = {"latitude": "1.0", "longitude": "2.0", "time": {"source": "gnss", "week_rollover": 1}}
    await rig.tell("gnss:1", "position", -7168 * 86400, **rolled)
    await rig.joining.flush()
    (row,) = await rig.sql("SELECT seq FROM batch")
    stored = await rig.desk.read(lambda journal: contexts.current(journal, capture))
    assert stored is None  # it was heard today, and not at noon of that day
    content = await rig.desk.read(lambda journal: batches.opened(journal, row[0]))
    assert b'"week_rollover":1' in content
    assert seconds(-7168 * 86400).strftime("%Y-%m-%d").encode() in content
    await rig.settled()
    assert (await rig.verified()).problems == []


async def test_a_capture_without_a_time_is_joined_to_nothing(rig: Rig) -> None:
    capture = await rig.hold("a", None)
    await rig.tell("dock:17", "trigger.gun", 10)
    await rig.settled()
    assert await rig.context(capture) is None


async def test_what_cannot_be_understood_is_kept_and_says_so(rig: Rig) -> None:
    seq = await rig.tell("dock:17", "vehicle.siren", 0, on="yes")
    ((leaf,),) = await rig.sql("SELECT leaf FROM entry WHERE seq = ?", seq)
    assert b'"not_joined":"`on` is true, false or left out"' in leaf
    assert (await rig.verified()).problems == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("UPDATE batch SET content = x'00'", "cannot be read"),
        ("DELETE FROM batch", "are missing"),
        ("UPDATE batch SET about = 'device other'", "found under another device"),
        ("UPDATE fact SET began = began + 1000", "has otherwise"),
        ("UPDATE fact SET value = 'other' WHERE sort = 'mark'", "has otherwise"),
        ("DELETE FROM fact WHERE sort = 'mark'", "has otherwise"),
        ("INSERT INTO fact VALUES (0, 'mark', 'x', 'y', NULL, 1, 2, 1, NULL, NULL)", "entries tell"),
        ("UPDATE fact SET replaced = 1 WHERE sort = 'mark'", "entries tell"),
        ("DELETE FROM context", "has its context from entry None"),
        ("UPDATE context SET seq = 2", "has its context from"),
    ],
)
async def test_a_changed_table_is_found(rig: Rig, damage: str, said: str) -> None:
    await measured(rig, CAMERA.id, 0)
    await rig.tell("dock:17", "trigger.gun", 10)
    await rig.tell("gnss:1", "position", 5, latitude="1", longitude="2")
    await rig.hold("a", 0)
    await rig.settled()
    assert (await rig.verified()).problems == []
    await rig.desk.write(lambda journal: journal.connection.execute(damage))

    def found(journal: Journal) -> list[str]:
        work = Verification(journal)
        while not work.done:
            work.step(journal)
        return work.report().problems

    assert any(said in problem for problem in await rig.desk.read(found))
