"""A driver's own database: whole or not at all, also when a disk refuses the second statement."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from agent.driver.database import Database
from agent.errors import DeviceRefused

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = "CREATE TABLE IF NOT EXISTS thing (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"


def rows(path: Path) -> list[tuple[str, int]]:
    """As somebody else finds them on the disk."""
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as db:
        return db.execute("SELECT name, value FROM thing ORDER BY name").fetchall()


def write(*values: tuple[str, int | None]) -> object:
    def work(db: sqlite3.Connection) -> None:
        for value in values:
            db.execute("INSERT INTO thing VALUES (?, ?)", value)

    return work


async def test_what_fails_in_the_middle_leaves_nothing_and_holds_up_nothing(tmp_path: Path) -> None:
    database = Database(tmp_path / "state/small.db", SCHEMA, "the destination", lost="Nothing is lost.")
    await database.open()
    with pytest.raises(DeviceRefused, match="NOT NULL"):
        await database.run(write(("a", 1), ("b", None)))  # type: ignore[arg-type]
    assert rows(database.path) == []
    await database.run(write(("c", 3)))  # type: ignore[arg-type]
    assert rows(database.path) == [("c", 3)], "what comes after it is on the disk, and in no transaction left open"
    await database.close()
    with pytest.raises(DeviceRefused, match="the destination is closing"):
        await database.look(lambda db: db.execute("SELECT 1").fetchone())
    await database.open()
    assert await database.look(lambda db: db.execute("SELECT count(*) FROM thing").fetchone()) == (1,)
    await database.close()


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeviceRefused, match="cannot be used"):
        await Database(tmp_path / "file/small.db", SCHEMA, "the destination", lost="Nothing is lost.").open()


@pytest.mark.parametrize("at", [0, 4096])
async def test_one_that_is_damaged_is_to_be_moved_away(tmp_path: Path, at: int) -> None:
    """Its head, seen when it is opened; or its pages, seen when they are used. The folder's rights are no matter."""
    path = tmp_path / "small.db"
    database = Database(path, SCHEMA, "the destination", lost="Nothing is lost.")
    await database.open()
    for number in range(500):
        await database.run(write((f"{number:050}", number)))
    await database.close()
    data = path.read_bytes()
    path.write_bytes(data[:at] + b"\xff" * (len(data) - at))

    async def used() -> None:
        await database.open()
        await database.look(lambda db: db.execute("SELECT sum(value) FROM thing").fetchone())

    with pytest.raises(DeviceRefused) as told:
        await used()
    await database.close()
    assert f"move {path} away" in told.value.what_to_do
    assert told.value.what_to_do.endswith("Nothing is lost.")
    path.unlink()
    await database.open()
    await database.close()
