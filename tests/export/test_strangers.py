"""What strangers do with a bag: older programs, clocks that nobody compared, keys of which they have only some."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.custody.export import evidock_verify
from agent.custody.receipt import ReceiptNote, write
from agent.note import sign
from tests.export.look import Held, failed, load, look, summed
from tests.export.make import AT, KEYS, LOG, receipts

if TYPE_CHECKING:
    from tests.export.make import Station

GIVEN = (*KEYS.logs, *KEYS.witnesses, *KEYS.receipts)


@pytest.fixture(scope="module")
def held(bag: Path) -> Held:
    return load(bag)


def shell(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "verify.sh"], cwd=folder, capture_output=True, text=True, check=False)


def written(held: Held, folder: Path) -> Path:
    for name, raw in held.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def test_the_single_file_runs_on_the_python_that_it_names(bag: Path) -> None:
    ast.parse(Path(evidock_verify.__file__).read_text(), feature_version=(3, 9))
    older = (
        "import datetime, runpy, sys; del datetime.UTC, sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", older, evidock_verify.__file__, str(bag)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("earlier", "right"), [(timedelta(minutes=1), True), (timedelta(days=2), False)])
def test_a_receipt_of_a_clock_that_is_behind(
    two: tuple[Station, list[str]], held: Held, earlier: timedelta, *, right: bool
) -> None:
    """The clock of the DEMS and that of the station are nobody's to compare: within a day they say the same."""
    made, (first, _) = two
    one = made.journal.get(first)
    said = ReceiptNote(first, one.digest.sha256, one.digest.length, LOG, one.index, AT.replace(minute=2) - earlier, 2)
    found = look(summed(held | {f"custody/receipts/{one.index:06d}.note": sign(write(said), receipts)}))
    assert failed(found) == (set() if right else {f"receipt {first}"})


def test_an_entry_of_the_future_bounds_no_receipt() -> None:
    assert evidock_verify.earliest("2999-01-01T00:00:00.000Z") == ""
    assert evidock_verify.earliest("2026-11-22T07:02:17.123Z") == "2026-11-21T07:02:17Z"
