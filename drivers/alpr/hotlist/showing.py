"""Hits on the dock's screen: what waits for an answer, in words, and where the agency wants it with plate and pictures.

Pictures are in memory alone, of the last hits, and go when a hit is answered or others push them out. They are in the
capture as well, for whoever may open that.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal

from agent.driver import Lead

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drivers.alpr.hotlist.hits import Hit, Hits
    from drivers.alpr.read import Image

__all__ = ["Showing"]

_SHOWN: Final = 12
"""Hits that are shown."""
_OF_ONE: Final = 2
"""Pictures of one hit: the plate, and the vehicle or the scene."""
_LARGEST: Final = 2 << 20
_ROOM: Final = 24 << 20
"""Bytes of all pictures together."""
_ROLES: Final = {"plate": 0, "vehicle": 1, "overview": 2, "frame": 3}


class Showing:
    """What of hits is shown."""

    def __init__(self, what: Literal["nothing", "hits", "pictures"], hits: Hits) -> None:
        self._what, self._hits = what, hits
        self._pictures: OrderedDict[str, tuple[bytes, ...]] = OrderedDict()

    def keep(self, hit: Hit, images: Sequence[Image]) -> None:
        """There is a new one."""
        if self._what != "pictures":
            return
        shown = sorted((one for one in images if len(one.content) <= _LARGEST), key=lambda one: _ROLES.get(one.role, 9))
        self._pictures[hit.capture] = tuple(one.content for one in shown[:_OF_ONE])
        while len(self._pictures) > _SHOWN or self._length > _ROOM:
            self._pictures.popitem(last=False)

    def answered(self, hit: Hit) -> None:
        """A person said what it was."""
        self._pictures.pop(hit.capture, None)

    @property
    def _length(self) -> int:
        return sum(len(one) for pictures in self._pictures.values() for one in pictures)

    def leads(self) -> list[Lead]:
        """See `agent.driver.ShowsLeads`."""
        if self._what == "nothing":
            return []
        return [self._lead(hit) for hit in self._hits.pending()[: -_SHOWN - 1 : -1]]

    def picture(self, lead: str, number: int) -> bytes | None:
        """See `agent.driver.ShowsLeads`."""
        pictures = self._pictures.get(lead, ())
        return pictures[number] if 0 <= number < len(pictures) else None

    def _lead(self, hit: Hit) -> Lead:
        return Lead(
            id=hit.capture,
            at=hit.at,
            what=hit.category.replace("_", " "),
            lines=tuple(self._lines(hit)),
            todo=f"evidock hotlist outcome {hit.capture[:8]} confirmed (or misread, stale_list, no_action)",
            urgent=hit.urgent,
            pictures=len(self._pictures.get(hit.capture, ())),
        )

    def _lines(self, hit: Hit) -> Iterator[str]:
        if self._what == "pictures" and hit.listed:  # of a hit of the run before nobody knows the plate any more
            yield f"listed {hit.listed}, read {hit.plate}"
            yield from (fact for fact in (hit.vehicle, hit.reference) if fact)
        sure = "" if hit.sureness is None else f", sure {hit.sureness}"
        yield f"{hit.rule} at {hit.camera}{sure}"
        old = "of unknown age" if hit.age == "unknown" else hit.age
        yield f"list {hit.list}, {old}" + (": it may not be right any more" if hit.degraded else "")
