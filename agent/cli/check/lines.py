"""One line of `evidock check`: a kind, what was looked at, how it is, and what to do."""

from collections.abc import Iterator
from typing import TypeAlias

from agent.uplink import Finding

__all__ = ["Line", "Lines", "ok", "problem", "warning"]

Line: TypeAlias = tuple[str, Finding]
"""(kind, finding); the kind decides the exit code."""
Lines: TypeAlias = Iterator[Line]


def ok(kind: str, what: str, detail: str) -> Line:
    """All is well."""
    return kind, Finding(what=what, state="ok", detail=detail)


def warning(kind: str, what: str, detail: str, todo: str) -> Line:
    """It works, and someone should look."""
    return kind, Finding(what=what, state="warning", detail=detail, todo=todo)


def problem(kind: str, what: str, detail: str, todo: str) -> Line:
    """It does not work."""
    return kind, Finding(what=what, state="problem", detail=detail, todo=todo)
