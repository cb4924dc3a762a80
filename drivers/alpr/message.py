"""What a device sent, byte for byte, and which of its bytes must not be kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

__all__ = ["Message", "Removed"]


@dataclass(frozen=True, slots=True, order=True)
class Removed:
    """A piece of a message that is not kept: told by name and length, and never by a digest, which could be guessed."""

    start: int
    end: int
    what: str
    """Such as `occupant picture pilotPicture` or `another read`; never a value."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a device."""

    body: bytes = field(repr=False)
    content_type: str = ""
    """As stated; parameters included, for the boundary."""
    way: str = "http"
    """`http`, `poll`, `beanstalkd` or `mqtt`."""
    topic: str | None = None
    """Where it came over MQTT."""
    pictures: tuple[tuple[int, int, int], ...] = ()
    """(number of the part, start, end) of pictures that stand in the body as they are."""
    removed: tuple[Removed, ...] = ()
    """In the order of the body, and apart from each other."""

    def without(self, *pieces: Removed) -> Message:
        """The same, with more cut out of it; what lies inside of another piece goes with that."""
        kept: list[Removed] = []
        for piece in sorted({*self.removed, *pieces}, key=lambda one: (one.start, -one.end)):
            if not kept or piece.start >= kept[-1].end:
                kept.append(piece)
        return replace(self, removed=tuple(kept))
