"""Entries of a tablet, from an invitation to a receipt: held byte for byte, answered, flagged, never doubled."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing
from agent.config import Policy
from agent.errors import DeviceRefused
from agent.journal import queries
from agent.testing.uplinks import BenchUplink
from drivers.enotes.authority import Authority
from drivers.enotes.emulator import Notebook, Tablet
from drivers.enotes.emulator.notebook import Signer
from drivers.enotes.emulator.tablet import Refused
from drivers.enotes.inviting import enrolment
from drivers.enotes.receiving import Receiving
from tests.drivers.enotes.rig import scanned

if TYPE_CHECKING:
    from drivers.enotes import EnoteTablets
    from tests.drivers.enotes.conftest import Desk


def found(tablet: Tablet) -> list[str]:
    return [one["status"] for one in tablet.said]


async def told(driver: EnoteTablets, word: str, **arguments: Any) -> Any:  # noqa: ANN401
    entries: list[Any] = []

    async def record(detail: Any) -> None:  # noqa: ANN401
        entries.append(detail)

    answer = await driver.order(word, arguments, actor="test", record=record)
    return answer, entries


def kept(desk: Desk) -> Counter[str]:
    return Counter(status for (status,) in desk.index("SELECT status FROM envelope"))


async def test_a_shift(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        book = tablet.notebook
        note = book.create("Attended 42 Main St.", incident="urn:emergency:uid:incidentid:7f2c:cad.example")
        book.append(note, " One occupant 👮🏽 said “non”.")
        book.correct(note, "42", "24", "wrong house number")
        book.attach(note, ("photo.jpg", b"not a photograph"))
        book.finalize(note)
        book.supplement(note, "Called back.")
        await tablet.sync()
        assert found(tablet) == ["ok"] * 6, tablet.said
        assert sorted(await desk.lines()) == sorted(book.written)
        assert (book.outbox, book.files) == ([], [])
        captures = await desk.held()
        assert len(captures) == 7
        first = next(one for one in captures.values() if one.clip == 1)
        assert (first.group, first.origin.device) == (book.urn, "enotes:TAB-0117")
        for wanted in ({"officer": "4471"}, {"incident": "urn:emergency:uid:incidentid:7f2c:cad.example"}):
            search = queries.Search(**wanted)
            assert first.id in {
                one.id for one in await desk.station.desk.read(lambda j, s=search: queries.listing(j, s))
            }
        story = await desk.station.desk.read(lambda journal: list(queries.story(journal, first.id)))
        assert "Attended" not in json.dumps(story), "the text of a note stands in the log"
        (receipt,) = tablet.receipts
        assert [entry["status"] for entry in receipt["entries"]] == ["ok"] * 6


@pytest.mark.parametrize("wire", ["l", "ltdt"])
async def test_what_breaks_on_the_wire_doubles_nothing(desk: Desk, wire: str) -> None:
    async with desk.open(), desk.tablet(wire=wire) as tablet:
        note = tablet.notebook.create("text")
        for number in range(5):
            tablet.notebook.append(note, f" {number}")
        await tablet.sync()
        assert set(found(tablet)) <= {"ok", "duplicate"}
        assert kept(desk) == {"ok": 6}
        assert sorted(await desk.lines()) == sorted(tablet.notebook.written)


async def test_weeks_offline_then_everything_at_once_also_after_a_restart(desk: Desk) -> None:
    async with Tablet(desk.folder / "tablet") as tablet:
        async with desk.open():
            await tablet.enrol(desk.first)
        for number in range(40):
            note = tablet.notebook.create(f"note {number}")
            tablet.notebook.append(note, " more")
            tablet.notebook.finalize(note)
        half = tablet.notebook.outbox[:60]
        async with desk.open():
            await tablet.send(half)
        await tablet.hang_up()
        async with desk.open():
            await tablet.sync()
        await tablet.hang_up()
    assert found(tablet) == ["ok"] * 120
    assert kept(desk) == {"ok": 120}


async def test_a_gap_is_flagged_and_closed(desk: Desk) -> None:
    async with desk.open() as driver, desk.tablet() as tablet:
        for number in range(6):
            tablet.notebook.create(f"note {number}")
        lines = list(tablet.notebook.outbox)
        await tablet.send(lines[:2] + lines[3:])
        assert found(tablet) == ["ok", "ok", "chain_gap", "chain_gap", "chain_gap"]
        assert desk.station.observed[-1].kind == "enote.key"
        await driver._standings.look(driver_shelf(driver))
        assert [notice.id for notice in driver.notices()] == ["enotes.flagged"]
        await tablet.send([lines[2]])
        assert found(tablet)[-1] == "ok"
        last = desk.station.observed[-1]
        assert last.kind == "enote.status_changed"
        assert last.detail["count"] == 3
        assert [one["status"] for one in last.detail["changed"]] == ["ok"] * 3
        assert kept(desk) == {"ok": 6}
        await driver._standings.look(driver_shelf(driver))
        assert driver.notices() == []
        again = await tablet._ask("GET", f"/enotes/v1/receipts?notebook={tablet.notebook.urn}&from=3", None, {})
        receipt = tablet.opened(again["receipt"])
        assert [(entry["seq"], entry["status"]) for entry in receipt["entries"]] == [(n, "ok") for n in (3, 4, 5, 6)]


def driver_shelf(driver: EnoteTablets) -> Any:  # noqa: ANN401
    return driver._orders._shelf


async def test_entries_in_reverse_one_by_one(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        for number in range(8):
            tablet.notebook.create(f"note {number}")
        for line in reversed(list(tablet.notebook.outbox)):
            await tablet.send([line])
        assert found(tablet) == ["chain_gap"] * 7 + ["ok"]
        assert kept(desk) == {"ok": 8}


async def test_a_tablet_that_was_restored_from_a_backup_makes_a_fork(desk: Desk) -> None:
    async with desk.open() as driver, desk.tablet() as tablet:
        tablet.notebook.create("one")
        backup = tablet.notebook.backup()
        tablet.notebook.create("two, as it was")
        await tablet.sync()
        tablet.notebook = backup
        backup.create("two, after the backup")
        backup.create("three")
        await tablet.sync()
        assert found(tablet) == ["ok", "ok", "duplicate", "fork", "chain_gap"]
        assert len(await desk.lines()) == 4, "something was merged or dropped"
        answer, entries = await told(driver, "seen", notebook=backup.urn, why="the officer was asked")
        assert answer == {"seen": 2}
        assert entries == [{"notebook": backup.urn, "why": "the officer was asked"}]
        await driver._standings.look(driver_shelf(driver))
        assert driver.notices() == []
        assert kept(desk) == {"ok": 2, "fork": 1, "chain_gap": 1}


async def test_another_officers_key_and_a_supervisors_review(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, desk.tablet("TAB-0200", badge="9001") as sergeant:
        note = tablet.notebook.create("text")
        tablet.notebook.finalize(note)
        tablet.notebook.write("review", note, sergeant.signer, verdict="approved", comment="read")
        tablet.notebook.write("review", note, Signer("9001", "somebody else"), verdict="approved")
        await tablet.sync()
        assert found(tablet) == ["ok", "ok", "ok", "unknown_key"]
        impostor = Signer("9001", "Sgt", tablet.signer.key)
        tablet.notebook.prev = tablet.notebook.backup().prev
        tablet.notebook.write("review", note, impostor, verdict="approved")
        await tablet.sync()
        assert found(tablet)[-1] == "unknown_key"
        assert "names another author" in tablet.said[-1]["why"][0]


async def test_a_certificate_of_the_authority_that_was_never_enrolled(desk: Desk) -> None:
    """Kept and flagged: what it says may be all that there is."""
    async with desk.open(), desk.tablet() as tablet:
        _, pem = Authority(desk.options.state).issue(tablet.csr(), "TAB-9999", 1)
        tablet.wear(pem.decode())
        await tablet.hang_up()
        tablet.notebook.create("text")
        await tablet.sync()
        assert found(tablet) == ["ok"]
        assert set(tablet.said[0]["flags"]) == {"tablet_unknown", "other_tablet"}
        assert (await desk.station.only()).origin.device == "enotes:TAB-9999"
        with pytest.raises(Refused, match="403"):
            await tablet._ask("GET", f"/enotes/v1/receipts?notebook={tablet.notebook.urn}&from=1", None, {})


async def test_the_same_bytes_by_another_tablet_are_one_capture(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, desk.tablet("TAB-0200") as other:
        tablet.notebook.create("text")
        lines = list(tablet.notebook.outbox)
        await tablet.send(lines)
        await other.send(lines)
        assert found(other) == ["duplicate"]
        assert len(await desk.station.holdings()) == 1


async def test_a_lost_tablet(desk: Desk) -> None:
    """What it signed after it was lost is kept and flagged, also what was good before we knew."""
    async with desk.open() as driver, desk.tablet() as tablet:
        tablet.notebook.clock_off = timedelta(minutes=-4)
        tablet.notebook.create("before it was lost")
        lost_at = (tablet.notebook.now() + timedelta(minutes=1)).isoformat()
        tablet.notebook.clock_off = timedelta(minutes=-1)
        tablet.notebook.create("by whoever has it now")
        late = tablet.notebook.create("comes later, and says that it is older")
        held_back = tablet.notebook.outbox.pop()
        await tablet.sync()
        assert found(tablet) == ["ok", "ok"]
        assert late
        answer, entries = await told(driver, "revoke", tablet="TAB-0117", why="stolen", since=lost_at)
        assert len(answer["keys"]) == 1
        assert entries[0]["why"] == "stolen"
        assert kept(desk) == {"ok": 1, "unknown_key": 1}
        assert desk.station.observed[-1].kind == "enote.status_changed"
        await tablet.send([held_back])
        assert found(tablet)[-1] == "unknown_key"
        assert {"tablet_revoked", "came_after_revocation"} <= set(tablet.said[-1]["flags"])
        with pytest.raises(Refused, match="403"):
            await tablet.rotate()
        assert len(await desk.lines()) == 3
        # It was found again, and set up anew: what it signed with its old key stays what it is.
        tablet.signer = tablet.notebook.signer = Signer("4471", "PC A. Sample")
        await tablet.hang_up()
        await tablet.enrol(scanned(enrolment(desk.options, tablet="TAB-0117")))
        assert kept(desk) == {"ok": 1, "unknown_key": 2}
        tablet.notebook.clock_off = timedelta(0)
        tablet.notebook.create("with its new key")
        await tablet.sync()
        assert found(tablet)[-1] == "chain_gap", "what it follows is flagged"
        keys, _ = await told(driver, "keys")
        assert [(key["how"], key["revoked"]) for key in keys] == [("enrolled", True), ("enrolled again", False)]


async def test_who_has_a_lost_tablet_gains_nothing_where_its_name_goes_on(desk: Desk) -> None:
    async with desk.open() as driver, desk.tablet() as lost:
        lost.notebook.create("before it was lost")
        await lost.sync()
        await told(driver, "revoke", tablet="TAB-0117", why="stolen")
        async with Tablet(desk.folder / "another") as another:
            await another.enrol(scanned(enrolment(desk.options, tablet="TAB-0117")))
            another.notebook.create("on the one that took its place")
            await another.sync()
            assert (found(another), another.said[-1]["flags"]) == (["ok"], [])
        with pytest.raises(Refused, match="403"):
            await lost._ask("GET", f"/enotes/v1/receipts?notebook={lost.notebook.urn}", None, {})
        lost.notebook.create("by whoever has it now")
        await lost.send(lost.notebook.outbox)
        assert {"tablet_unknown", "came_after_revocation"} <= set(lost.said[-1]["flags"])


async def test_clocks_that_contradict_one_another(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        book = tablet.notebook
        book.create("well", occurred_at="2026-11-22T02:41:00-05:00", late=True, reason="no paper at hand")
        book.clock_off = timedelta(hours=3)
        book.create("ahead")
        book.clock_off = timedelta(0)
        book.create("back")
        book.create("later than it was written", occurred_at="2999-01-01T00:00:00Z")
        book.create("late without a word", occurred_at="2026-01-01T00:00:00Z")
        await tablet.sync()
        assert found(tablet) == ["ok", "ok", "ok", "ok", "late"]
        flags = [one["flags"] for one in tablet.said]
        assert flags[0] == ["late"]
        assert flags[1] == ["recorded_in_the_future"]
        assert flags[2] == ["clock_went_back"]
        assert flags[3] == ["occurred_after_recorded"]
        assert flags[4] == ["late"]


async def test_a_clock_that_was_wrong_when_it_was_enrolled_is_set_first(desk: Desk) -> None:
    async with desk.open():
        tablet = Tablet(desk.folder / "wrong")
        tablet.notebook.clock_off = timedelta(minutes=6)
        with pytest.raises(Refused, match="do not agree to five minutes"):
            await tablet.enrol(desk.first)
        tablet.notebook.clock_off = timedelta(minutes=-4)
        assert (await tablet.enrol(desk.first))["badge"] == "4471"


async def test_acts_that_the_note_does_not_permit(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        book = tablet.notebook
        note = book.create("text")
        book.finalize(note)
        book.append(note, "after the end")
        book.write("finalize", "n-none", text_sha256="0" * 64)
        book.supplement(note, "wrong number of acts")
        other = book.create("another")
        book.write("void_page", other, reason="by mistake")
        book.append(other, "after it was void")
        await tablet.sync()
        assert found(tablet) == ["ok", "ok", *["out_of_order"] * 3, "ok", "ok", "out_of_order"]


@pytest.mark.parametrize("desk", [{"station_more": {"watermark": 1 << 62}}], indirect=True)
async def test_without_room_nothing_is_promised(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        tablet.notebook.create("text")
        with pytest.raises(Refused, match="507"):
            await tablet.send(tablet.notebook.outbox)
        assert kept(desk) == {}
        desk.station.spool.watermark = 0
        await tablet.sync()
        assert found(tablet) == ["ok"]


@pytest.mark.parametrize("step", ["_known", "_note"])
async def test_an_index_that_fails_promises_nothing_and_doubles_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Not taken and told so, or taken and told that it was not: sent again it is the same."""

    def fails(*_: object) -> None:
        raise DeviceRefused("the index cannot be written")

    async with desk.open(), desk.tablet() as tablet:
        tablet.notebook.create("text")
        with monkeypatch.context() as broken:
            broken.setattr(Receiving, step, fails)
            with pytest.raises(Refused, match="503"):
                await tablet.send(tablet.notebook.outbox)
        assert kept(desk) == {}
        await tablet.sync()
        assert found(tablet) == ["ok"]
        assert len(await desk.lines()) == 1


