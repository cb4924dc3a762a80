"""Receivers on a real pseudo-terminal: recorded logs replayed, speeds found, plugs pulled, times judged."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from agent.capture import Stamp, canonical
from agent.testing.observing import Watcher
from agent.testing.rig import running, until
from drivers.in_car.emulator.line import Line
from drivers.in_car.emulator.receiver import Receiver, logged
from drivers.in_car.gnss import GnssSerial
from drivers.in_car.gnss.timing import TimeJudge
from firmware_specs.formats import ubx
from firmware_specs.formats.gnss_line import Splitter
from tests.drivers.in_car.conftest import LONG, VECTORS, at_length
from tests.drivers.in_car.logs import compare, oracle, point

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.capture import Observation
    from tests.drivers.in_car.logs import Point


def stamp(at: datetime | None = None, *, synchronised: bool = True) -> Callable[[], Stamp]:
    def now() -> Stamp:
        return Stamp(at or datetime.now(UTC), "boot", 0, "kernel", synchronised, 1000 if synchronised else None)

    return now


def driver(
    line: Line, *, clock: Callable[[], Stamp] | None = None, listen: float = 0.3, **options: object
) -> GnssSerial:
    told = {"use": "in_car.gnss_serial", "name": "gnss", "port": str(line.path), "rescan": 0.05, "every": 0, **options}
    return GnssSerial(GnssSerial.Options.model_validate(told), stamp=clock or stamp(), listen=listen)


def place(one: Observation) -> Point:
    time = one.detail["time"]
    assert isinstance(time, dict)
    at = datetime.fromisoformat(str(time["said"])) if "said" in time else None
    at = one.observed_at if time["source"] == "gnss" else at
    return point(at, Decimal(str(one.detail["latitude"])), Decimal(str(one.detail["longitude"])))


async def heard(line: Line, intake: Watcher, receiver: Receiver, **options: object) -> None:
    """Replay a log once a driver listens, and let it come to its end."""
    made = driver(line, **options)
    async with running(made, intake):
        greeting = asyncio.create_task(receiver.greet())
        await until(lambda: "heard" in made._source.state)
        greeting.cancel()
        await receiver.speak()
        # What belongs to the last moment is told after a short silence.
        count = -1
        while count != len(intake.observed):
            count = len(intake.observed)
            await asyncio.sleep(0.6)


@pytest.mark.parametrize("name", ["bu353s4", "ublox-neo-m8n"] if LONG else ["ublox-neo-m8n"])
async def test_a_replayed_log_is_told_as_gpsd_tells_it(tmp_path: Path, name: str) -> None:
    path, watcher = VECTORS / f"{name}.log", Watcher()
    with Line(tmp_path / "gnss") as line:
        await heard(line, watcher, Receiver(line, logged(path.read_bytes())))
    positions = watcher.of("position")
    compare(path.name, {place(one) for one in positions}, oracle(path))
    assert all(one.detail["basis"] == "gnss" for one in positions)
    assert watcher.sighted[0].id == "gnss:gnss"
    assert [one.detail["fix"] for one in watcher.of("gnss.fix")][-1] == 3


@at_length
async def test_every_log_replayed_is_told_as_gpsd_tells_it(tmp_path: Path, samples: Path) -> None:
    paths = sorted((samples / "gpsd").glob("*.log"))

    async def one(path: Path, raw: bytes) -> None:
        watcher = Watcher()
        with Line(tmp_path / path.stem) as line:
            await heard(line, watcher, Receiver(line, logged(raw)))
        compare(path.name, {place(told) for told in watcher.of("position")}, oracle(path))

    await asyncio.gather(*(one(path, path.read_bytes()) for path in paths))


@asynccontextmanager
async def speaking(line: Line, log: bytes = b"", **options: object) -> AsyncIterator[Receiver]:
    receiver = Receiver(line, log or logged((VECTORS / "bu353s4.log").read_bytes()), pause=0.005, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(receiver.speak(again=True))
    try:
        yield receiver
    finally:
        task.cancel()


async def test_the_speed_is_found_and_remembered(tmp_path: Path) -> None:
    with Line(tmp_path / "gnss", baud=38400) as line:
        made, watcher = driver(line, bauds=(9600, 115200, 38400)), Watcher()
        async with speaking(line), running(made, watcher):
            await until(lambda: bool(watcher.observed))
            assert line.speed == made._baud == 38400
            assert "38400 baud" in (await made.health())[str(line.path)]


async def test_a_receiver_that_comes_back_with_another_speed_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.in_car.gnss.receiver.DEAF", 0.5)
    with Line(tmp_path / "gnss", baud=9600) as line:
        watcher = Watcher()
        async with speaking(line), running(driver(line, bauds=(9600, 4800)), watcher):
            await until(lambda: bool(watcher.observed))
            line.baud = 4800
            await until(lambda: line.speed == 4800)
            count = len(watcher.observed)
            await until(lambda: len(watcher.observed) > count)


async def test_a_wrong_line_is_told_and_nothing_is_guessed(tmp_path: Path) -> None:
    with Line(tmp_path / "gnss") as line:
        made, watcher = driver(line, bauds=(9600,), listen=0.2), Watcher()
        async with speaking(line, bytes(range(256)) * 20), running(made, watcher):
            await until(lambda: "nothing that can be read" in made._source.state)
        assert not watcher.observed
        assert not watcher.sighted


@pytest.mark.parametrize("wire", ["ccc", "fff", "ggg", "bbb", "ttt", "nnn", "cfgbtn"] if LONG else ["cfgbtn"])
async def test_a_bad_wire_costs_what_it_damaged_and_no_more(tmp_path: Path, wire: str) -> None:
    path, watcher = VECTORS / "bu353s4.log", Watcher()
    with Line(tmp_path / "gnss") as line:
        receiver = Receiver(line, logged(path.read_bytes()))
        made = driver(line)
        async with running(made, watcher):
            greeting = asyncio.create_task(receiver.greet())
            await until(lambda: "heard" in made._source.state)
            greeting.cancel()
            line.wire = wire
            await receiver.speak()
            await until(lambda: len(watcher.of("position")) >= 20)
    true = {one[1:] for one in oracle(path)}
    assert {place(one)[1:] for one in watcher.of("position")} <= true


async def test_what_another_program_has_open_is_told(tmp_path: Path) -> None:
    with Line(tmp_path / "gnss") as line:
        first, second, watcher = driver(line), driver(line), Watcher()
        async with speaking(line), running(first, watcher):
            await until(lambda: bool(watcher.observed))
            async with running(second, Watcher()):
                await until(lambda: "another program" in second._source.state)


async def test_a_u_blox_receiver_is_asked_who_it_is(tmp_path: Path) -> None:
    version = b"2.20 (81289)".ljust(30, b"\0") + b"00080000".ljust(10, b"\0") + b"MOD LEA-M8F-0".ljust(30, b"\0")
    watcher = Watcher()
    with Line(tmp_path / "gnss") as line:
        log = logged((VECTORS / "ublox-neo-m8n.log").read_bytes())
        async with speaking(line, log, version=version), running(driver(line), watcher):
            await until(lambda: any(device.firmware for device in watcher.sighted))
    (found,) = {device for device in watcher.sighted if device.firmware}
    assert (found.maker, found.model, found.firmware) == ("u-blox", "LEA-M8F-0", "2.20 (81289)")
    assert {device.id for device in watcher.sighted} == {"gnss:gnss"}


async def test_nothing_else_is_ever_written_to_a_receiver(tmp_path: Path) -> None:
    with Line(tmp_path / "gnss") as line:
        watcher, written = Watcher(), bytearray()
        log = logged((VECTORS / "ublox-neo-m8n.log").read_bytes())
        async with speaking(line, log), running(driver(line), watcher):
            async with asyncio.timeout(30):
                while not written:
                    written += await line.receive(0.005)
            for _ in range(100):
                written += await line.receive(0.005)
                await asyncio.sleep(0.005)
    assert bytes(written) == ubx.build(ubx.MON_VER)


async def test_positions_come_at_most_so_often(tmp_path: Path) -> None:
    watcher = Watcher()
    with Line(tmp_path / "gnss") as line:
        await heard(line, watcher, Receiver(line, logged((VECTORS / "bu353s4.log").read_bytes())), every=60)
    assert len(watcher.of("position")) == 1


async def test_a_lost_fix_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.in_car.gnss.telling.LOST_SECONDS", 0.0)
    watcher = Watcher()
    with Line(tmp_path / "gnss") as line:
        await heard(line, watcher, Receiver(line, b"$GPRMC,,V,,,,,,,,,,N*53\r\n" * 30))
    assert [one.detail for one in watcher.of("gnss.fix")] == [{"fix": 0, "status": "none"}]
    assert not watcher.of("position")


# -- time --------------------------------------------------------------------------------------------------------------

SAID = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
ERA = timedelta(weeks=1024)


@pytest.mark.parametrize("synchronised", [True, False])
@pytest.mark.parametrize("eras", [1, 2, 3, -1])
def test_a_rollover_is_recognised_and_its_time_not_used(eras: int, synchronised: bool) -> None:  # noqa: FBT001
    judge = TimeJudge(stamp(SAID, synchronised=synchronised))
    for _ in range(5):
        found = judge.judge(SAID - eras * ERA - timedelta(milliseconds=900))
        assert (found.rollover, found.source, found.at) == (eras, "station", SAID)


def test_a_time_is_believed_after_three_fixes_that_agree() -> None:
    judge = TimeJudge(stamp(SAID))
    said = SAID - timedelta(milliseconds=700)
    assert [judge.judge(said).source for _ in range(4)] == ["station", "station", "gnss", "gnss"]
    assert judge.judge(said).at == said
    judge.lost()
    assert judge.judge(said).doubt == "first_fixes"


def test_a_time_that_disagrees_with_a_kept_clock_is_marked() -> None:
    judge = TimeJudge(stamp(SAID))
    for _ in range(3):
        found = judge.judge(SAID - timedelta(seconds=30))
    assert (found.source, found.doubt) == ("station", "disagrees")


def test_where_nobody_keeps_our_clock_the_receiver_is_believed() -> None:
    judge = TimeJudge(stamp(datetime(2024, 2, 1, tzinfo=UTC), synchronised=False))
    for _ in range(3):
        found = judge.judge(SAID)
    assert (found.source, found.at) == ("gnss", SAID)


@pytest.mark.parametrize("synchronised", [True, False])
def test_a_time_before_this_software_is_never_used(synchronised: bool) -> None:  # noqa: FBT001
    judge = TimeJudge(stamp(SAID, synchronised=synchronised))
    for _ in range(5):
        found = judge.judge(datetime(2006, 12, 16, tzinfo=UTC))
    assert (found.source, found.doubt) == ("station", "too_early")


async def test_the_receiver_of_april_2019_is_placed_and_its_week_marked(tmp_path: Path) -> None:
    """Recorded from a receiver that fell back by 1024 weeks: its place counts, its date does not."""
    then = datetime(2019, 4, 7, 0, 2, 31, 900_000, UTC)
    watcher = Watcher()
    with Line(tmp_path / "gnss") as line:
        log = logged((VECTORS / "april6_2019.log").read_bytes())
        await heard(line, watcher, Receiver(line, log), clock=stamp(then))
    malformed, rolled = watcher.of("position")
    assert malformed.detail["time"] == {"source": "station", "doubt": "not_told"}
    assert rolled.detail["time"] == {
        "source": "station",
        "said": "1999-08-22T00:02:31.420Z",
        "week_rollover": 1,
        "doubt": "week_rollover",
    }
    assert rolled.observed_at == then
    assert (rolled.detail["latitude"], rolled.detail["longitude"]) == ("48.483341667", "0.366693333")


async def test_gpsd_that_lifts_a_date_by_1024_weeks_is_seen() -> None:
    """As gpsd 3.22 tells the log bu353s4: 2034-08-16 for 2014-12-31."""
    then = datetime(2014, 12, 31, 3, 7, 19, 400_000, UTC)
    found = TimeJudge(stamp(then)).judge(datetime(2034, 8, 16, 3, 7, 19, tzinfo=UTC))
    assert (found.rollover, found.at) == (-1, then)


def test_what_is_told_can_stand_in_a_journal() -> None:
    assert canonical({"lat": f"{Decimal('1E-7'):f}"}) == b'{"lat":"0.0000001"}'
    assert sum(1 for _ in Splitter().feed((VECTORS / "bu353s4.log").read_bytes())) == 90
