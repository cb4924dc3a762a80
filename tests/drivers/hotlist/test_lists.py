"""How lists come and take each other's place: by a person, a folder, a server; and what never does."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from agent.capture import Standing
from agent.errors import Refusal
from drivers.alpr.hotlist import arriving
from drivers.alpr.hotlist.driver import ACTIVATED
from drivers.alpr.hotlist.emulator import Publisher, invented
from tests.drivers.hotlist.rig import LISTED, Bench, read_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.alpr.hotlist.driver import Hotlists


def in_use(driver: Hotlists, *plates: str) -> bool:
    shelf = driver.shelves["region"]
    return all([entry.plate for entry in shelf.find(plate)] == [plate] for plate in plates)


def ids(driver: Hotlists) -> set[str]:
    return {notice.id for notice in driver.notices() if notice.id not in ("hotlist.leak", "hotlist.unknown_age")}


def spoiled(publisher: Publisher, fault: str) -> tuple[Path, list[str]]:
    """A list that has this fault, and what is on it."""
    now = datetime.now(UTC)
    number = {"shorter": 7, "longer": 120}.get(fault, 10)
    changed: dict[str, Any] = {
        "old": {"as_of": "2026-01-01T00:00:00Z"},
        "future": {"as_of": (now + timedelta(hours=1)).isoformat(), "expires_at": None},
        "expired": {"expires_at": (now - timedelta(minutes=1)).isoformat()},
        "other": {"list": "another"},
    }.get(fault, {})
    publisher.fault = fault
    plates = [*invented(number, seed=4)]
    path = publisher.publish(iter(plates))
    publisher.manifest_file.write_bytes(publisher.manifest(**changed))
    match fault:
        case "cut":
            path.write_bytes(path.read_bytes()[:-70])
        case "damaged":
            path.write_bytes(path.read_bytes().replace(b"ON0000000", b"ON0000001", 1))
        case "no manifest":
            publisher.manifest_file.unlink()
        case "not there":
            path.unlink()
    return path, plates


async def test_a_list_is_imported_and_the_log_knows_of_it_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open(()) as driver:
        assert "hotlist.missing" in ids(driver)
        told = await bench.put_up(driver, *LISTED)
        assert told["plates"] == len(LISTED)
        assert in_use(driver, *LISTED)
        (said,) = [one for one in bench.station.observed if one.kind == ACTIVATED]
        assert said.detail["sha256"] == told["sha256"] == bench.entries[0]["sha256"]
        assert "EVDK" not in repr(said.detail)
        status = (await bench.order(driver, "status"))["lists"][0]
        assert (status["plates"], status["trouble"]) == (4, None)
        assert status["signer"]


async def test_a_list_without_a_plate_and_one_that_ends_before_it_begins_are_told_as_that(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open(()) as driver:
        with pytest.raises(Refusal, match="no line of the list holds a plate"):
            await bench.order(driver, "import", file=str(bench.publisher.publish(iter(()))), why="a test")
        path = bench.publisher.publish(iter(LISTED))
        bench.publisher.manifest_file.write_bytes(bench.publisher.manifest(expires_at="2026-01-01T00:00:00Z"))
        with pytest.raises(Refusal, match="it expires before it was made"):
            await bench.order(driver, "import", file=str(path), why="a test")
        with pytest.raises(Refusal, match="the list cannot be read: No such file"):
            await bench.order(driver, "import", file=str(tmp_path / "none"), why="a test")
        (notice,) = [one for one in driver.notices() if one.id == "hotlist.not_taken"]
        assert "put it where that may" in notice.todo


async def test_a_pipe_in_the_place_of_a_list_or_its_manifest_holds_nobody_up(tmp_path: Path) -> None:
    """Whoever may import could hold up all lists for ever."""
    bench = Bench(tmp_path)
    async with bench.open(LISTED) as driver:
        for listed, why in ((True, "it is no plain file"), (False, "without its signed manifest")):
            path = bench.publisher.publish(iter(LISTED))
            where = path if listed else bench.publisher.manifest_file
            where.unlink()
            os.mkfifo(where)
            with pytest.raises(Refusal, match=why):
                await bench.order(driver, "import", file=str(path), why="a test")
            where.unlink()
        assert in_use(driver, *LISTED)


async def test_a_list_survives_a_restart(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open():
        pass
    driver = bench.driver()
    assert driver.screen(read_of("EVDK042"), driver.stamp()) is not None, "also before it runs"
    driver.shelves["region"].close()


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("cut", "its digest is another one|its manifest says"),
        ("damaged", "its digest is another one"),
        ("unsigned", "not signed by any key"),
        ("old", "not newer"),
        ("shorter", "a person must confirm"),
        ("longer", "a person must confirm"),
        ("future", "from the future"),
        ("expired", "expired already"),
        ("other", "of another list"),
        ("no manifest", "without its signed manifest"),
        ("not there", "cannot be read"),
    ],
)
async def test_what_is_wrong_with_a_list_leaves_the_one_before(tmp_path: Path, fault: str, why: str) -> None:
    bench = Bench(tmp_path)
    async with bench.open([*LISTED, *invented(6)]) as driver:
        before = driver.shelves["region"].about
        path, plates = spoiled(bench.publisher, fault)
        with pytest.raises(Refusal, match=why):
            await bench.order(driver, "import", file=str(path), why="a test")
        assert driver.shelves["region"].about == before
        assert in_use(driver, *LISTED)
        assert "hotlist.not_taken" in ids(driver)
        assert sorted(path.name for path in (tmp_path / "hotlists").glob("*.index")) == ["region.index"]
        assert list((tmp_path / "hotlists").glob(".*")) == []
        assert len(bench.entries) == 1, "what was refused is no entry"
        (notice,) = [one for one in driver.notices() if one.id == "hotlist.not_taken"]
        assert ("--confirm" in notice.todo) is (fault in ("shorter", "longer")), "what is to be done is what was told"
        if fault in ("shorter", "longer"):
            await bench.order(driver, "import", file=str(path), confirm=True, why="the region was split")
            assert in_use(driver, plates[0])
            assert bench.entries[-1]["confirmed"] is True
            assert "hotlist.not_taken" not in ids(driver)


async def test_a_folder_is_watched_and_emptied(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        path = bench.publisher.publish(iter(["EVDK901", "EVDK902", "EVDK903", "EVDK904"]))
        shutil.copy(path, tmp_path / "drop" / "list.txt")
        await until(lambda: driver.shelves["region"].trouble is not None)
        assert in_use(driver, *LISTED), "without its manifest it is none"
        shutil.copy(bench.publisher.manifest_file, tmp_path / "drop" / "list.txt.jws")
        await until(lambda: in_use(driver, "EVDK901"))
        await until(lambda: not list((tmp_path / "drop").iterdir()))
        assert driver.shelves["region"].trouble is None


async def test_a_folder_that_is_not_ours_to_write_keeps_the_file_and_nobody_is_told_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    def kept(path: Path) -> bool:
        looked.append(path.name)
        return False

    monkeypatch.setattr(arriving, "_removed", kept)
    bench = Bench(tmp_path)
    path = bench.publisher.publish(iter(LISTED))
    shutil.copy(path, tmp_path / "drop" / "list.txt")
    shutil.copy(bench.publisher.manifest_file, tmp_path / "drop" / "list.txt.jws")
    for _ in range(2):
        async with bench.open(()) as driver:
            await until(lambda: bool(looked))
            await asyncio.sleep(0.4)
            assert in_use(driver, *LISTED)
            assert driver.shelves["region"].trouble is None
            assert looked == ["list.txt"]
        looked.clear()
    assert len([one for one in bench.station.observed if one.kind == ACTIVATED]) == 1


async def test_links_and_half_written_files_are_left_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path, list={"proof": "none", "layout": "plates"})
    async with bench.open(()) as driver:
        (tmp_path / "secret").write_text("EVDK777\n")
        (tmp_path / "drop" / "link").symlink_to(tmp_path / "secret")
        growing = tmp_path / "drop" / "growing"
        for number in range(20):
            with growing.open("a") as file:
                file.write(f"EVDK{number:03}\n")
            await asyncio.sleep(0.02)
        await until(lambda: driver.shelves["region"].about.get("plates") == 20)
        assert driver.shelves["region"].find("EVDK777") == ()
        assert (tmp_path / "secret").exists()


async def test_a_digest_beside_it_suffices_where_the_options_say_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, list={"proof": "digest", "layout": "plates"})
    async with bench.open(()) as driver:
        path = tmp_path / "list"
        path.write_text("EVDK042\n")
        (tmp_path / "list.sha256").write_text(f"{'0' * 64}  list\n")
        with pytest.raises(Refusal, match="its digest is another one"):
            await bench.order(driver, "import", file=str(path), why="x")
        (tmp_path / "list.sha256").write_text(f"{hashlib.sha256(b'EVDK042' + bytes([10])).hexdigest()}  list\n")
        await bench.order(driver, "import", file=str(path), why="x")
        assert in_use(driver, "EVDK042")


async def test_a_server_is_asked_again_and_again_and_gives_each_list_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    publisher = bench.publisher
    publisher.publish(iter(LISTED))
    async with publisher.serving() as url:
        bench.list |= {"url": url, "every": "1 s", "folder": None}
        async with bench.open(()) as driver:
            await until(lambda: in_use(driver, *LISTED))
            asked = len(publisher.asked)
            driver.arrivals["region"].ask()
            await until(lambda: len(publisher.asked) > asked)
            lists = [path for path, _ in publisher.asked if not path.endswith(".jws")]
            assert len(lists) == 1, "only its manifest is asked for, as long as there is none that is newer"
            for fault in ("cut", "damaged", "gone", "unsigned"):
                publisher.publish(iter(["EVDK901", "EVDK902", "EVDK903"] + [f"EVDK8{n:02}" for n in range(10)]))
                publisher.fault = fault
                driver.shelves["region"].trouble = None
                driver.arrivals["region"].ask()
                await until(lambda: driver.shelves["region"].trouble is not None)
                assert in_use(driver, *LISTED)
            publisher.fault = ""
            driver.arrivals["region"].ask()
            await until(lambda: in_use(driver, "EVDK901"))
            assert driver.shelves["region"].trouble is None
        assert not list((tmp_path / "hotlists").glob("*.fetched"))


async def test_a_server_without_manifests_is_asked_by_entity_tag(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    publisher = bench.publisher
    publisher.publish(iter(LISTED))
    async with publisher.serving() as url:
        bench.list |= {"url": url, "every": "1 s", "proof": "none", "folder": None}
        async with bench.open(()) as driver:
            await until(lambda: in_use(driver, *LISTED))
            driver.arrivals["region"].ask()
            await until(lambda: 304 in [status for _, status in publisher.asked])


@pytest.mark.fresh  # it looks while the index is made: that takes its time
async def test_answers_go_on_while_a_list_is_exchanged(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        exchange = asyncio.create_task(bench.put_up(driver, *LISTED, *invented(30)))
        looked = 0
        while not exchange.done():
            assert driver.screen(read_of("EVDK042", looked), driver.stamp()) is not None
            assert driver.screen(read_of("AAAA999", looked), driver.stamp()) is None
            looked += 1
            await asyncio.sleep(0.005)
        await exchange
        assert looked > 5
        assert driver.shelves["region"].index.plates == 34  # type: ignore[union-attr]


@pytest.mark.fresh  # it looks while the index is made: that takes its time
async def test_a_build_that_is_cut_off_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        exchange = asyncio.create_task(bench.put_up(driver, *LISTED, *invented(30)))
        await until(lambda: driver.shelves["region"].building)
        await asyncio.sleep(0.05)
        exchange.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exchange
        assert in_use(driver, *LISTED)
    (tmp_path / "hotlists" / ".region.new").write_bytes(b"half")
    (tmp_path / "hotlists" / ".build-x").mkdir()
    driver = bench.driver()
    driver._open()
    assert in_use(driver, *LISTED)
    assert list((tmp_path / "hotlists").glob(".*")) == []
    driver.shelves["region"].close()


async def test_a_damaged_index_is_not_used(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    async with bench.open():
        pass
    path = tmp_path / "hotlists" / "region.index"
    raw = bytearray(path.read_bytes())
    raw[-200] ^= 1
    path.write_bytes(bytes(raw))
    async with bench.open(()) as driver:
        await until(lambda: driver.shelves["region"].trouble is not None)
        assert {"hotlist.missing", "hotlist.not_taken"} <= ids(driver)
        assert await bench.station.take(read_of("EVDK042")) is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("hours", "state", "notice", "degraded"),
    [
        (1, "fresh", None, False),
        (13, "ageing", "hotlist.ageing", False),
        (30, "stale", "hotlist.stale", True),
        (60, "expired", "hotlist.expired", None),
    ],
)
async def test_the_age_of_a_list_is_told_and_stamped_on_each_hit(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hours: int,
    state: str,
    notice: str | None,
    degraded: object,
) -> None:
    bench = Bench(tmp_path)
    async with bench.open() as driver:
        as_of = driver.shelves["region"].as_of
        assert as_of is not None
        stamp = dataclasses.replace(driver.stamp(), at=as_of + timedelta(hours=hours), synchronised=True)
        monkeypatch.setattr(driver, "stamp", lambda: stamp)
        wanted = driver.screen(read_of("EVDK042"), stamp)
        assert (wanted is None) is (state == "expired")
        assert (notice is None and not ids(driver) - {"hotlist.hit"}) or notice in ids(driver)
        status = (await bench.order(driver, "status"))["lists"][0]
        assert (status["state"], status["age_s"]) == (state, hours * 3600)
        if wanted is not None:
            claims = wanted.capture.claims["hit"]
            assert claims["list_state"] == state  # type: ignore[index, call-overload]
            assert claims["list_age_s"] == hours * 3600  # type: ignore[index, call-overload]
            assert claims["degraded"] is degraded  # type: ignore[index, call-overload]
        unkept = dataclasses.replace(stamp, synchronised=False)
        assert driver.matcher.ages(unkept)["region"][1].degraded, "a clock that nobody keeps tells no age"


@pytest.mark.parametrize(
    ("hours", "when_stale", "state", "searched", "said"),
    [
        (1, "match", "unknown", True, "each hit is marked as degraded"),
        (1, "stop", "unknown", False, "nothing is held against it"),
        (60, "match", "expired", False, "by this station's clock, which is not kept right"),
        (60, "stop", "expired", False, "by this station's clock, which is not kept right"),
        (-48, "match", "unknown", True, "each hit is marked as degraded"),
    ],
)
async def test_a_clock_that_nobody_keeps_lengthens_the_life_of_no_list(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    hours: int,
    when_stale: str,
    state: str,
    searched: bool,
    said: str,
) -> None:
    """Where a station is cut off, its clock is unkept and no newer list comes: that is when one expires."""
    bench = Bench(tmp_path, list={"when_stale": when_stale})
    async with bench.open() as driver:
        as_of = driver.shelves["region"].as_of
        assert as_of is not None
        stamp = dataclasses.replace(driver.stamp(), at=as_of + timedelta(hours=hours), synchronised=False)
        monkeypatch.setattr(driver, "stamp", lambda: stamp)
        (one,) = (await bench.order(driver, "status"))["lists"]
        assert (one["state"], one["searched"], one["degraded"]) == (state, searched, True)
        assert (driver.screen(read_of("EVDK042"), stamp) is not None) is searched
        (notice,) = [one for one in driver.notices() if one.id in ("hotlist.unknown_age", "hotlist.expired")]
        assert said in notice.detail
        assert "timedatectl" in notice.todo
        kept = dataclasses.replace(stamp, at=as_of + timedelta(hours=1), synchronised=True)
        assert driver.screen(read_of("EVDK042", 2), kept) is not None, "it is used again once the clock is right"


async def test_a_service_may_want_no_hits_of_a_stale_list(tmp_path: Path) -> None:
    bench = Bench(tmp_path, list={"when_stale": "stop"})
    async with bench.open() as driver:
        as_of = driver.shelves["region"].as_of
        assert as_of is not None
        stamp = dataclasses.replace(driver.stamp(), at=as_of + timedelta(hours=30), synchronised=True)
        assert driver.screen(read_of("EVDK042"), stamp) is None
