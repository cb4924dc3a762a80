"""What a support bundle says of an agent.toml that cannot be used, and what of it still leads to the station."""

import errno
import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from agent.cli.support_bundle.words import plain, sentences, word

if TYPE_CHECKING:
    from agent.config import Config
    from agent.errors import ConfigError, Problem

__all__ = ["left_of"]

_STEP: Final = re.compile(r"[^.\[\]]+")
_PLACE: Final = re.compile(r"\(at line (\d{1,9}), column (\d{1,9})\)")


def left_of(path: Path, error: "ConfigError") -> tuple["Config | None", dict[str, Any]]:
    """(a configuration of the tables that are good, None where `[station]` is none of them; what is to be told)."""
    from agent.config import Config  # noqa: PLC0415 - pydantic takes its time

    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raw = {}
    told = {"cannot_be_used": [_problem(one, path) for one in error.problems], "settings": plain(raw)}
    wrong = {_STEP.findall(one.path)[:1][0] for one in error.problems if _STEP.match(one.path)}
    try:
        return Config.model_validate({name: table for name, table in raw.items() if name not in wrong}), told
    except ValidationError:
        return None, told


def _problem(one: "Problem", path: Path) -> dict[str, Any]:
    """Where and what, in words of ours alone: a key that is misspelt may be anybody's name."""
    if one.path == str(path):
        told: dict[str, Any] = {"where": "agent.toml"}
    else:
        told = {"where": [int(step) if step.isdecimal() else word(step) for step in _STEP.findall(one.path)]}
    if found := _PLACE.search(one.message):
        return {**told, "line": int(found[1]), "column": int(found[2])}
    known = one.message in _of_the_system() or one.message in sentences()
    return {**told, "what": one.message if known else f"(text of {len(one.message)} characters)"}


@cache
def _of_the_system() -> frozenset[str]:
    """Why a file cannot be read."""
    return frozenset(map(os.strerror, errno.errorcode))
