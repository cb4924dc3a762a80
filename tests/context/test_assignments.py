"""Whose a device was: the last word counts for its time, every word stays, and captures are found by what counts."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import rfc3339
from agent.errors import Refusal
from agent.joining import assign, assign_all, held_by, officers_of
from agent.joining.roster import Roster
from agent.journal import queries
from agent.station import assigning, views
from tests.context.conftest import CAMERA, WORN, Rig, seconds

if TYPE_CHECKING:
    from pathlib import Path

    from agent.journal import Journal

ANNA = {"actor": "user:anna(1000)", "why": "handed out at the start of the shift"}


async def assigned(
    rig: Rig, device: str, since: float, until: float | None = None, **word: str | None
) -> dict[str, Any]:
    asked = {"device": device, "from": rfc3339(seconds(since)), **word}
    asked |= {} if until is None else {"until": rfc3339(seconds(until))}
    return await rig.desk.write(lambda journal: assign(journal, rig.joining.options, asked, **ANNA))


async def officers(rig: Rig, capture: str) -> list[tuple[str | None, str]]:
    context = await rig.context(capture)
    return [] if context is None else [(one["officer"], one["overlap"]) for one in context["officers"]]


async def compared(rig: Rig, device: str = WORN.id) -> None:
    await rig.tell(device, "clock.compared", 0, offset_us=0, uncertainty_us=1000)


async def test_a_capture_belongs_to_whoever_had_the_device_then(rig: Rig) -> None:
    await compared(rig)
    morning, evening = await rig.hold("morning", 0, device=WORN), await rig.hold("evening", 36000, device=WORN)
    first = await assigned(rig, "sn-bwc-1007", -3600, officer="4471")  # by its serial number
    await assigned(rig, WORN.id, 30000, officer="5520")
    await rig.settled()
    assert await officers(rig, morning) == [("4471", "certain")]
    assert await officers(rig, evening) == [("5520", "certain")]
    context = await rig.context(morning)
    assert context is not None
    assert context["officers"][0]["entry"] == first["entry"]
    assert context["officers"][0]["by"] == "user:anna(1000)"
    assert await rig.found(officer="4471") == ["morning"]
    assert await rig.found(officer="5520") == ["evening"]
    assert (await rig.verified()).problems == []


async def test_by_id_or_by_serial_number_it_is_one_device(rig: Rig) -> None:
    await rig.hold("a", 0, device=WORN)
    by_serial = await assigned(rig, "sn-bwc-1007", 3600, officer="1")
    late = await assigned(rig, WORN.id, -3600, officer="2")
    assert by_serial["device"] == late["device"] == WORN.id
    assert late["until"] == rfc3339(seconds(3600)), "the late word ends where the other begins"
    for name in (WORN.id, "SN-BWC-1007"):
        told = await rig.desk.read(lambda journal, name=name: assigning.assigned(journal, rig.joining.options, [name]))
        assert told["officer"]["officer"] == "1"
        assert [one["officer"] for one in told["words"]] == ["2", "1"]


async def test_a_correction_is_an_entry_and_touches_no_other(rig: Rig) -> None:
    await compared(rig)
    capture = await rig.hold("a", 0, device=WORN, officer="4471")
    await assigned(rig, WORN.id, -3600, officer="4471")
    await rig.settled()
    leaves = await rig.sql("SELECT seq, leaf FROM entry ORDER BY seq")
    await assigned(rig, WORN.id, -60, 600, officer="PC 5520")
    await rig.settled()
    assert (await rig.sql("SELECT seq, leaf FROM entry ORDER BY seq"))[: len(leaves)] == leaves
    assert await officers(rig, capture) == [("PC 5520", "certain")]
    assert await rig.found(officer="pc 5520") == ["a"]
    assert await rig.found(officer="4471") == ["a"], "its own claim still finds it"
    told = await rig.desk.read(lambda journal: views.capture(journal, capture))
    belongs = told["capture"]["context"]
    assert belongs["claimed"]["officer"] == ["4471"]
    assert belongs["officer"] == ["PC 5520"]
    assert [one["officers"][0]["officer"] for one in belongs["before"]] == ["4471"]
    assert belongs["now"]["entry"] == told["story"][-1]["predicate"]["seq"]
    assert told["story"][-1]["predicate"]["instead_of"] == belongs["before"][0]["entry"]
    assert (await rig.verified()).problems == []


async def test_who_was_assigned_wrongly_no_longer_finds_it(rig: Rig) -> None:
    await rig.hold("a", 0, device=WORN)
    await assigned(rig, WORN.id, -3600, officer="4471")
    await rig.settled()
    assert await rig.found(officer="4471") == ["a"]
    await assigned(rig, WORN.id, -3600, officer="5520")
    await rig.settled()
    assert await rig.found(officer="4471") == []
    assert await rig.found(officer="5520") == ["a"]
    assert (await rig.verified()).problems == []


async def test_unassigned_is_a_word_of_its_own(rig: Rig) -> None:
    await compared(rig)
    capture = await rig.hold("a", 0, length=600, device=WORN)
    await assigned(rig, WORN.id, -3600, officer="4471")
    await assigned(rig, WORN.id, 300, officer=None)
    await rig.settled()
    assert await officers(rig, capture) == [("4471", "certain"), (None, "certain")]
    told = await rig.desk.read(lambda journal: held_by(journal, [WORN.id]))
    assert told["officer"]["officer"] is None
    assert told["officer"]["by"] == "user:anna(1000)"
    assert told["unit"] is None


async def test_a_gap_between_two_words_is_told(rig: Rig) -> None:
    await compared(rig)
    capture = await rig.hold("a", 0, length=900, device=WORN)
    await assigned(rig, WORN.id, -60, 300, officer="4471")
    await assigned(rig, WORN.id, 600, 1200, officer="5520")
    await rig.settled()
    assert await officers(rig, capture) == [("4471", "certain"), (None, "certain"), ("5520", "certain")]
    context = await rig.context(capture)
    assert context is not None
    assert context["officers"][1]["rule"] == "nobody was assigned"


async def test_a_late_word_without_an_end_lasts_until_the_next_one_that_is_known(rig: Rig) -> None:
    await rig.hold("a", 0, device=WORN)
    first = await assigned(rig, WORN.id, 0, officer="1")
    await assigned(rig, WORN.id, 3600, officer="2")
    late = await assigned(rig, WORN.id, -3600, officer="3")
    assert first["until"] is None
    assert late["until"] == rfc3339(seconds(0)), "it does not run over what is known to follow"

    async def had(at: float) -> object:
        told = await rig.desk.read(lambda journal: held_by(journal, [WORN.id], seconds(at)))
        return told["officer"] and told["officer"]["officer"]

    assert [await had(at) for at in (-7200, -10, 10, 3599, 3600, 90000)] == [None, "3", "1", "1", "2", "2"]
    assert (await rig.verified()).problems == []


async def test_a_unit_of_a_vehicle_and_what_finds_it(rig: Rig) -> None:
    await compared(rig, CAMERA.id)
    await rig.hold("a", 0)
    await rig.hold("b", 0, device=WORN)
    await assigned(rig, "CAR-17", -60, unit="B12")
    await rig.settled()
    assert await rig.found(unit="b12") == ["a"]


async def test_what_cannot_be_an_assignment_is_refused_and_nothing_is_written(rig: Rig) -> None:
    await rig.hold("a", 0, device=WORN)
    size = await rig.desk.read(lambda journal: journal.leaves.size)
    for asked, said in (
        ({"device": WORN.id}, "an officer or a unit"),
        ({"device": WORN.id, "officer": "1", "unit": "2"}, "one at a time"),
        ({"device": "", "officer": "1"}, "which device"),
        ({"device": "nobody:1", "officer": "1"}, "no device is known"),
        ({"device": WORN.id, "officer": "x" * 201}, "1 to 200"),
        ({"device": WORN.id, "officer": "a\x00b"}, "printable"),
        ({"device": WORN.id, "officer": ["1"]}, "a word"),
        ({"device": WORN.id, "officer": "1", "from": "yesterday"}, "a time with its zone"),
        ({"device": WORN.id, "officer": "1", "from": "2026-11-22T07:00:00"}, "a time with its zone"),
        ({"device": WORN.id, "officer": "1", "from": "0001-01-01T00:00:00Z"}, "a time with its zone"),
        ({"device": WORN.id, "officer": "1", "from": rfc3339(seconds(1)), "until": rfc3339(seconds(0))}, "before"),
    ):
        with pytest.raises(Refusal, match=said):
            await rig.desk.write(lambda journal, asked=asked: assign(journal, rig.joining.options, asked, **ANNA))
    with pytest.raises(Refusal, match="assignment 2: no device"):
        await rig.desk.write(
            lambda journal: assign_all(
                journal, rig.joining.options,
                [{"device": WORN.id, "officer": "1"}, {"device": "x", "officer": "1"}], **ANNA, seen=(),
            )
        )  # fmt: skip
    assert await rig.desk.read(lambda journal: journal.leaves.size) == size


async def test_the_same_file_twice_is_written_once(rig: Rig) -> None:
    await rig.hold("a", 0, device=WORN)
    rows = [
        {"device": WORN.id, "officer": "1", "from": rfc3339(seconds(0)), "until": rfc3339(seconds(60))},
        {"device": "new-camera", "officer": "2", "from": rfc3339(seconds(0)), "new": True},
    ]

    def read(journal: Journal) -> list[bool]:
        told = assigning.write(
            journal, rig.joining.options, {"assignments": rows, "why": "roster"}, actor="anna", at_once=True
        )
        return [one["already"] for one in told["assignments"]]

    assert await rig.desk.write(read) == [False, False]
    size = await rig.desk.read(lambda journal: journal.leaves.size)
    assert await rig.desk.write(read) == [True, True]
    assert await rig.desk.read(lambda journal: journal.leaves.size) == size
    words = await rig.desk.read(lambda journal: assigning.assigned(journal, rig.joining.options, [WORN.id]))
    assert [(one["officer"], one["why"]) for one in words["words"]] == [("1", "roster")]
    json.dumps(words)


async def test_a_device_can_say_itself_whose_it_is(rig: Rig) -> None:
    capture = await rig.hold("a", 0, device=WORN)
    await rig.tell(WORN.id, "assignment.officer", -60, officer=4471)  # a number, as some do
    await rig.settled()
    assert await officers(rig, capture) == [(None, "possible"), ("4471", "likely")]
    story = await rig.desk.read(lambda journal: list(queries.story(journal, capture)))
    assert story[-1]["predicate"]["context"]["officers"][1]["by"] == "agent"


async def test_a_change_of_the_roster_is_an_assignment_from_then_on(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "roster.json"
    roster = Roster(rig.desk, file)
    options = rig.joining.options

    async def written(names: object) -> int:
        file.write_text(names if isinstance(names, str) else json.dumps(names))
        os.utime(file, ns=(0, rig.at.microsecond + 1000 * await rig.desk.read(lambda journal: journal.leaves.size)))
        rig.at += timedelta(hours=1)
        return await roster.look(options)

    assert await roster.look(options) == 0, "there is none yet"
    assert await written({"SN-BWC-1007": "J. Singh", "other": "M. Roy"}) == 2
    assert await written({"SN-BWC-1007": "J. Singh", "other": "M. Roy "}) == 0
    told = await rig.desk.read(lambda journal: held_by(journal, [WORN.id, "SN-BWC-1007"]))
    assert (told["officer"]["officer"], told["officer"]["by"]) == ("J. Singh", "roster")
    await rig.desk.write(
        lambda journal: assign(journal, options, {"device": "other", "officer": "K", "new": True}, **ANNA)
    )
    assert await written({"SN-BWC-1007": "A. Lind", "other": "M. Roy"}) == 1
    shown = await rig.desk.read(lambda journal: officers_of(journal, [(WORN.id, "SN-BWC-1007"), ("other", None)]))
    assert shown == {WORN.id: "A. Lind", "other": "K"}, "what a person said meanwhile counts on"
    for broken in ("", "[", "[]", '"x"'):
        assert await written(broken) == 0
    long = {"SN-BWC-1007": "A. Lind", "other": "M. Roy", "x" * 100_000: "J", "a\nb": "J", "": "J", "n": 5}
    assert await written(long) == 0, "what cannot be a device is passed over"
    assert await Roster(rig.desk, file).look(options) == 0
    assert await written({}) == 2
    shown = await rig.desk.read(lambda journal: officers_of(journal, [(WORN.id, "SN-BWC-1007"), ("other", None)]))
    assert shown == {WORN.id: "", "other": ""}
    assert (await rig.verified()).problems == []
