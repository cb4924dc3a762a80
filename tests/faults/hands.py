"""The hands of a bent clock, and what the log says of time, read without a line of ours."""

from __future__ import annotations

import json
import shutil
import struct
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from pathlib import Path


class Hands:
    """The wall clock of all processes that were given `evidock_clock.c` and this file: see there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "offset"
        self.set(0)

    def set(self, seconds: float, *, passed: float = 0.0) -> None:
        """Set it so many seconds ahead of the true time, for everybody, at once.

        `passed`: seconds of them that did pass, so that the clock of the boot shows them too.
        """
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("2q", int(seconds * 1e9), int(passed * 1e9)))


def entries(state: Path, copy: Path) -> list[dict[str, object]]:
    """What each entry says, in order, and `of` which capture."""
    copy.mkdir()
    try:
        for path in state.glob("journal.db*"):
            shutil.copy(path, copy)
        connection = apsw.Connection(str(copy / "journal.db"))
        try:
            said = [json.loads(leaf) for (leaf,) in connection.execute("SELECT leaf FROM entry ORDER BY seq")]
        except apsw.SQLError:  # killed before there was a table
            said = []
        finally:
            connection.close()
    finally:
        shutil.rmtree(copy)
    return [{**one["predicate"], "of": one["subject"][0]["name"]} for one in said]


def out_of_order(told: list[dict[str, object]]) -> list[str]:
    """Where the log contradicts the clock that nobody sets, or a time has no zone."""
    wrong, last = list[str](), dict[str, int]()
    for entry in told:
        boot, at = str(entry["boot_id"]), int(str(entry["mono_ns"]))
        if at < last.get(boot, 0):
            wrong.append(f"entry {entry['seq']} is earlier than the one before, by the clock that nobody sets")
        if not str(entry["recorded_at"]).endswith("Z"):
            wrong.append(f"entry {entry['seq']} tells a time without its zone")
        last[boot] = at
    return wrong
