"""A journal that is brought forwards, killed at each call or losing its power: it is the old or the new one.

And a journal of a newer program, met by an older one: it is refused, with what to do, and left as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from agent.capture import Standing
from agent.clock import Clock
from agent.config import Policy
from agent.errors import JournalError
from agent.journal import Journal, database
from agent.testing.audit import read_journal
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.process import DaemonProcess
from agent.testing.station import LOG, Station
from agent.testing.uplinks import BenchUplink
from tests.faults.forgetful import Forgetful
from tests.faults.form import LONG, SEED, form, time_is_over, why
from tests.faults.report import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SCHEMA = Path(database.__file__).parent / "schema"
NEWEST = max(int(file.stem) for file in SCHEMA.glob("*.sql"))
OLDER = range(1, NEWEST) if LONG else (1, 7, NEWEST - 1)
KILLS, CUTS = form(30, 1_000), form(50, 2_000)


@pytest.fixture
async def content(tmp_path: Path) -> Path:
    """A journal of today's schema with something in each table that migrations look at, as the first one had it."""
    device = BenchDevice("cam-1")
    for number in range(24):
        claims = {"officer": f"PC {number % 5}", "incident": f"case {number % 3}"}
        device.record(f"clip {number}", some_bytes(2000 + number), claims=claims)
    policy = Policy(device="release", receipt="digest", recordings="clips")
    async with Station(tmp_path / "content", policy=policy) as station:
        station.connect(BenchUplink())
        await station.dock(device)
        await station.send()
        await station.dock(device)
        for number in range(24, 30):
            device.record(f"clip {number}", some_bytes(2000 + number))
        await station.dock(device)
        assert await station.count(Standing.RELEASED) == 24
        await station.verify()
    return tmp_path / "content" / "journal.db"


def older(source: Path, path: Path, number: int) -> None:
    """The rows of a journal in a file of an earlier schema, with the columns that it had."""
    old, new = apsw.Connection(str(path)), apsw.Connection(str(source))
    for file in sorted(SCHEMA.glob("*.sql"))[:number]:
        # What a migration computes needs functions of ours; there is nothing yet that it could compute from.
        old.create_scalar_function("span_of", lambda _: None, 1)
        old.create_scalar_function("words_of", lambda _: None, 1)
        old.execute(file.read_text())
    old.pragma("application_id", database.APPLICATION_ID)
    old.pragma("user_version", number)
    for (table,) in old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = ", ".join(one[1] for one in old.execute(f"PRAGMA table_info({table})"))
        rows = new.execute(f"SELECT {columns} FROM {table}").fetchall()  # noqa: S608 - names are ours
        if rows:
            old.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608
    old.close()
    new.close()