@pytest.mark.parametrize(
    "desk",
    [{"more": {"keep_until": "dems"}, "station_more": {"policy": Policy(device="release", receipt="digest")}}],
    indirect=True,
)
async def test_a_tablet_that_keeps_until_the_dems_has_it(desk: Desk) -> None:
    """The tablet sends again what it still has: that is the second reading; then the receipt says that it may go."""
    desk.station.connect(BenchUplink())
    async with desk.open(), desk.tablet() as tablet:
        tablet.notebook.create("text")
        tablet.notebook.create("more")
        lines = list(tablet.notebook.outbox)
        await tablet.send(lines)
        assert [entry["remove"] for entry in tablet.receipts[-1]["entries"]] == [False, False]
        assert len(tablet.notebook.outbox) == 2
        await desk.station.send()
        assert await desk.station.count(Standing.RECEIPTED) == 2
        await tablet.send(lines)
        assert [entry["remove"] for entry in tablet.receipts[-1]["entries"]] == [True, True]
        assert tablet.notebook.outbox == []
        assert await desk.station.count(Standing.RELEASED) == 2


async def test_uploads_side_by_side(desk: Desk) -> None:
    """One at a time for each tablet; tablets do not wait for one another."""
    async with desk.open():
        tablets = []
        for number in range(4):
            async with desk.tablet(f"TAB-{number:04}", badge=str(number)) as tablet:
                pass
            tablets.append(tablet)
            for text in range(30):
                tablet.notebook.create(f"{number} {text}")
        await asyncio.gather(*(tablet.sync() for tablet in tablets))
        assert kept(desk) == {"ok": 120}
        for tablet in tablets:
            await tablet.hang_up()


async def test_a_notebook_written_by_hand_of_another_tablet(desk: Desk) -> None:
    """Two notebooks in one upload, of which one begins in the middle."""
    async with desk.open(), desk.tablet() as tablet:
        second = Notebook(tablet.signer)
        for book in (tablet.notebook, second):
            book.create("one")
            book.create("two")
        await tablet.send([tablet.notebook.outbox[0], second.outbox[1], tablet.notebook.outbox[1]])
        assert found(tablet) == ["ok", "chain_gap", "ok"]
