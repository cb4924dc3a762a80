"""The lab itself: each thing that a promise rests on is taken out of a copy, and the lab must turn red.

A test that fails is red; one that cannot be collected, or finds nothing to run, shows nothing. The short form takes
each out of its file and sees that the file still has it, the long one runs the tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.form import LONG, OVER, time_is_over
from tests.faults.mutations import MUTATIONS, Mutation
from tests.faults.report import MUTATIONS as ROW
from tests.faults.report import reached

ROOT = Path(__file__).parents[2]
PARTS = ("agent", "drivers", "firmware_specs", "tests")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", "stores", "vectors", "*.mp4")
WITHIN = 200
RED = 1
"""What pytest ends with where a test failed."""


def taken_out(folder: Path, mutation: Mutation) -> None:
    """A copy of the program without it."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=LEFT_OUT, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", folder)
    path = folder / mutation.file
    path.write_text(path.read_text().replace(mutation.old, mutation.new))


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.what)
def test_what_is_taken_out_is_there_once(mutation: Mutation) -> None:
    assert (ROOT / mutation.file).read_text().count(mutation.old) == 1
    assert (ROOT / mutation.test.partition("::")[0]).exists()


@pytest.mark.skipif(not LONG, reason="in the long form only")
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.what)
def test_without_it_the_lab_is_red(tmp_path: Path, mutation: Mutation) -> None:
    what = f"taken out: {mutation.what}"
    if time_is_over():
        reached(ROW, what, asked=1, reached=0, violations=0, detail=OVER)
        return
    taken_out(tmp_path / "copy", mutation)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("EVIDOCK_FAULT", "PYTEST_"))},
        "PYTHONPATH": str(tmp_path / "copy"),
        "EVIDOCK_FAULTS_LONG": "1" if "order" in mutation.test else "",
        "EVIDOCK_DRAIN": "8",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", f"--basetemp={tmp_path}/pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, mutation.test],
        cwd=tmp_path / "copy",
        env=environment,
        capture_output=True,
        timeout=WITHIN,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    failed = done.returncode == RED and " failed" in said
    reached(ROW, what, asked=1, reached=1, violations=0 if failed else 1)
    assert failed, f"{what}: the lab is green\n{said[-2000:]}"
