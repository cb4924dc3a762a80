"""A read against the lists: what it may be, by which rule, and how sure.

    exact       the same characters, the letter O and the digit 0 being one
    ocr(n)      n characters differ, each only as cameras confuse them (0ODQ, 1I, 2Z, 5S, 8B, 6G)
    unsure(n)   n characters differ, one of them freely: the camera itself was unsure of it, and of none more

A match by any rule is a lead, and no finding: a person looks at the picture before anything is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from drivers.alpr.hotlist.plates import folded, matchable, normalised, with_zeros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from drivers.alpr.hotlist.index import Entry

__all__ = ["CANDIDATES", "MATCHES", "Match", "Reading", "Rules", "matches", "readings"]

CANDIDATES: Final = 10
"""Readings of one plate that are looked up, the best first."""
MATCHES: Final = 16
"""Matches of one read that are told."""

_CLASSES: Final = "0123456789ACEFHJKLMNPRTUVWXY"
"""One character of each class that `folded` makes."""
_WITHOUT_WORD: Final = 0.5
"""How sure a confusion is counted where the camera says nothing of the character."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a match."""

    max_confusable: int = 1
    """Characters that may differ, 0 to 2."""
    unsure_below: float = 0.7
    """A character that the camera gives less than this is one that it was unsure of; 0 asks for none."""


class Reading(NamedTuple):  # and no dataclass: one is made for every read, in half of the time
    """One way of reading a plate."""

    plate: str
    """Normalised."""
    likelihood: float | None = None
    chars: tuple[float, ...] = ()
    """For each character of the normalised plate; empty where the camera does not say."""
    rank: int = 0
    """0: the best reading; else which of the camera's other ones."""


class Match(NamedTuple):
    """One listed plate that a read may be."""

    list: str
    entry: Entry
    rule: str
    differences: int
    reading: Reading
    sureness: float | None
    """0 to 1; None where the camera says nothing of how sure it is."""
    region_mismatch: bool | None
    """The list and the camera name different regions; None where either names none."""

    @property
    def order(self) -> tuple[object, ...]:
        """What comes first."""
        loose = self.rule.startswith("unsure")
        return (self.differences, loose, self.reading.rank, bool(self.region_mismatch), -(self.sureness or 0.0))


def readings(
    number: str,
    likelihood: float | None = None,
    chars: Sequence[float] = (),
    candidates: Iterable[tuple[str, float | None]] = (),
) -> list[Reading]:
    """Every reading that can be looked up, the best first, each once. `chars`: of the number as it was sent."""
    best = normalised(number)
    found = [Reading(best, likelihood, _kept(number, best, chars) if chars else ())] if matchable(best) else []
    if not candidates:
        return found
    seen = {best}
    for rank, (other, share) in enumerate(candidates, 1):
        if rank > CANDIDATES:
            break
        plate = normalised(other)
        if matchable(plate) and plate not in seen:
            seen.add(plate)
            found.append(Reading(plate, share, (), rank))
    return found


def _kept(number: str, plate: str, chars: Sequence[float]) -> tuple[float, ...]:
    """What the camera says of each character of the normalised plate; empty where it cannot be told which is which."""
    if len(chars) != len(number):
        return ()
    told = tuple(share for c, share in zip(number, chars, strict=True) if c.isascii() and c.isalnum())
    return told if len(told) == len(plate) else ()


def matches(
    found: Iterable[Reading],
    lists: Sequence[tuple[str, Callable[[str], Sequence[Entry]]]],
    rules: Rules,
    *,
    region: str | None = None,
) -> list[Match]:
    """What these readings may be, the surest first. `lists`: names, each with its look-up. `region`: ISO 3166-2."""
    best: dict[tuple[str, Entry], Match] = {}
    for reading in found:
        for name, find in lists:
            entries = find(reading.plate)
            if not entries and not reading.chars:
                continue  # nearly every read ends here
            for match in _of_reading(reading, name, entries, find, rules, region):
                key = (name, match.entry)
                if key not in best or match.order < best[key].order:
                    best[key] = match
    if len(best) <= 1:
        return list(best.values())
    return sorted(best.values(), key=lambda match: match.order)[:MATCHES]


def _of_reading(
    reading: Reading,
    name: str,
    entries: Sequence[Entry],
    find: Callable[[str], Sequence[Entry]],
    rules: Rules,
    region: str | None,
) -> Iterator[Match]:
    for entry in entries:
        places = _differing(reading.plate, entry.plate)
        if len(places) <= rules.max_confusable:
            yield _match(reading, name, entry, places, f"ocr({len(places)})" if places else "exact", region)
    if (free := _unsure(reading, rules)) is None:
        return
    before, own, after = reading.plate[:free], folded(reading.plate[free]), reading.plate[free + 1 :]
    for other in _CLASSES:
        if other == own:
            continue
        for entry in find(f"{before}{other}{after}"):
            places = [*(place for place in _differing(reading.plate, entry.plate) if place != free), free]
            if len(places) <= rules.max_confusable:
                yield _match(reading, name, entry, places, f"unsure({len(places)})", region)


def _unsure(reading: Reading, rules: Rules) -> int | None:
    """The character that the camera was least sure of, where it was unsure at all."""
    if not reading.chars or not rules.max_confusable:
        return None
    least = min(range(len(reading.chars)), key=reading.chars.__getitem__)
    return least if reading.chars[least] < rules.unsure_below else None


def _differing(read: str, listed: str) -> list[int]:
    if (read := with_zeros(read)) == (listed := with_zeros(listed)):
        return []
    pairs = zip(read, listed, strict=True)
    return [place for place, (one, other) in enumerate(pairs) if one != other]


def _match(reading: Reading, name: str, entry: Entry, places: Sequence[int], rule: str, region: str | None) -> Match:
    sure = reading.likelihood
    for place in places:
        doubt = 1 - reading.chars[place] if reading.chars else _WITHOUT_WORD
        sure = None if sure is None else sure * doubt
    mismatch = None
    if region is not None and entry.region is not None:
        mismatch = region != entry.region
    return Match(name, entry, rule, len(places), reading, sure, mismatch)
