"""What becomes of reads: passed by without a trace, or a capture of its own that a person answers."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from agent.capture import Observation, Priority, Standing, rfc3339
from agent.errors import Refusal
from agent.journal import queries
from drivers.alpr.hotlist.alerts import LINE
from drivers.alpr.hotlist.auditing import audited
from drivers.alpr.hotlist.counting import COUNT
from tests.drivers.hotlist.rig import CAMERA, Bench, read_of, trace, until

if TYPE_CHECKING:
    from pathlib import Path

    from agent.capture import Holding


async def claims(bench: Bench, held: Holding) -> dict[str, Any]:
    story = await bench.station.desk.read(lambda journal: list(queries.story(journal, held.id)))
    told: dict[str, Any] = story[0]["predicate"]["capture"]["claims"]
    return told


async def test_a_hit_is_a_capture_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        assert await bench.station.take(read_of("EVDKD42", likelihood=0.9)) is Standing.HELD
        held = await bench.station.only()
        assert held.priority is Priority.HIT
        hit = (await claims(bench, held))["hit"]
        assert (hit["rule"], hit["list"], hit["differences"], hit["sureness"]) == ("ocr(1)", "region", 1, "0.45")
        assert hit["list_sha256"] == driver.shelves["region"].about["source_sha256"]
        assert (hit["list_state"], hit["matches"]) == (driver.matcher.ages(driver.stamp())["region"][1].state, 1)
        with bench.archive(held) as archive:
            told = json.loads(archive.read("hit.json"))
            assert told["matches"][0]["plate"] == "EVDK042"
            assert told["matches"][0]["reading"] == "EVDKD42"
            assert told["matches"][0]["reference"]
            assert told["lists"]["region"]["source"] == "emulated regional server"
            assert told["state"] == "pending"
            assert json.loads(archive.read("read.json"))["read"]["plate"]["number"] == "EVDKD42"
            assert any(name.endswith(".jpg") for name in archive.namelist())
        (shown,) = driver.hits.newest()
        assert shown.capture == held.id, "its id is known before it is held"
        await bench.station.verify()


async def test_the_journal_names_no_plate_even_of_a_hit(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        await bench.station.take(read_of("EVDKD42"))
        await bench.order(driver, "explain", plate="EVDK042", why="a test")
        (hit,) = (await bench.order(driver, "hits"))["hits"]
        await bench.order(driver, "outcome", capture=hit["capture"], outcome="misread", why="a bolt")
        held = await bench.station.only()
    kept = f"{tmp_path}/station/spool/kept/{held.digest.sha256.hex()}"
    assert trace(tmp_path / "station", "EVDK", "evdk") == [kept], "its capture alone"
    assert trace(tmp_path / "station", "misread", "alpr") != [], "and the others were looked at"
    assert "EVDK" not in repr(bench.entries)


async def test_what_is_offered_again_is_the_same_capture(tmp_path: Path) -> None:
    bench = Bench(tmp_path, alert=[])
    async with bench.open() as driver:
        for _ in range(3):
            assert await bench.station.take(read_of("EVDK042")) is Standing.HELD
            await asyncio.sleep(0.01)
        assert len(await bench.station.holdings()) == 1
        assert len(driver.hits.newest()) == 1


async def test_a_passage_that_is_told_again_and_read_better_is_another_hit(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        await bench.station.take(read_of("EVDKD42", phase="new"))
        await bench.station.take(read_of("EVDK042", phase="final"))
        found = await bench.station.holdings()
        assert len(found) == len(driver.hits.newest()) == 2
        rules = set()
        for held in found:
            with bench.archive(held) as archive:
                told, read = json.loads(archive.read("hit.json")), json.loads(archive.read("read.json"))
            assert told["matches"][0]["reading"] == read["read"]["plate"]["normalized"]
            rules.add(told["matches"][0]["rule"])
        assert rules == {"exact", "ocr(1)"}
        await bench.station.verify()


async def test_several_lists_and_categories_are_one_hit(tmp_path: Path) -> None:
    bench = Bench(tmp_path, list={"proof": "none", "layout": "simple", "urgent": ["amber"]})
    async with bench.open(()) as driver:
        path = tmp_path / "list"
        path.write_text("Plate Number,Description,State/Province\nEVDK042,stolen,ON\nEVDK042,amber,QC\n")
        await bench.order(driver, "import", file=str(path), why="x")
        await bench.station.take(read_of("EVDK042", region="CA-ON"))
        held = await bench.station.only()
        hit = (await claims(bench, held))["hit"]
        assert (hit["matches"], hit["category"], hit["urgent"]) == (2, "amber", True)
        with bench.archive(held) as archive:
            told = json.loads(archive.read("hit.json"))["matches"]
        assert {(one["category"], one["region_mismatch"]) for one in told} == {("amber", True), ("stolen", False)}


@pytest.mark.parametrize("plate", ["ZZZZ999", None, "A", "\u8eca", "1234567890123"])
async def test_what_is_no_hit_is_passed_by(tmp_path: Path, plate: str | None) -> None:
    bench = Bench(tmp_path)
    async with bench.open():
        read = read_of(plate)
        assert await bench.station.take(read) is Standing.UNKNOWN
        assert await bench.station.holdings() == []
        assert "container" not in read.__dict__, "not even the form in which it would be kept is made of it"


# -- counting ----------------------------------------------------------------------------------------------------------


async def test_an_hour_is_told_by_its_numbers(tmp_path: Path) -> None:
    bench = Bench(tmp_path, policy="service-2026-03")
    async with bench.open() as driver:
        for number in range(20):
            await bench.station.take(read_of(f"ZZZZ{number:03}", number))
        await bench.station.take(read_of(None, 20))
        await bench.station.take(read_of("EVDK042", 21))
        await bench.station.take(read_of("EVDKD42", 22))
        hits = (await bench.order(driver, "hits"))["hits"]
        await bench.order(driver, "outcome", capture=hits[0]["capture"], outcome="misread", why="")
        await bench.order(driver, "count")
        (told,) = [one for one in bench.station.observed if one.kind == COUNT]
        detail = dict(told.detail)
        assert told.device == CAMERA.id
        assert {name: detail[name] for name in ("reads", "unread", "passed_by", "sealed", "hits")} == {
            "reads": 23,
            "unread": 1,
            "passed_by": 21,
            "sealed": 0,
            "hits": 2,
        }
        assert detail["by_rule"] == {"region": {"exact": 1, "ocr(1)": 1}}
        assert detail["outcomes"] == {"misread": 1}
        assert detail["policy"] == "service-2026-03"
        assert detail["lists"]["region"]["sha256"]  # type: ignore[index, call-overload]
        await bench.order(driver, "count")
        assert len([one for one in bench.station.observed if one.kind == COUNT]) == 1, "each is told once"


async def test_counts_outlive_a_kill(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        await bench.station.take(read_of("ZZZZ999"))
        await driver.counts.save()
    again = bench.driver()
    again.counts.load()
    assert again.counts.close(driver.stamp().at, all_=True)
    ((_, told),) = again.counts.due(driver.stamp().at, {})
    assert told.detail["reads"] == 1
    assert b"ZZZZ" not in (tmp_path / "hotlists" / "counts.json").read_bytes()


async def test_a_kill_after_a_sum_was_told_lets_it_be_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, disk, told = Bench(tmp_path), list[bytes](), list[Observation]()
    path = tmp_path / "hotlists" / "counts.json"

    async def observe(observation: Observation, /) -> None:
        if observation.kind == COUNT:
            told.append(observation)
            disk.append(path.read_bytes())  # all that there is, if it is killed as soon as the entry is there

    monkeypatch.setattr(bench.station, "observe", observe)
    async with bench.open() as driver:
        await bench.station.take(read_of("ZZZZ998"))
        await driver.counts.save()
        await bench.station.take(read_of("ZZZZ999", 2))
        await bench.order(driver, "count")
    path.write_bytes(disk[0])
    again, now = bench.driver().counts, driver.stamp().at
    again.load()
    again.count(CAMERA.id, now, "reads")
    assert again.close(now, all_=True)
    told += [observation for _, observation in again.due(now, {})]
    leaves = [
        {"recorded_at": rfc3339(now), "observation": {"kind": COUNT, "device": one.device, "detail": {**one.detail}}}
        for one in told
    ]
    report = audited((json.dumps({"predicate": leaf}).encode() for leaf in leaves), log="log")
    assert report["totals"]["reads"] == 3
    assert len(report["count_entries"]) == 2
    for name in {str(one.detail["part"]) for one in told}:
        again.told(name)
    assert await again.save()
    assert json.loads(path.read_bytes()) == []


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_a_hit_waits_for_an_answer_also_after_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        await bench.station.take(read_of("EVDK042"))
        (notice,) = [one for one in driver.notices() if one.id == "hotlist.hit"]
        assert "1 hit" in notice.detail
        assert "EVDK" not in repr(notice)
    assert b"EVDK" not in (tmp_path / "hotlists" / "hits.json").read_bytes()
    async with bench.open(()) as driver:
        (hit,) = (await bench.order(driver, "hits"))["hits"]
        assert hit["state"] == "pending"
        with pytest.raises(Refusal, match="one of confirmed"):
            await bench.order(driver, "outcome", capture=hit["capture"], outcome="maybe")
        with pytest.raises(Refusal, match="0 hits"):
            await bench.order(driver, "outcome", capture="ffffffff-0", outcome="confirmed")
        told = await bench.order(driver, "outcome", capture=hit["capture"][:8], outcome="confirmed", why="looked")
        assert told["state"] == "confirmed"
        assert bench.entries[-1] == {
            "word": "outcome",
            "capture": hit["capture"],
            "outcome": "confirmed",
            "was": "pending",
            "why": "looked",
            "list": "region",
            "rule": "exact",
        }
        assert not [one for one in driver.notices() if one.id == "hotlist.hit"]
        await bench.order(driver, "outcome", capture=hit["capture"], outcome="misread", why="second look")
        assert bench.entries[-1]["was"] == "confirmed", "a later word stands beside the earlier one"


async def test_a_person_may_ask_what_a_plate_would_be(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        told = await bench.order(driver, "explain", plate="evdk-d42", why="phone call")
        assert (told["normalised"], told["folded"]) == ("EVDKD42", "EV0K042")
        assert [one["rule"] for one in told["matches"]] == ["ocr(1)"]
        beyond = await bench.order(driver, "explain", plate="EVDKQ4Z", why="phone call")
        assert (beyond["matches"], [one["rule"] for one in beyond["beyond_policy"]]) == ([], ["ocr(2)"])
        assert (await bench.order(driver, "explain", plate="ZZZZ999"))["matches"] == []
        assert [one["matches"] for one in bench.entries if one["word"] == "explain"] == [1, 0, 0]
        for wrong in ("A", "", None, "x" * 500, ["EVDK042"]):
            with pytest.raises(Refusal):
                await bench.order(driver, "explain", plate=wrong)
        with pytest.raises(Refusal):
            await bench.order(driver, "nonsense")


# -- alerts ------------------------------------------------------------------------------------------------------------


def teller(folder: Path) -> list[str]:
    program = f"import sys, pathlib; pathlib.Path({str(folder / 'told')!r}).open('a').write(sys.stdin.read() + chr(10))"
    return [sys.executable, "-c", program]


async def test_a_program_is_told_of_a_hit_on_its_standard_input(tmp_path: Path) -> None:
    bench = Bench(tmp_path, alert=[{"kind": "command", "command": teller(tmp_path)}])
    async with bench.open() as driver:
        await bench.station.take(read_of("EVDKD42"))
        await until((tmp_path / "told").exists)
        await until(lambda: (tmp_path / "told").read_text().endswith("\n"))
        told = json.loads((tmp_path / "told").read_text())
        assert (told["plate"], told["listed"], told["rule"], told["camera"]) == (
            "EVDKD42",
            "EVDK042",
            "ocr(1)",
            "alpr:front",
        )
        await bench.station.take(read_of("EVDKD42", 2))
        await bench.station.take(read_of("EVDK042", 3, replayed=True))
        await bench.station.take(read_of("EVDK701", 4))
        await until(lambda: (tmp_path / "told").read_text().count("\n") == 2)
        assert len(driver.hits.newest()) == 4, "each is a hit; the same plate alerts once, a late one nobody"


async def test_hits_that_an_alert_could_not_tell_of_are_counted_in_the_log(tmp_path: Path) -> None:
    waits = "import pathlib, time\nwhile not pathlib.Path('GO').exists(): time.sleep(0.02)"
    command = [sys.executable, "-c", waits.replace("GO", str(tmp_path / "go"))]
    bench = Bench(tmp_path, quiet="0 s", alert=[{"kind": "command", "command": command, "within": "60 s"}])
    with capture_logs() as said:
        async with bench.open() as driver:
            for number in range(LINE + 8):
                await bench.station.take(read_of("EVDK042", number))
            (tmp_path / "go").touch()
            await until(lambda: any(one["event"] == "alert_passed_over" for one in said))
            assert not driver.alerts.troubles
    (told,) = [one for one in said if one["event"] == "alert_passed_over"]
    assert told["hits"] in (7, 8)  # the first one may have left the line
    assert "EVDK" not in repr(told)


async def test_a_program_that_fails_or_hangs_delays_nothing(tmp_path: Path) -> None:
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    bench = Bench(
        tmp_path,
        quiet="0 s",
        alert=[
            {"kind": "command", "command": ["/nowhere/at-all"]},
            {"kind": "command", "command": [sys.executable, "-c", "raise SystemExit(3)"]},
            {"kind": "command", "command": hangs, "within": "300 ms"},
            {"kind": "sound", "sound": tmp_path / "none.wav", "player": ["/nowhere/player"]},
            {"kind": "desktop", "bus": "unix:path=/nowhere/bus"},
            {"kind": "command", "command": teller(tmp_path), "plate": False},
        ],
    )
    async with bench.open() as driver:
        for number in range(LINE * 3):
            assert await bench.station.take(read_of("EVDK042", number)) is Standing.HELD
        await until(lambda: len(driver.alerts.troubles) == 5)
        told = {one.what: one.detail for one in driver.notices() if one.id == "hotlist.alert_failed"}
        assert "it was not done in time" in told["alert command 3"]
        assert told["alert command 2"] == "the alert command 2 does not tell of hits: it ended with 3"
        assert "EVDK" not in repr(told)
        await until(lambda: (tmp_path / "told").read_text().count("\n") >= 1)
        assert "EVDK" not in (tmp_path / "told").read_text()
