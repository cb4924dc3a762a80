"""What belongs to a capture, for those who look: the device's own words, what was assigned, and what it said before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from agent.journal import contexts, queries
from agent.journal.words import named

if TYPE_CHECKING:
    from agent.journal import Journal

__all__ = ["belonging"]

_CLAIMS: Final = ("officer", "incident")


def belonging(journal: Journal, capture: str) -> dict[str, Any]:
    """`claimed`: what its device says. `now`: the newest entry about its context, or null. `before`: the earlier ones.

    `officer`, `unit` and `incident` are lists of names, for a glance: what was assigned. An officer that is null says
    that nobody had the device; an empty list that nothing was assigned.
    """
    story = list(queries.story(journal, capture))
    told = [entry["predicate"] for entry in story if "context" in entry["predicate"]]
    claimed = named(story[0]["predicate"])
    now = contexts.current(journal, capture)
    return {
        "claimed": {kind: sorted(value for name, value in claimed if name == kind) for kind in _CLAIMS},
        "officer": _names(now, "officers", "officer"),
        "unit": _names(now, "units", "unit"),
        "incident": _names(now, "incidents", "incident"),
        "category": _names(now, "incidents", "category"),
        "now": now,
        "before": [{**said["context"], "entry": said["seq"]} for said in told[:-1]],
    }


def _names(now: dict[str, Any] | None, part: str, word: str) -> list[str | None]:
    if now is None:
        return []
    return list(dict.fromkeys(one[word] for one in now[part] if word in one))
