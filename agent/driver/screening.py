"""What is forgotten unless a screen wants it: an offer that asks to be screened, and the driver that looks at it.

Nearly all that a number plate reader sees is to be forgotten at once. So the first thing that `take` does with such an
offer is to ask the screens of its family, in memory: before it is opened, hashed, copied, journaled, counted or logged.
The agent does not know what they look at. Where no screen is configured, or none wants it, nothing of it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.capture import Stamp
    from agent.driver import Offer

__all__ = ["Screen", "Screened", "unscreened"]


@runtime_checkable
class Screened(Protocol):
    """An offer that is kept only where a screen says so. A driver that offers no others bears the same attribute.

    Its origin stands in the journal and in the log once it is kept, and may be there for ever: nothing that is to be
    forgotten with the capture belongs into its key.
    """

    @property
    def screened_by(self) -> str:
        """Whose screens are asked, such as `alpr`."""


@runtime_checkable
class Screen(Protocol):
    """A driver that says what of the offers of its family is kept."""

    @property
    def screens(self) -> str:
        """The `screened_by` of the offers that it is asked about."""

    def screen(self, offer: Offer, stamp: Stamp, /) -> Offer | None:
        """The offer to take: the same, to keep it as it is, or one made of it; None passes it by.

        One that is made of it has the same device, and for the same offer again the same origin and the same bytes; its
        capture may have another priority and more claims. `stamp`: what our clocks say now, and how far they can be
        trusted. It answers at once, from memory: nothing else happens on this station meanwhile. What it raises keeps
        the offer from being taken, and its text is told to nobody, for it may quote what is to be forgotten.
        """


def unscreened(drivers: Iterable[object]) -> list[str]:
    """Families of which some driver offers what is forgotten unless it is wanted, and none says what is."""
    found = list(drivers)
    wanted = {one.screens for one in found if isinstance(one, Screen)}
    return sorted({one.screened_by for one in found if isinstance(one, Screened)} - wanted)
