"""What people say to the hotlists, and what they are told: `evidock hotlist`.

What stands in the custody log of an order holds no plate: neither one that was asked about, nor one that was read.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from agent.capture import rfc3339
from agent.errors import Refusal
from drivers.alpr.hotlist.arriving import beside, proof_of
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.hits import OUTCOMES, sureness
from drivers.alpr.hotlist.plates import folded, matchable, normalised
from drivers.alpr.read import Plate, Read

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent.capture import Json, Stamp
    from agent.driver import Record
    from drivers.alpr.hotlist.alerts import Alerts
    from drivers.alpr.hotlist.arriving import Arrivals, Proof
    from drivers.alpr.hotlist.hits import Hit, Hits
    from drivers.alpr.hotlist.keeping import Sealed
    from drivers.alpr.hotlist.matching import Match
    from drivers.alpr.hotlist.options import HotlistOptions
    from drivers.alpr.hotlist.screen import Matcher
    from drivers.alpr.hotlist.shelf import Age, Shelf
    from drivers.alpr.hotlist.waiting import Waiting

__all__ = ["ordered", "standing"]

_WHY_MAX: Final = 500
_ID_SHORTEST: Final = 4


class Lists(Protocol):
    """What people speak to: the driver."""

    options: HotlistOptions
    arrivals: dict[str, Arrivals]
    matcher: Matcher
    hits: Hits
    alerts: Alerts
    sealed: Sealed
    waiting: Waiting | None

    def stamp(self) -> Stamp:
        """What our clocks say now."""

    async def put_up(
        self,
        shelf: Shelf,
        path: Path,
        proof: Proof,
        *,
        announce: Callable[[Mapping[str, Json]], Awaitable[None]],
        confirmed: bool = False,
    ) -> dict[str, Json]:
        """Put a file to use."""

    async def tell_counts(self, *, all_: bool = False) -> None:
        """Let sums become entries."""

    async def answered(self, hit: Hit) -> None:
        """A person said what a hit was."""


async def ordered(lists: Lists, word: str, arguments: Mapping[str, Json], record: Record) -> Json:
    """See `agent.driver.TakesOrders`."""
    does = {
        "status": _status,
        "import": _import,
        "explain": _explain,
        "hits": _hits,
        "outcome": _outcome,
        "search": _search,
        "count": _count,
        "reload": _reload,
    }.get(word)
    if does is None:
        raise Refusal(f"{word!r} is nothing that can be said to hotlists")
    return await does(lists, arguments, record)


async def _status(lists: Lists, _: Mapping[str, Json], __: Record) -> Json:
    return {"lists": standing(lists), "hits": _waiting(lists), "alerts": dict(lists.alerts.troubles)}


async def _hits(lists: Lists, _: Mapping[str, Json], record: Record) -> Json:
    await record({"what": "the last hits were shown"})
    return {"hits": [hit.told() for hit in lists.hits.newest()]}


async def _count(lists: Lists, _: Mapping[str, Json], __: Record) -> Json:
    """Let the sums of this hour so far become entries, for a report that is whole."""
    await lists.tell_counts(all_=True)
    return {}


async def _reload(lists: Lists, _: Mapping[str, Json], record: Record) -> Json:
    """Ask the servers of all lists now: an operator orders it over MQTT."""
    await record({"what": "the servers of the lists are asked"})
    for arrivals in lists.arrivals.values():
        arrivals.ask()
    return {"lists": [*sorted(lists.arrivals)]}


def standing(lists: Lists) -> Json:
    """Every list as it is now."""
    stamp = lists.stamp()
    told: list[Json] = []
    for name, (shelf, age) in lists.matcher.ages(stamp).items():
        as_of = shelf.as_of
        told.append(
            {
                "list": name,
                "plates": shelf.about.get("plates"),
                "as_of": None if as_of is None else rfc3339(as_of),
                "age_s": age.seconds,
                "state": age.state.value,
                "searched": shelf.searched(age),
                "degraded": age.degraded,
                "sha256": shelf.about.get("source_sha256"),
                "layout": shelf.options.layout,
                "proof": shelf.options.proof,
                "signer": shelf.about.get("signer"),
                "source": shelf.about.get("source"),
                "skipped": dict(shelf.about.get("skipped") or {}),
                "bad": dict(shelf.about.get("bad") or {}),
                "building": shelf.building,
                "trouble": shelf.trouble,
            }
        )
    return told


def _waiting(lists: Lists) -> Json:
    pending = lists.hits.pending()
    return {"pending": len(pending), "oldest_at": rfc3339(pending[0].at) if pending else None}


async def _import(lists: Lists, arguments: Mapping[str, Json], record: Record) -> Json:
    name, file = arguments.get("list"), arguments.get("file")
    names = list(lists.arrivals)
    if name is None and len(names) == 1:
        name = names[0]
    if not isinstance(name, str) or name not in lists.arrivals:
        raise Refusal(
            f"say which list it is, with --list; there are: {', '.join(names)}",
            hint="Nothing was changed. Their ages: evidock hotlist status.",
        )
    if not isinstance(file, str) or not Path(file).is_absolute():
        raise Refusal("say which file, with its whole path")
    why, arrivals, path = _why(arguments), lists.arrivals[name], Path(file)
    confirmed = arguments.get("confirm") is True
    try:
        await asyncio.to_thread(arrivals.shelf.looked_at, path)
        proof = proof_of(arrivals.shelf.options, arrivals.keys, await asyncio.to_thread(beside, path))

        async def announce(told: Mapping[str, Json]) -> None:
            await record({"confirmed": confirmed, "why": why, **told})

        return await lists.put_up(arrivals.shelf, path, proof, announce=announce, confirmed=confirmed)
    except BadList as error:
        arrivals.shelf.blame(error)
        raise Refusal(str(error), hint=error.what_to_do) from error


async def _explain(lists: Lists, arguments: Mapping[str, Json], record: Record) -> Json:
    """What a read of this plate would be, and why. That somebody asked is an entry; for what is not in it."""
    asked = arguments.get("plate")
    plate = normalised(asked) if isinstance(asked, str) and len(asked) < 100 else ""  # noqa: PLR2004 - no plate is
    if not matchable(plate):
        raise Refusal(
            "a plate has 2 to 12 letters and digits", hint="Nothing was looked up. Write it as a camera would read it."
        )
    stamp = lists.stamp()
    ages = lists.matcher.ages(stamp)
    read = Read(vendor="generic", device="evidock", key=("generic", "evidock"), plate=Plate(plate))
    found = lists.matcher.found(read, ages)
    near = lists.matcher.found(read, ages, whatever_differs=True)
    await record({"what": "a plate was looked up by hand", "matches": len(found), "why": _why(arguments)})
    return {
        "normalised": plate,
        "folded": folded(plate),
        "max_confusable": lists.options.max_confusable,
        "matches": [_match(match, ages) for match in found],
        "beyond_policy": [_match(match, ages) for match in near if match not in found],
        "lists": standing(lists),
    }


def _match(match: Match, ages: Mapping[str, tuple[Shelf, Age]]) -> Json:
    return {
        "list": match.list,
        "plate": match.entry.plate,
        "rule": match.rule,
        "category": match.entry.category,
        "region": match.entry.region,
        "reference": match.entry.reference,
        "vehicle": match.entry.vehicle,
        "list_state": ages[match.list][1].state.value,
        "sureness": sureness(match),
    }


async def _outcome(lists: Lists, arguments: Mapping[str, Json], record: Record) -> Json:
    outcome, beginning = arguments.get("outcome"), arguments.get("capture")
    if outcome not in OUTCOMES:
        raise Refusal(f"an outcome is one of {', '.join(OUTCOMES)}", hint="Nothing was changed.")
    if not isinstance(beginning, str) or len(beginning) < _ID_SHORTEST:
        raise Refusal(
            f"give at least the first {_ID_SHORTEST} characters of a hit's id",
            hint="Nothing was changed. List them: evidock hotlist hits.",
        )
    hits = lists.hits.chosen(beginning)
    if len(hits) != 1:
        raise Refusal(f"{len(hits)} hits have an id that begins so", hint="List them: evidock hotlist hits.")
    hit = hits[0]
    told: dict[str, Json] = {"capture": hit.capture, "outcome": outcome, "was": hit.state, "why": _why(arguments)}
    await record({**told, "list": hit.list, "rule": hit.rule})
    hit.state = str(outcome)
    await lists.answered(hit)
    return hit.told(plate=False)


async def _search(lists: Lists, arguments: Mapping[str, Json], record: Record) -> Json:
    """Reads that are kept sealed, of one plate."""
    asked = arguments.get("plate")
    plate = normalised(asked) if isinstance(asked, str) and len(asked) < 100 else ""  # noqa: PLR2004 - no plate is
    if not matchable(plate):
        raise Refusal(
            "a plate has 2 to 12 letters and digits", hint="Nothing was looked up. Write it as a camera would read it."
        )
    if not lists.sealed.on:
        raise Refusal("reads that are no hits are not kept here", hint="Nothing was looked at: keep_non_hits is 0.")
    why = _why(arguments)
    if not why:
        raise Refusal("say why", hint='Nothing was looked at. Add --why "the reason".')
    found = await asyncio.to_thread(_sealed, lists, folded(plate))
    await record({"what": "sealed reads were searched for one plate", "found": len(found), "why": why})
    return {"reads": found}


def _sealed(lists: Lists, fold: str) -> list[Json]:
    found: list[Json] = []
    for one in chain(lists.sealed.reads(), () if lists.waiting is None else lists.waiting.reads()):
        plate = one["read"]["plate"] or {}
        if folded(normalised(plate.get("number") or "")) == fold:
            found.append({"camera": one["camera"], "captured_at": one["read"]["captured_at"], "plate": plate["number"]})
    return found


def _why(arguments: Mapping[str, Json]) -> str:
    why = arguments.get("why") or ""
    if not isinstance(why, str) or len(why) > _WHY_MAX or not why.isprintable():
        raise Refusal(f"a reason has at most {_WHY_MAX} printable characters")
    return why.strip()
