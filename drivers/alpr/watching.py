"""What is known of one camera while the driver runs: counts, and what a person should do. Nothing of any read."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter, OrderedDict
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

from agent.driver import Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drivers.alpr.read import Read

__all__ = ["Seen", "Watch"]

_RECENT: Final = 600.0
"""Seconds for which a notice stays after what it is about was seen last."""
_TO_SECONDS: Final = len("2026-11-22T07:41:03")
_FIRST: Final = 10
"""Messages after which a mapping that found no plate is told."""


class Seen:
    """Which reads came already, as digests under a key that never leaves memory: the reads themselves are forgotten."""

    def __init__(self, *, most: int = 100_000, life: float = 86_400.0) -> None:
        self._key = secrets.token_bytes(32)
        self._most, self._life = most, life
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def add(self, *words: str) -> bool:
        """Note it; True where it was there already."""
        token, now = self._token(words), monotonic()
        known = now - self._seen.pop(token, -self._life) < self._life
        self._seen[token] = now
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return known

    def has(self, *words: str) -> bool:
        """Whether it was noted."""
        return monotonic() - self._seen.get(self._token(words), -self._life) < self._life

    def _token(self, words: tuple[str, ...]) -> bytes:
        said = "\0".join(words).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, key=self._key, digest_size=16).digest()


class Watch:
    """Of one camera."""

    def __init__(self, name: str, *, clock_off: float, absent: float) -> None:
        self.name = name
        self._clock_off, self._absent = clock_off, absent
        self.counts: Counter[str] = Counter()
        """`messages`, `reads`, `unread`, `repeated`, `other`, `not_parsed`, `occupants`, `refused`, `not_kept`, ..."""
        self.seen = Seen()
        self.heard_at: float | None = None
        self._last: dict[str, float] = {}
        self._off: timedelta | None = None

    def heard(self) -> None:
        """Something came from it."""
        self.heard_at = monotonic()

    @property
    def present(self) -> bool:
        """It said something not long ago."""
        return self.heard_at is not None and monotonic() - self.heard_at < self._absent

    def count(self, what: str, by: int = 1) -> None:
        """Count it, and remember that it was just now."""
        self.counts[what] += by
        self._last[what] = monotonic()

    def read(self, read: Read) -> bool:
        """One read came; True where it came before."""
        self.count("reads")
        if read.plate is None:
            self.count("unread")
        elif read.matchable:
            self.counts["matchable"] += 1
        if read.captured_at is not None and not read.replayed:
            off = datetime.now(UTC) - read.captured_at
            self._off = off if abs(off) > timedelta(seconds=self._clock_off) else None
        again = self.seen.add("key", *read.key, read.phase)
        if again:
            self.count("repeated")
        return again

    def bring(self, read: Read) -> None:
        """The camera brought this read itself, and it was taken."""
        if read.plate is not None and read.captured_local is not None:
            self.seen.add("passage", read.plate.normalized, read.captured_local[:_TO_SECONDS])

    def brought(self, plate: str, at: datetime) -> bool:
        """Whether it brought a read of this plate at this second, by its own local digits."""
        return self.seen.has("passage", plate, at.isoformat()[:_TO_SECONDS])

    def _lately(self, what: str) -> bool:
        return monotonic() - self._last.get(what, -_RECENT) < _RECENT

    @property
    def told(self) -> str:
        """All counts, for people."""
        return ", ".join(f"{what.replace('_', ' ')} {n}" for what, n in sorted(self.counts.items())) or "silent"

    def notices(self) -> Iterator[Notice]:
        """What a person should do, each with what it is about and no word of any read."""
        what = f"camera {self.name}"
        if self._lately("not_parsed"):
            yield Notice(
                "alpr.not_parsed",
                "warning",
                what,
                f"{_messages(self.counts['not_parsed'])} of {what} could not be read since the start.",
                "Compare the camera's format with docs/alpr.md; `keep_unparsed_until` keeps such messages for a while.",
            )
        if self._lately("occupants"):
            yield Notice(
                "alpr.occupants",
                "warning",
                what,
                f"{what} sends pictures or facts of people: {self.counts['occupants']} since the start; none was kept.",
                "Turn off driver and passenger recognition in the camera.",
            )
        if self._lately("refused"):
            yield Notice(
                "alpr.refused",
                "warning",
                what,
                f"{_messages(self.counts['refused'])} for {what} did not show who sent them; they were not taken.",
                "Compare address, path and password in the camera with: evidock device enrol.",
            )
        if self._lately("not_kept"):
            yield Notice(
                "alpr.not_kept",
                "problem",
                what,
                f"{_messages(self.counts['not_kept'])} of {what} could not be kept; it is to repeat them.",
                "See what else evidock status says: the disk, or a screen.",
            )
        if self.counts["aside"]:
            yield Notice(
                "alpr.aside",
                "problem",
                what,
                f"{_messages(self.counts['aside'])} of {what} could not be taken since the start, and lie set aside.",
                "The log tells why (alpr_trouble), the journal under which name each lies among the parts of the "
                "spool: docs/alpr.md tells how it is sent again once the reason is gone.",
            )
        if self._lately("too_large"):
            yield Notice(
                "alpr.too_large",
                "warning",
                what,
                f"{_messages(self.counts['too_large'])} of {what} went beyond `body_max` since the start.",
                "Choose smaller pictures in the camera, or raise `body_max`.",
            )
        if self._lately("missing"):
            yield Notice(
                "alpr.gap",
                "warning",
                what,
                f"{_messages(self.counts['missing'])} of {what} did not arrive since the start, by its own counter.",
                "Look at the network between camera and station.",
            )
        if self._off is not None and self.present:
            way = "behind" if self._off > timedelta() else "ahead of"
            yield Notice(
                "alpr.clock",
                "warning",
                what,
                f"The clock of {what} is {abs(self._off).total_seconds():.0f} s {way} this station's.",
                "Set the camera's time server and time zone.",
            )
        if self.counts["messages"] >= _FIRST and self.counts["reads"] and not self.counts["matchable"]:
            yield Notice(
                "alpr.no_plate",
                "warning",
                what,
                f"Not one of {self.counts['reads']} reads of {what} has a plate.",
                "Look at the camera's view; for a mapping, at the path of `plate`.",
            )


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"
