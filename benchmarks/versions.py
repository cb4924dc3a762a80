"""Who took part, by their own word: which Evidock this is, and which programs and libraries it was measured beside."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.peers import INTEROP

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["commit", "versions"]

ROOT: Final = Path(__file__).parents[1]
_SECONDS: Final = 20
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)+[a-z]?")
_PROGRAMS: Final = {
    "coreutils": ("sha256sum", "--version"),
    "b3sum": ("b3sum", "--version"),
    "openssl": ("openssl", "version"),
    "curl": ("curl", "--version"),
    "rclone": ("rclone", "--version"),
    "node": ("node", "--version"),
    "aws-cli": (str(INTEROP / "stores" / "bin" / "aws"), "--version"),
}
_OF_PYTHON: Final = ("tuspy",)
_OF_NODE: Final = ("tus-js-client", "@tus/server")


def versions() -> str:
    """All of them in one line, ours first; `not here` where somebody is not installed."""
    return ", ".join(f"{name} {number}" for name, number in (("Evidock", _ours()), *_others()))


def _others() -> Iterator[tuple[str, str]]:
    for name, words in _PROGRAMS.items():
        said = "" if shutil.which(words[0]) is None else _said(*words)
        number = _NUMBER.search(said)
        yield name, number[0] if number else "not here"
    for name in _OF_PYTHON:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not here"
    for name in _OF_NODE:
        try:
            package = (INTEROP / "node_modules" / name / "package.json").read_text(encoding="utf-8")
            yield name, str(json.loads(package)["version"])
        except OSError:
            yield name, "not here"


def _ours() -> str:
    return f"{version('evidock')}{f' ({commit()})' if commit() else ''}"


def commit() -> str:
    """What is checked out, with a `+` where anything but the docs was changed since; nothing where there is no git."""
    head = _said("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()
    changed = _said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return head + ("+" if changed else "")


def _said(*words: str) -> str:
    with suppress(OSError, subprocess.TimeoutExpired):
        ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=_SECONDS)
        return ran.stdout if ran.returncode == 0 else ""
    return ""
