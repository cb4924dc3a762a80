"""Asked before anything: whether an offer may be taken at all, and whether a screen wants it.

Nothing here writes, and nothing that an offer says is repeated: not in an entry, not in a log, not in an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import structlog

from agent.capture import DRILL
from agent.driver import Screen
from agent.driver.screening import unscreened
from agent.errors import BadCapture, DeviceRefused
from agent.repairs import repair
from agent.sides import Sides

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from agent.capture import Device, Stamp
    from agent.driver import Offer, Readable

__all__ = ["Screening", "no_drill", "unwanted"]


class Screening:
    """The screens of one station."""

    def __init__(self, drivers: Callable[[], Iterable[object]], stamp: Callable[[], Stamp]) -> None:
        self._drivers, self._stamp = drivers, stamp
        self._sides, self._log = Sides(), structlog.get_logger("ingest")
        self._nobody: set[str] = set()
        """Whose offers came, and no screen was there that could have wanted them."""

    def passed(self, offer: Readable) -> Readable | None:
        """What is to be taken; None where it is passed by. Raises `DeviceRefused` where a screen failed."""
        # What makes an offer `Screened`: each capture comes by here, and `isinstance` of a protocol is slow.
        family: str | None = getattr(offer, "screened_by", None)
        if family is None:
            return offer
        screens = [one for one in self._drivers() if isinstance(one, Screen) and one.screens == family]
        if screens:
            self._nobody.discard(family)
        else:
            self._nobody.add(family)
        for screen in screens:
            if (wanted := self._asked(screen, cast("Offer", offer))) is not None:
                return wanted
        return None

    def notices(self) -> Iterator[dict[str, str | None]]:
        """Repair notices: to forget everything is lawful, and seldom what somebody set up cameras for."""
        for family in sorted({*self._nobody, *unscreened(self._drivers())}):
            yield repair("screen.none", "warning", f"family {family}", *unwanted(family))

    def _asked(self, screen: Screen, offer: Offer) -> Offer | None:
        side = type(screen).__name__
        try:
            wanted = screen.screen(offer, self._stamp())
        except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote what is to be forgotten
            why = type(error).__name__
            self._sides.broke(side, why, self._log.error, "screening_failed", screen=side, todo=DeviceRefused.hint)
        else:
            self._sides.works(side, self._log.info, "screening_recovered", screen=side)
            return wanted
        # Outside of the handler: the error that was handled would stand in this one's context, and be printed with it.
        raise DeviceRefused(f"the screen {side} failed ({why}), and what it was asked about was not taken")


def unwanted(family: str) -> tuple[str, str]:
    """(what is the matter, what to do) where nobody says what of a family is wanted."""
    detail = f"what devices of the family {family} offer is forgotten: no driver says what of it is wanted"
    return detail, f"Add a driver that screens {family} to agent.toml; for number plates that is alpr.hotlist."


def no_drill(device: Device) -> None:
    """Raise `BadCapture` for a device that bears a name of the station's own drills."""
    if device.id.startswith(DRILL):
        raise BadCapture(f"{device.id} is a name of the station's own drills, and no device may bear it")
