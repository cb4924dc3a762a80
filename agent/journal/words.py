"""The words by which people find a capture: who wore the camera, which incident, which unit, which device.

They stand in the claims of the entry `held`, in each maker's own terms. What is found under one of the names below is
folded (case, blanks) and kept in an index beside the journal; the entry itself stays as it is. Beside them stand the
words of the newest entry about its context: by what was corrected since, a capture is found as well.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from agent.context import folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KINDS", "VALUE_MAX", "WORDS_MAX", "context_words", "folded", "named", "words", "words_as_json"]

KINDS: Final = ("officer", "incident", "unit", "device")

VALUE_MAX: Final = 200
"""Characters of one word: what is longer is no name and no number."""
WORDS_MAX: Final = 64
"""Words of one capture."""
_DEEP: Final = 8

_OFFICER: Final = """officer officerid officername badge badgeid badgenumber user userid username wearer wearerid author
    operator operatorid employeeid"""
_INCIDENT: Final = """incident incidentid incidentnumber case caseid casenumber cad cadid cadnumber callid eventid
    eventnumber reportnumber"""
_NAMES: Final = {**dict.fromkeys(_OFFICER.split(), "officer"), **dict.fromkeys(_INCIDENT.split(), "incident")}
"""Names of claims, without what stands between their words, and what they name."""


def words(predicate: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(kind, folded value) of everything that an entry `held` names. Bounded, whatever a device claims."""
    found: set[tuple[str, str]] = set()
    device = predicate["device"]
    for name in ("id", "serial"):
        _add(found, "device", device.get(name))
    for kind, value in _named(predicate["capture"]["claims"], None, 0):
        if len(found) < WORDS_MAX:
            _add(found, kind, value)
    return found


def context_words(context: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(kind, folded value) of every officer, incident and unit that an entry about a capture's context names."""
    found: set[tuple[str, str]] = set()
    for part, kind in (("officers", "officer"), ("units", "unit"), ("incidents", "incident")):
        for one in context[part]:
            _add(found, kind, one.get(kind))
    return found


def named(predicate: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(kind, value) of the same claims as the device wrote them, each once."""
    found: dict[tuple[str, str], None] = {}
    for kind, value in _named(predicate["capture"]["claims"], None, 0):
        if isinstance(value, (str, int)) and not isinstance(value, bool) and 0 < len(str(value).strip()) <= VALUE_MAX:
            found[kind, str(value).strip()] = None
    return list(found)[:WORDS_MAX]


def words_as_json(leaf: bytes) -> str:
    """The same of a whole leaf, for SQL."""
    return json.dumps(sorted(words(json.loads(leaf)["predicate"])))


def _named(value: object, kind: str | None, depth: int) -> Iterator[tuple[str, object]]:
    """Every single value at or below a name that is known: `{"author": {"badge": "4471"}}` names an officer."""
    if depth > _DEEP:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _named(inner, _named_by(name) or kind, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner, kind, depth + 1)
    elif kind is not None:
        yield kind, value


@lru_cache(maxsize=128)  # a device's claims have the same few names each time
def _named_by(name: str) -> str | None:
    return _NAMES.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def _add(found: set[tuple[str, str]], kind: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return
    if (word := folded(str(value))) and len(word) <= VALUE_MAX:
        found.add((kind, word))
