"""What the journal tells those who look, as JSON: the same answers over the socket and without a daemon."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agent.capture import Standing, rfc3339
from agent.errors import Refusal
from agent.journal import anchors, queries
from agent.journal.witnessed import witnessed
from agent.station.acts import chosen
from agent.station.belonging import belonging

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.journal import Journal
    from agent.journal.witnessed import Bound

__all__ = [
    "PAGE_MAX",
    "WANTED",
    "View",
    "capture",
    "captures",
    "describe",
    "devices",
    "entries",
    "expected",
    "head",
    "keepers",
    "summary",
]

WANTED: Final = ("standing", "device", "officer", "incident", "unit", "since")
"""By what captures are found; each is optional, and all that are given must hold."""

View: TypeAlias = dict[str, Any]
"""What becomes JSON."""

PAGE_MAX: Final = 1000
"""Most captures, or entries, of one answer."""


def describe(holding: Holding) -> View:
    """One capture. Keys are stable; times are RFC 3339 in UTC, lengths bytes, digests hex."""
    receipt = holding.receipt
    return {
        "id": holding.id,
        "device": holding.origin.device,
        "key": holding.origin.key,
        "began_at": None if holding.origin.began_at is None else rfc3339(holding.origin.began_at),
        "standing": holding.standing.value,
        "length": holding.digest.length,
        "sha256": holding.digest.sha256.hex(),
        "blake3": holding.digest.blake3.hex(),
        "media_type": holding.media_type,
        "group": holding.group,
        "clip": holding.clip,
        "members": holding.members,
        "priority": holding.priority.name.lower(),
        "receipt": None
        if receipt is None
        else {"strength": receipt.strength.name.lower(), "destination": receipt.destination},
        "log": holding.log,
        "index": holding.index,
        "held_at": rfc3339(holding.held_at),
        "receipted_at": None if holding.receipted_at is None else rfc3339(holding.receipted_at),
        "changed_at": rfc3339(holding.changed_at),
        "spooled": holding.spooled,
        "volatile": holding.volatile,
        "device_forgets": holding.forgets,
        "kept_by_order": holding.retained,
        "drill": holding.drill,
        "reason": holding.reason,
    }


def captures(
    journal: Journal, *, limit: int = 100, before: int | None = None, drills: bool = False, **wanted: str | None
) -> View:
    """A page of captures, newest first. `next` is the `before` of the next page, or null. `wanted`: see `WANTED`."""
    search = queries.Search(
        standing=_standing(wanted.get("standing")),
        device=wanted.get("device"),
        officer=wanted.get("officer"),
        incident=wanted.get("incident"),
        unit=wanted.get("unit"),
        since=_since(wanted.get("since")),
        drills=drills,
    )
    found = queries.listing(journal, search, limit=_page(limit), before=before)
    return {
        "captures": [describe(holding) for holding in found],
        "next": found[-1].index if len(found) == limit else None,
    }


def capture(journal: Journal, beginning: str) -> View:
    """One capture with the times around its entry, its recording, and its story: every entry about it, in order."""
    name = chosen(journal, beginning)
    holding = journal.get(name)
    around = witnessed(journal, holding.index)
    told = {
        **describe(holding),
        "witnessed": {"after": _bound(around.after), "before": _bound(around.before)},
        "recording": _recording(journal, holding),
        "context": belonging(journal, name),
    }
    return {"capture": told, "story": list(queries.story(journal, name))}


def _bound(bound: Bound | None) -> View | None:
    return None if bound is None else {"at": rfc3339(bound.at), "by": bound.by, "size": bound.size}


def _recording(journal: Journal, holding: Holding) -> list[View]:
    """The clips of the recording that this one belongs to, itself among them; of a very long one the first."""
    if holding.group is None:
        return []
    found = queries.recording(journal, holding.origin.device, holding.group, PAGE_MAX)
    return [{"id": one.id, "clip": one.clip, "key": one.origin.key, "standing": one.standing.value} for one in found]


def devices(journal: Journal) -> View:
    """Every device of which captures were taken, the one that gave the newest first."""
    return {
        "devices": [
            {
                "id": found.device,
                "captures": found.captures,
                "bytes": found.bytes,
                "last_held_at": rfc3339(found.last_held_at),
            }
            for found in queries.devices(journal)
        ]
    }


def head(journal: Journal) -> View:
    """Name, size and root of the custody log."""
    return {"origin": journal.log, "size": journal.leaves.size, "root": journal.leaves.root().hex()}


def entries(journal: Journal, *, first: int | None = None, limit: int = 20) -> View:
    """Entries from leaf index `first` on, or the newest ones; `next` is the `first` of what comes after them."""
    limit, size = _page(limit), journal.leaves.size
    begin = max(0, size - limit) if first is None else max(0, first)
    found = [json.loads(leaf) for _, leaf in journal.leaves.between(begin, min(size, begin + limit))]
    return {"entries": found, "next": begin + len(found), "size": size}


def leaves(journal: Journal, first: int, end: int) -> bytes:
    """Leaves byte for byte, one a line: canonical JSON holds no line break."""
    return b"".join(leaf + b"\n" for _, leaf in journal.leaves.between(first, end))


def expected(journal: Journal, after: int) -> View:
    """What must lie in the spool, page by page; `next` is the `after` of the next page, or null."""
    page = queries.spooled(journal, after, PAGE_MAX)
    files = [
        {"capture": holding.id, "sha256": holding.digest.sha256.hex(), "length": holding.digest.length}
        for _, holding in page
    ]
    return {"files": files, "next": page[-1][0] if len(page) == PAGE_MAX else None}


def keepers(journal: Journal, names: object) -> View:
    """How many captures rest on each of these files of the spool, by SHA-256 in hex."""
    if not isinstance(names, list) or len(names) > PAGE_MAX:
        raise Refusal(f"give a list of at most {PAGE_MAX} digests")
    return {"keepers": {str(name): queries.keepers(journal, _digest(str(name))) for name in names}}


def summary(journal: Journal) -> View:
    """The log's head, how many captures stand where, and what waits for a person."""
    tally = queries.tally(journal)
    sums = {
        standing.value: {"captures": tally[standing].captures, "bytes": tally[standing].bytes}
        if standing in tally
        else {"captures": 0, "bytes": 0}
        for standing in Standing
        if standing is not Standing.UNKNOWN
    }
    return {
        "log": head(journal),
        "checkpoint": _checkpoint(journal),
        "tally": sums,
        "aside": {
            "refused": sums["refused"]["captures"],
            "quarantined": sums["quarantined"]["captures"],
            "parts": queries.parts_count(journal),
        },
    }


