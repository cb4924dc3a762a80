"""The libraries that bend what the C library does for a daemon under test, compiled where gcc is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def compiled(name: str, folder: Path) -> Path:
    """`name`.c of this folder as a library to be loaded with LD_PRELOAD; a test without gcc is skipped."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not here: the library that makes calls fail cannot be compiled")
    library = folder / f"{name}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, HERE / f"{name}.c", "-ldl"], check=True)
    return library
