"""When a capture was recorded, by the station's time, how sure that is, and whether something else falls into it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from agent.capture import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Json

__all__ = ["DRIFT", "DURATION_MAX", "UNMEASURED", "Interval", "Overlap", "duration_of", "folded", "overlap"]

DURATION_MAX: Final = timedelta(days=7)
"""A capture that says that it is longer is not believed."""
UNMEASURED: Final = timedelta(minutes=2)
"""How far around a capture is looked where nobody has compared its device's clock; what is found is never certain."""
DRIFT: Final = 100e-6
"""By how much of the time between a comparison and a capture the device's clock may have run off meanwhile: 8.6 s a
day, more than what cheap recorders do."""

_MICROSECOND: Final = timedelta(microseconds=1)


class Overlap(StrEnum):
    """Whether two intervals meet."""

    CERTAIN = "certain"
    """They meet even if the clocks differ as much as they may."""
    LIKELY = "likely"
    """They meet by the times as they stand."""
    POSSIBLE = "possible"
    """They meet only if the clocks differ."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From a capture's beginning to its end, corrected by what was measured of its device's clock."""

    began_at: datetime
    ended_at: datetime
    """The same where no duration is known."""
    offset: timedelta | None = None
    """Device minus station; None where nobody compared."""
    uncertainty: timedelta | None = None
    """Of the correction, either way; None where nobody compared."""
    measured: int | None = None
    """The leaf of the comparison."""
    duration: timedelta | None = None

    @property
    def slack(self) -> timedelta:
        """How far around is looked."""
        return UNMEASURED if self.uncertainty is None else self.uncertainty

    @property
    def widest(self) -> tuple[datetime, datetime]:
        """The earliest beginning and the latest end that are possible."""
        return self.began_at - self.slack, self.ended_at + self.slack

    @property
    def claims(self) -> dict[str, Json]:
        """As it stands in an entry."""
        told: dict[str, Json] = {
            "duration": None if self.duration is None else f"{self.duration.total_seconds():.3f}",
            "from": rfc3339(self.began_at),
            "until": rfc3339(self.ended_at),
            "clock": None,
        }
        if self.offset is not None and self.uncertainty is not None:
            told["clock"] = {
                "entry": self.measured,
                "offset_us": self.offset // _MICROSECOND,
                "uncertainty_us": self.uncertainty // _MICROSECOND,
            }
        return told


def overlap(
    interval: Interval, began_at: datetime, ended_at: datetime | None, uncertainty: timedelta = timedelta(0)
) -> Overlap | None:
    """Whether something that lasted from the one to the other (None: it goes on) falls into a capture's interval."""
    slack = interval.slack + uncertainty
    if began_at > interval.ended_at + slack or (ended_at is not None and ended_at < interval.began_at - slack):
        return None
    # Certain: whichever way the clocks differ, some of the capture lies inside.
    for sure, margin in ((Overlap.CERTAIN, slack), (Overlap.LIKELY, timedelta(0))):
        if sure is Overlap.CERTAIN and interval.uncertainty is None:
            continue
        later = began_at <= interval.ended_at - margin
        earlier = ended_at is None or ended_at >= interval.began_at + margin
        if later and earlier:
            return sure
    return Overlap.POSSIBLE


def duration_of(claims: Mapping[str, Any]) -> timedelta | None:
    """How long a capture lasts, as its film or its driver says under `media.duration` or `duration`, in seconds."""
    media = claims.get("media")
    for place in (media if isinstance(media, dict) else {}, claims):
        said = place.get("duration")
        if isinstance(said, (str, int)) and not isinstance(said, bool):
            try:
                found = timedelta(seconds=float(said))
            except (ValueError, OverflowError):
                continue
            if timedelta(0) <= found <= DURATION_MAX:
                return found
    return None


def folded(value: str) -> str:
    """A word as it is compared: `PC  4471 ` and `pc 4471` are the same."""
    return " ".join(value.split()).casefold()