def shown(path: Path) -> tuple[int, set[Any], dict[str, Any]]:
    """Version, schema and rows of a journal, as SQLite finds them; of a copy, for looking would repair it."""
    copy = path.with_name("looked-at")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for file in path.parent.glob(f"{path.name}*"):
        shutil.copy(file, copy)
    connection = apsw.Connection(str(copy / path.name))
    try:
        assert connection.pragma("integrity_check") == "ok"
        schema = {one for (one,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
        tables = [one for (one,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {one: sorted(connection.execute(f"SELECT * FROM {one}").fetchall(), key=repr) for one in tables}  # noqa: S608
        return connection.pragma("user_version"), schema, rows
    finally:
        connection.close()


def schemas(folder: Path) -> dict[int, set[Any]]:
    """What each version's schema is."""
    found: dict[int, set[Any]] = {}
    connection = apsw.Connection(str(folder / "empty.db"))
    connection.create_scalar_function("span_of", lambda _: None, 1)
    connection.create_scalar_function("words_of", lambda _: None, 1)
    for number, file in enumerate(sorted(SCHEMA.glob("*.sql")), 1):
        connection.execute(file.read_text())
        found[number] = {one for (one,) in connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")}
    connection.close()
    return found


class Judge:
    """Knows what each version must be, and what the newest must hold that comes from a given one."""

    def __init__(self, source: Path, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._schemas = schemas(folder)
        self._old: dict[int, Any] = {}
        self._new: dict[int, Any] = {}
        for number in OLDER:
            older(source, path := self.path(number), number)
            self._old[number] = shown(path)[2]
            shutil.copy(path, brought := folder / f"brought-{number}.db")
            Journal.open(brought, log=LOG, stamp=Clock().stamp).close()  # which fills what only it can compute
            self._new[number] = shown(brought)[2]

    def path(self, number: int) -> Path:
        """A journal of this version."""
        return self._folder / f"{number}.db"

    def wrong(self, path: Path, began: int) -> list[str]:
        """What is wrong with a journal that was being brought forwards, as it lies there, and once that is done."""
        try:
            version, schema, rows = shown(path)
            found = [] if began <= version <= NEWEST else [f"it is of schema {version}"]
            if schema != self._schemas[version]:
                found.append(f"it says schema {version}, and is something else")
            if version == began and rows != self._old[began]:
                found.append("it is the old one, and its rows are not")
            journal = Journal.open(path, log=LOG, stamp=Clock().stamp)
        except (apsw.Error, JournalError, AssertionError) as error:
            return [f"{type(error).__name__}: {error}"]
        found += read_journal(journal).problems
        journal.close()
        return found + ([] if shown(path)[2] == self._new[began] else ["brought forwards it holds something else"])


@pytest.fixture
def migrator(failing_calls: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "LD_PRELOAD": str(failing_calls), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.faults.migrating"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


def brought(migrator: subprocess.Popen[str], fault: str, path: Path, counts: Path | str = "") -> int:
    migrator.stdin.write(f"{fault}\t{path}\t{counts}\n")
    migrator.stdin.flush()
    return int(migrator.stdout.readline())


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory: a killed process leaves the same there, and nothing waits for a disk."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path  # noqa: S108 - a folder of its own in it
    with tempfile.TemporaryDirectory(prefix="evidock-", dir=place) as folder:
        yield Path(folder)


@pytest.mark.slow
def test_killed_at_any_call_a_journal_is_the_old_or_the_new_one(
    memory: Path, content: Path, migrator: subprocess.Popen[str]
) -> None:
    judge, work = Judge(content, memory / "judge"), memory / "work"
    work.mkdir()
    points: list[tuple[int, int, str]] = []
    for number in OLDER:
        shutil.copy(judge.path(number), path := work / "journal.db")
        counts = memory / f"counts-{number}"
        assert brought(migrator, f"none 0 0 refused {work}", path, counts) == 0
        made = sum(int(line.split()[1]) for line in counts.read_text().splitlines())
        points += [(number, call, how) for call in range(1, made + 1) for how in ("refused", "done")]
    chance, done, wrong = Random(SEED), 0, list[str]()
    # Where there are fewer points than asked for, each is one that was reached all the same.
    for number, call, how in chance.sample(points, min(KILLS, len(points))):
        if time_is_over():
            break
        for file in work.iterdir():
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        shutil.copy(judge.path(number), path := work / "journal.db")
        assert brought(migrator, f"any {call} -9 {how} {work}", path) == -9
        wrong += [f"schema {number}, killed at call {call}, {how}: {one}" for one in judge.wrong(path, number)]
        done += 1
    detail = why(KILLS, done) if done == KILLS else f"of {len(points)} calls in {len(OLDER)} migrations"
    reached(10, "killed while a journal is brought forwards", asked=KILLS, reached=done, violations=len(wrong),
            seed=SEED, detail=detail)  # fmt: skip
    assert not wrong, "\n".join(wrong[:20])


def test_without_power_a_journal_is_the_old_or_the_new_one(memory: Path, content: Path) -> None:
    """What was not forced is lost, or torn, or came before what was written earlier."""
    judge, work = Judge(content, memory / "judge"), memory / "work"
    work.mkdir()
    chance, done, wrong = Random(SEED), 0, list[str]()
    lives = [(number, Forgetful(judge.path(number))) for number in OLDER]
    for _, life in lives:
        with life.watching() as path:
            database.open_database(path).close()
    points = [(number, life, cut) for number, life in lives for cut in range(life.steps)]
    for number, life, cut in chance.choices(points, k=CUTS):
        if time_is_over():
            break
        shutil.rmtree(work)
        work.mkdir()
        path = life.left(cut, work, chance)
        wrong += [f"schema {number}, power lost after step {cut}: {one}" for one in judge.wrong(path, number)]
        done += 1
    reached(10, "power lost while a journal is brought forwards", asked=CUTS, reached=done, violations=len(wrong),
            seed=SEED, detail=why(CUTS, done) or f"{len(points)} steps; what was not forced is drawn anew")  # fmt: skip
    assert not wrong, "\n".join(wrong[:20])


@pytest.mark.parametrize("lacks", (1, 5, NEWEST - 1) if LONG else (1,))
def test_an_older_program_refuses_a_newer_journal_and_leaves_it_alone(
    tmp_path: Path, content: Path, lacks: int
) -> None:
    """The real program, without the schemas that it did not know then."""
    program = tmp_path / "program"
    for name in ("agent", "drivers", "firmware_specs"):
        shutil.copytree(ROOT / name, program / name, ignore=shutil.ignore_patterns("__pycache__"))
    for number in range(NEWEST - lacks + 1, NEWEST + 1):
        (program / "agent/journal/schema" / f"{number:04}.sql").unlink()
    station = DaemonProcess(tmp_path / "station")
    station.state.mkdir()
    shutil.copy(content, journal := station.state / "journal.db")
    before = {file.name: file.read_bytes() for file in station.state.glob("journal.db*")}
    command = [sys.executable, "-m", "agent.cli", "--config", str(station.config), "run"]
    environment = {**os.environ, "PYTHONPATH": str(program), "COLUMNS": "200"}
    ended = subprocess.run(
        command, cwd=program, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    said = " ".join((ended.stdout + ended.stderr).split())
    assert ended.returncode == JournalError.exit_code, said
    assert f"schema {NEWEST}; this one knows {NEWEST - lacks}" in said
    assert "Install the newer version again. Nothing was changed." in said
    assert "Traceback" not in said
    after = {file.name: file.read_bytes() for file in station.state.glob("journal.db*") if file.stat().st_size}
    assert after == before
    again = Journal.open(journal, log=LOG, stamp=Clock().stamp)
    assert not read_journal(again).problems
    again.close()
    reached(10, "a newer journal met by an older program", asked=1, reached=1, violations=0,
            detail="refused with what to do, and not a byte changed")  # fmt: skip
