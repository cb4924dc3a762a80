"""Clips of one recording are forgotten together: none before every one of them is receipted.

A device that has several files of one recording states how many it lists now; one that pushes says at the end how many
there were. What keeps a recording from being whole, and does not pass by itself, is told to a person.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeAlias

from agent.journal.recordings import recording, torn
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from agent.capture import Holding
    from agent.journal import Journal
    from agent.journal.recordings import Recording

__all__ = ["Recordings", "Waits"]

Name: TypeAlias = "tuple[str, str]"
"""(device, recording)."""

_TODO: Final = (
    "Look at each: evidock capture list, evidock capture show. What stands aside needs a person: evidock capture retry."
    ' If what is missing will never come, `policy.recordings = "clips"` lets devices forget each capture by itself.'
)
_NEVER: Final = float("inf")
_LISTED: Final = 600.0
_STATED: Final = 3600.0
_OPEN: Final = 86400.0
"""Seconds for which it may be so before a person is told."""
_MOST: Final = 1000
"""Recordings that wait, of which it is remembered since when."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Why nothing of a recording is forgotten yet."""

    why: str
    patience: float
    """Seconds until a person is told."""


@dataclass(slots=True)
class _Waiting:
    since: float
    why: Waits
    volatile: bool


@dataclass(slots=True)
class Recordings:
    """Those of one station. `whole`: False where the policy lets each clip be forgotten by itself."""

    whole: bool = True
    _let: Counter[Name] = field(default_factory=Counter)
    """Captures that their device forgot since it was last listed: it still counts them."""
    _waiting: dict[Name, _Waiting] = field(default_factory=dict)
    _torn: list[tuple[Name, str]] = field(default_factory=list)

    def look(self, journal: Journal, holding: Holding, listed: int | None) -> Waits | None:
        """Why this one has to wait for others; None: it need not. `listed`: how many its device counts now."""
        if not self.whole or holding.group is None:
            return None
        name = holding.origin.device, holding.group
        found = recording(journal, *name)
        return _waits(found, self._let.get(name, 0), listed, volatile=holding.volatile)

    def note(self, holding: Holding, waits: Waits | None) -> None:
        """Remember what `look` said, for those who have to be told."""
        if holding.group is None:
            return
        name = holding.origin.device, holding.group
        if waits is None:
            self._waiting.pop(name, None)
        elif (before := self._waiting.get(name)) is not None:
            before.why = waits
        elif len(self._waiting) < _MOST:
            self._waiting[name] = _Waiting(monotonic(), waits, holding.volatile)

    def forgotten(self, holding: Holding) -> None:
        """Its device has just forgotten it."""
        if holding.group is not None and not holding.volatile:
            self._let[holding.origin.device, holding.group] += 1

    def listed(self, device: str) -> None:
        """A device was looked at anew: what it counts from now on is what it has."""
        for name in [name for name in self._let if name[0] == device]:
            del self._let[name]

    def sweep(self, journal: Journal) -> list[tuple[Name, str]]:
        """Find recordings of which something stands aside; give what is found to `told`."""
        return [(name, _aside(recording(journal, *name)) or "") for name in torn(journal)]

    def told(self, found: list[tuple[Name, str]]) -> None:
        """From now on these are known to be torn."""
        self._torn = found

    def notices(self, here: Container[str]) -> Iterator[dict[str, str | None]]:
        """Repair notices. `here`: ids of the devices that are docked; what others hold is not looked at now."""
        known = dict(self._torn)
        for name, one in self._waiting.items():
            ripe = monotonic() - one.since >= one.why.patience
            if name not in known and ripe and (one.volatile or name[0] in here):
                known[name] = one.why.why
        for (device, group), why in known.items():
            detail = f"{device}: {why}; its other captures are not forgotten either"
            yield repair("recording.incomplete", "warning", f"recording {group}", detail, _TODO)


def _aside(found: Recording) -> str | None:
    if found.aside is None:
        return None
    return f"{found.aside[0]} stands {found.aside[1].value}, of {found.known} captures of one recording"


def _waits(found: Recording, let: int, listed: int | None, *, volatile: bool) -> Waits | None:
    if (aside := _aside(found)) is not None:
        return Waits(aside, 0.0)
    if found.held:
        return Waits(f"{found.held} of {found.known} captures of one recording are not receipted yet", _NEVER)
    return _of_pushed(found) if volatile else _of_listed(found, let, listed)


def _of_listed(found: Recording, let: int, listed: int | None) -> Waits | None:
    if listed is None or found.receipted + let >= listed:
        return None
    return Waits(f"the device lists {listed} captures of one recording, and {found.receipted} are here", _LISTED)


def _of_pushed(found: Recording) -> Waits | None:
    if found.stated is None or 0 < found.stated <= found.safe:
        return None
    if found.stated == 0:
        return Waits("its device has not said that the recording is finished", _OPEN)
    return Waits(f"its device says that the recording has {found.stated} captures, and {found.safe} came", _STATED)