def _checkpoint(journal: Journal) -> View:
    """How much of the log was signed, how much witnesses cosigned, and who of them knows another history."""
    signed, cosigned, keys = anchors.newest(journal), anchors.newest_cosigned(journal), anchors.log_keys(journal)
    return {
        "size": 0 if signed is None else signed.size,
        "signed_at": None if signed is None else rfc3339(signed.signed_at),
        "cosigned_size": 0 if cosigned is None else cosigned.size,
        "cosigned_at": None if cosigned is None or cosigned.cosigned_at is None else rfc3339(cosigned.cosigned_at),
        "log_vkey": anchors.log_vkey(journal),
        "log_vkeys": [vkey for vkey in (keys.former, keys.key) if vkey is not None],
        "contradicted_by": [found.vkey for found in anchors.contradictions(journal)],
    }


def _digest(name: str) -> bytes:
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""  # nothing rests on a name that is none


def _standing(name: str | None) -> Standing | None:
    if name is None:
        return None
    try:
        return Standing(name)
    except ValueError:
        raise Refusal(f"{name!r} is not a standing; there are: {', '.join(Standing)}") from None


def _since(text: str | None) -> datetime | None:
    """A time as RFC 3339 or a day; what names no zone is UTC, as everything here is."""
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(f"{text!r} is no time; write it like 2026-11-22 or 2026-11-22T07:02:17Z") from None
    return when if when.utcoffset() is not None else when.replace(tzinfo=UTC)


def _page(limit: int) -> int:
    if not 1 <= limit <= PAGE_MAX:
        raise Refusal(f"a page has 1 to {PAGE_MAX} lines, not {limit}")
    return limit
