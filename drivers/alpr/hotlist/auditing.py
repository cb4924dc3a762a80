"""The audit report: what was read, found, misread and forgotten, in numbers, made from the entries of the custody log.

It names no plate, no place and no time of a read: sums of the whole span alone, and the days on which lists were put to
use. Each number rests on entries whose numbers it gives, so that whoever has the log can count again.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent.capture import rfc3339
from drivers.alpr.hotlist.counting import COUNT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FORMAT", "audited", "page"]

FORMAT: Final = "alpr-audit/1"

_SUMS: Final = ("reads", "unread", "passed_by", "sealed", "not_sealed", "hits", "degraded")
_ORDERS: Final = ("import", "explain", "hits", "outcome", "search")


@dataclass
class _Report:
    cameras: dict[str, Counter[str]] = field(default_factory=dict)
    by_rule: dict[str, Counter[str]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    policies: Counter[str] = field(default_factory=Counter)
    lists: list[dict[str, Any]] = field(default_factory=list)
    ages: dict[str, dict[str, Any]] = field(default_factory=dict)
    purges: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: list[int] = field(default_factory=list)
    parts: set[str] = field(default_factory=set)
    """Names of the sums that were told, also before the span that is counted."""


def audited(
    leaves: Iterable[bytes], *, log: str, since: datetime | None = None, until: datetime | None = None
) -> dict[str, Any]:
    """The report over the leaves of a log, all from its first on. `since` and `until` bound what is counted."""
    report, size = _Report(), 0
    for number, leaf in enumerate(leaves):
        size = number + 1
        # Most entries are of captures: only those that can be ours are taken apart.
        if b'"alpr.' in leaf or b'"hotlist.' in leaf or b'"driver.ordered"' in leaf:
            _counted(report, number, json.loads(leaf)["predicate"], since, until)
    totals: Counter[str] = Counter()
    for sums in report.cameras.values():
        totals.update(sums)
    return {
        "format": FORMAT,
        "log": log,
        "log_size": size,
        "made_at": rfc3339(datetime.now(UTC)),
        "since": None if since is None else rfc3339(since),
        "until": None if until is None else rfc3339(until),
        "totals": {name: totals[name] for name in _SUMS},
        "cameras": {name: {one: sums[one] for one in _SUMS} for name, sums in sorted(report.cameras.items())},
        "hits_by_rule": {name: dict(sorted(rules.items())) for name, rules in sorted(report.by_rule.items())},
        "outcomes": dict(sorted(report.outcomes.items())),
        "lists": report.lists,
        "list_ages": dict(sorted(report.ages.items())),
        "purges": {
            "spans": len(report.purges),
            "reads": sum(one["reads"] for one in report.purges.values()),
            "entries": [one["entry"] for one in report.purges.values()],
        },
        "sealed_and_not_yet_forgotten": totals["sealed"] - sum(one["reads"] for one in report.purges.values()),
        "orders": dict(sorted(report.orders.items())),
        "policies": sorted(report.policies),
        "count_entries": report.entries,
    }


def _counted(
    report: _Report, number: int, predicate: dict[str, Any], since: datetime | None, until: datetime | None
) -> None:
    at = datetime.fromisoformat(predicate["recorded_at"])
    if _again(report, predicate) or (since is not None and at < since) or (until is not None and at >= until):
        return
    match predicate:
        case {"observation": {"kind": kind, "device": camera, "detail": detail}} if kind == COUNT:
            report.entries.append(number)
            _hour(report, camera, detail)
        case {"observation": {"kind": "hotlist.activated", "detail": detail}}:
            told = {name: detail.get(name) for name in ("list", "plates", "as_of", "expires_at", "sha256", "proof")}
            report.lists.append({"entry": number, "day": predicate["recorded_at"][:10], **told})
        case {"observation": {"kind": "alpr.purged", "detail": {"count": count, "span": span}}}:
            report.purges[span] = {"entry": number, "reads": count}  # told again where it was not done the first time
        case {"order": {"word": word, "detail": detail}} if word in _ORDERS and _is_ours(word, detail):
            report.orders[word] += 1
            if word == "outcome":
                report.outcomes[str(detail["outcome"])] += 1


def _again(report: _Report, predicate: dict[str, Any]) -> bool:
    """A sum was told before: a kill came between its entry and the note that it was told."""
    match predicate:
        case {"observation": {"kind": kind, "detail": {"part": part}}} if kind == COUNT:
            again = part in report.parts
            report.parts.add(part)
            return again
    return False


def _is_ours(word: str, detail: dict[str, Any]) -> bool:
    """Other drivers take orders, too: ours say which list, or what was done."""
    return "outcome" in detail if word == "outcome" else "list" in detail or "what" in detail


def _hour(report: _Report, camera: str, detail: dict[str, Any]) -> None:
    sums = report.cameras.setdefault(camera, Counter())
    sums.update({name: detail.get(name, 0) for name in _SUMS})
    for name, rules in detail["by_rule"].items():
        report.by_rule.setdefault(name, Counter()).update(rules)
    report.policies[detail["policy"]] += 1
    for name, facts in detail["lists"].items():
        ages = report.ages.setdefault(name, {"oldest_s": None, "hours_by_state": Counter()})
        ages["hours_by_state"][facts["state"]] += 1
        if facts["age_s"] is not None:
            ages["oldest_s"] = max(facts["age_s"], ages["oldest_s"] or 0)


# -- for people --------------------------------------------------------------------------------------------------------

_STYLE: Final = """body{font:16px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;color:#111;background:#fff}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.2rem 1rem .2rem 0;border-bottom:1px
solid #ccc;vertical-align:top}td.n{text-align:right}h1{font-size:1.4rem}h2{font-size:1.1rem}p.s{color:#444}"""


def page(report: dict[str, Any]) -> str:
    """The same as one HTML file that needs nothing beside it."""
    return "".join(_written(report))


def _written(report: dict[str, Any]) -> Iterator[str]:
    title = "Number plate reads: audit"
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    yield f"<h1>{title}</h1><p>{_said(report['log'])}, {_said(report['log_size'])} entries; "
    yield f"from {_said(report['since'] or 'the beginning')} to {_said(report['until'] or report['made_at'])}.</p>"
    yield '<p class="s">Numbers alone: no plate, no place, no time of a read. Each rests on entries of the custody log '
    yield "(evidock journal), whose numbers the JSON form of this report gives.</p>"
    yield "<h2>Reads</h2>"
    head = ["camera", "reads", "without a plate", "passed by", "kept sealed", "no room to keep"]
    head += ["hits", "of them by a degraded list"]
    rows = [(name, *(sums[one] for one in _SUMS)) for name, sums in report["cameras"].items()]
    yield _table(head, [*rows, ("all", *(report["totals"][one] for one in _SUMS))])
    yield "<h2>Hits by list and rule</h2>"
    found = [(name, rule, count) for name, rules in report["hits_by_rule"].items() for rule, count in rules.items()]
    yield _table(("list", "rule", "hits"), found)
    yield "<h2>What people said of hits</h2>"
    yield _table(("outcome", "hits"), report["outcomes"].items())
    yield "<h2>Lists put to use</h2>"
    names = ("day", "list", "plates", "as_of", "proof", "sha256", "entry")
    yield _table(names, [tuple(one[name] for name in names) for one in report["lists"]])
    yield "<h2>Ages of the lists, by camera and hour</h2>"
    ages = [
        (name, one["oldest_s"], ", ".join(f"{state} {hours}" for state, hours in one["hours_by_state"].items()))
        for name, one in report["list_ages"].items()
    ]
    yield _table(("list", "oldest (s)", "hours"), ages)
    yield "<h2>Reads that were kept and forgotten</h2>"
    purges = report["purges"]
    yield _table(
        ("spans", "reads", "not yet forgotten"),
        [(purges["spans"], purges["reads"], report["sealed_and_not_yet_forgotten"])],
    )
    yield "<h2>What people did</h2>"
    yield _table(("act", "times"), report["orders"].items())
    yield f"<p>Policies in force: {_said(', '.join(report['policies']) or 'none')}.</p></html>\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    written = "".join(
        "<tr>"
        + "".join(f'<td class="n">{one}</td>' if isinstance(one, int) else f"<td>{_said(one)}</td>" for one in row)
        + "</tr>"
        for row in rows
    )
    if not written:
        return "<p>none</p>"
    return f"<table><tr>{''.join(f'<th>{_said(one)}</th>' for one in head)}</tr>{written}</table>"


def _said(value: object) -> str:
    return "" if value is None else html.escape(str(value))
