"""What the code says to logs and to people, read from its own syntax: events and repair notices, with their places."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "critical")
NOT_LOGS = ("agent/testing", "emulator")
"""Rooms that do not run on a station."""


@cache
def calls() -> tuple[tuple[str, ast.Call], ...]:
    return tuple(_calls())


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for folder in ("agent", "drivers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            if not any(part in place for part in NOT_LOGS):
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Call):
                        yield place, node


def events() -> dict[str, set[tuple[str, str]]]:
    """(level, file) of each event that is logged."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for place, call in calls():
        function = call.func
        if not isinstance(function, ast.Attribute):
            continue
        words = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if function.attr in LEVELS and _is_log(function.value) and call.args:
            if isinstance(call.args[0], ast.Name) and call.args[0].id == "event":
                continue  # inside of `_once`, which is looked at where it is called
            assert isinstance(call.args[0], ast.Constant), f"{place}:{call.lineno}: an event's name is a constant"
            found[words[0]].add((function.attr, place))
        elif function.attr in ("broke", "works"):
            (level,) = [one.attr for one in call.args if isinstance(one, ast.Attribute) and one.attr in LEVELS]
            found[words[-1]].add((level, place))
        elif function.attr == "_once" and words:
            found[words[-1]].add(("warning", place))
    return dict(found)


def _is_log(value: ast.expr) -> bool:
    name = value.attr if isinstance(value, ast.Attribute) else value.id if isinstance(value, ast.Name) else ""
    return name in ("log", "_log")


def repairs() -> dict[str, set[tuple[str, str]]]:
    """(state, file) of each notice that can be made."""
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for place, call in calls():
        if isinstance(call.func, ast.Name) and call.func.id in ("repair", "Notice"):
            id_, state = (one.value for one in call.args[:2] if isinstance(one, ast.Constant))
            found[str(id_)].add((str(state), place))
    return dict(found)


if __name__ == "__main__":
    for name, catalogue in (("events", events()), ("repairs", repairs())):
        print(name)  # noqa: T201 - for whoever writes the documents
        for one, places in sorted(catalogue.items()):
            print(" ", one, sorted(places))  # noqa: T201
