"""The screen itself: each read is held against the lists in memory, and is passed by or becomes a hit."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

from agent.capture import printable
from drivers.alpr.hotlist.hits import DOCUMENT, Hit, HitOffer, claims_of, document_of, sureness
from drivers.alpr.hotlist.matching import Rules, matches, readings
from drivers.alpr.hotlist.plates import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.capture import Stamp
    from agent.driver import Offer
    from drivers.alpr.hotlist.counting import Counts
    from drivers.alpr.hotlist.hits import Hits, ReadOffer
    from drivers.alpr.hotlist.matching import Match
    from drivers.alpr.hotlist.options import HotlistOptions
    from drivers.alpr.hotlist.shelf import Age, Shelf
    from drivers.alpr.hotlist.waiting import Waiting
    from drivers.alpr.read import Image, Read

__all__ = ["Matcher", "ScreenedReads"]

_RECENT_MAX: Final = 10_000


class Matcher:
    """The rules of the options over the lists that are in use."""

    def __init__(self, options: HotlistOptions, shelves: Mapping[str, Shelf]) -> None:
        self._rules = Rules(options.max_confusable, options.unsure_below)
        self._shelves = shelves
        self._urgent = {one.name: frozenset(one.urgent) for one in options.list}

    def ages(self, stamp: Stamp) -> dict[str, tuple[Shelf, Age]]:
        """Every list and how old it is now."""
        return {
            name: (shelf, shelf.age(stamp.at, synchronised=stamp.synchronised)) for name, shelf in self._shelves.items()
        }

    def found(
        self, read: Read, ages: Mapping[str, tuple[Shelf, Age]], *, whatever_differs: bool = False
    ) -> list[Match]:
        """What this read may be; urgent categories first among equals.

        `whatever_differs`: also what differs, as cameras confuse characters, in more places than the policy permits.
        """
        plate = read.plate
        if plate is None:
            return []
        asked = readings(
            plate.number,
            plate.likelihood,
            plate.char_likelihood,
            [(one.number, one.likelihood) for one in plate.candidates],
        )
        lists = [(name, shelf.find) for name, (shelf, age) in ages.items() if shelf.searched(age)]
        rules = Rules(LONGEST, 0.0) if whatever_differs else self._rules
        if not (found := matches(asked, lists, rules, region=plate.region)):
            return found
        return sorted(found, key=lambda match: (match.differences, not self.urgent(match)))

    def urgent(self, match: Match) -> bool:
        """Whether its category is one that comes first."""
        return match.entry.category in self._urgent.get(match.list, ())


class ScreenedReads:
    """What becomes of each read. Everything that it is made with is the driver's."""

    def __init__(  # noqa: PLR0917 - all of them are told
        self,
        options: HotlistOptions,
        matcher: Matcher,
        hits: Hits,
        counts: Counts,
        waiting: Waiting | None,
        alert: Callable[[Hit], None],
        show: Callable[[Hit, Sequence[Image]], None],
    ) -> None:
        """`waiting` seals what is no hit, `alert` tells of a hit that is news, `show` keeps the pictures of each."""
        self._options, self._matcher = options, matcher
        self._hits, self._counts, self._waiting = hits, counts, waiting
        self._alert, self._show = alert, show
        self._recent: dict[tuple[str, str], float] = {}

    def screen(self, offer: ReadOffer, stamp: Stamp) -> Offer | None:
        """See `agent.driver.Screen.screen`."""
        wanted = self._screened(offer, stamp)
        self._counts.count(offer.device.id, stamp.at, "reads")  # now: where there was no room, it is sent again
        return wanted

    def _screened(self, offer: ReadOffer, stamp: Stamp) -> Offer | None:
        read = offer.read
        if not read.matchable:
            self._passed_by(offer, stamp)
            self._counts.count(offer.device.id, stamp.at, "unread")
            return None
        ages = self._matcher.ages(stamp)
        found = self._matcher.found(read, ages)
        if found:
            return self._hit(offer, found, ages, stamp)
        self._passed_by(offer, stamp)
        return None

    def _passed_by(self, offer: ReadOffer, stamp: Stamp) -> None:
        camera = offer.device.id
        if self._waiting is not None and offer.read.plate is not None:
            self._waiting.add({"camera": camera, "read": offer.read.facts}, stamp.at)
        else:
            self._counts.count(camera, stamp.at, "passed_by")

    def _hit(
        self,
        offer: ReadOffer,
        found: Sequence[Match],
        ages: Mapping[str, tuple[Shelf, Age]],
        stamp: Stamp,
    ) -> Offer:
        """The capture of a hit. One that is offered again becomes the same bytes, and alerts nobody twice."""
        capture = offer.capture
        # A camera may tell one passage several times, and read it better: each telling is a hit of its own.
        telling = (capture.origin.token, offer.read.phase, found[0].reading.plate)
        urgent = any(self._matcher.urgent(match) for match in found)
        if (made := self._hits.made(telling)) is not None:
            return cast("Offer", HitOffer(offer.adding(DOCUMENT, made[0]), made[1]))
        document: dict[str, Any] = document_of(found, ages, stamp, self._options.policy)
        claims = claims_of(found, ages, urgent=urgent)
        self._hits.remember(telling, document, claims)
        hit_offer = HitOffer(offer.adding(DOCUMENT, document), claims)
        best, age = found[0], ages[found[0].list][1]
        for what in ("hits", f"hit:{best.list}:{best.rule}", *(("degraded",) if age.degraded else ())):
            self._counts.count(capture.device.id, stamp.at, what)
        hit = Hit(
            capture=hit_offer.id,
            camera=capture.device.id,
            at=stamp.at,
            plate=printable(best.reading.plate),
            listed=best.entry.plate,
            rule=best.rule,
            list=best.list,
            category=best.entry.category,
            reference=best.entry.reference,
            vehicle=best.entry.vehicle,
            sureness=sureness(best),
            age=age.state.value,
            degraded=age.degraded,
            urgent=urgent,
        )
        self._hits.add(hit)
        self._show(hit, offer.read.images)
        # A read that comes late is evidence like any other, and nobody is sent after it.
        if not offer.read.replayed and self._is_new(hit):
            self._alert(hit)
        return cast("Offer", hit_offer)

    def _is_new(self, hit: Hit) -> bool:
        """The same plate at the same camera alerts once in a while."""
        now, key, quiet = monotonic(), (hit.camera, hit.listed), self._options.quiet / timedelta(seconds=1)
        last = self._recent.get(key)
        self._recent[key] = now
        if len(self._recent) > _RECENT_MAX:
            self._recent = {one: at for one, at in self._recent.items() if now - at < quiet}
        return last is None or now - last >= quiet
