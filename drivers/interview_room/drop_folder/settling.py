"""Which recordings are complete: they stood still for long enough, nobody writes, and what belongs to them is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from drivers.interview_room.drop_folder.sidecars import is_digest_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from drivers.interview_room.drop_folder.looking import Entry, Look
    from drivers.interview_room.drop_folder.options import FolderOptions
    from drivers.interview_room.drop_folder.sidecars import Beside, Told

__all__ = ["Known", "Ready", "Settling", "Sorted", "Waiting"]

EMPTY: Final = 4.0
"""A file of no bytes must stand still for so many times as long: most of them are about to be written."""


class Ready(NamedTuple):
    """One that is complete, and what shows it: `settled`, `side-car`, `marker` or `patience`."""

    entry: Entry
    how: str
    told: tuple[Told, ...] = ()
    beside: str | None = None
    """The film whose side-car it is."""


class Waiting(NamedTuple):
    """One that is not, and why not."""

    key: str
    why: str
    late: bool = False
    """For longer than `patience`."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the look itself."""

    still: Collection[str]
    """Keys of what stands still."""
    writing: Collection[str]
    """Keys of what is known to be open for writing."""
    beside: Beside
    told: Mapping[str, Sequence[Told]]
    """What side-cars say, by the film's key."""
    unread: Mapping[str, str]
    """Why a side-car cannot be read, by the film's key."""


@dataclass(slots=True)
class Sorted:
    """What became of everything that one look found."""

    ready: list[Ready] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    due: float | None = None
    """The moment (monotonic) from which one of those that wait may be complete, if it stands still."""


class Settling:
    """The memory of one folder while it is there.

    How old a file says it is proves nothing: clocks of recorders and of servers are off, and run backwards. Only what
    this station saw twice does. Kept is, for each name, when its state was first seen and since when it waits; it goes
    with the folder. What was taken is for the journal to know.
    """

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._states: dict[str, tuple[int, int, float]] = {}
        self._since: dict[str, float] = {}

    def still(self, entries: Iterable[Entry], now: float) -> set[str]:
        """Keys of those that stand still for long enough; call it once for each look. `now` was taken before it."""
        states: dict[str, tuple[int, int, float]] = {}
        found: set[str] = set()
        for entry in entries:
            known = self._states.get(entry.key)
            first = known[2] if known is not None and known[:2] == (entry.length, entry.mtime_ns) else now
            states[entry.key] = (entry.length, entry.mtime_ns, first)
            if now - first >= self._needed(entry):
                found.add(entry.key)
        self._states = states
        return found

    def _needed(self, entry: Entry) -> float:
        return self._options.stands_still * (EMPTY if entry.length == 0 else 1.0)

    def sort(self, look: Look, now: float, known: Known) -> Sorted:
        """Decide about everything that the look found."""
        found, since = Sorted(), dict[str, float]()
        for entry in look.entries:
            key, first = entry.key, self._states[entry.key][2]
            why = self._moving(entry, known) or self._lacking(key, known)
            if why is None or now - first >= self._options.patience:
                how = "patience" if why is not None else self._how(key, known)
                found.ready.append(Ready(entry, how, tuple(known.told.get(key, ())), known.beside.of(key)))
                continue
            since[key] = self._since.get(key, now)
            late = now - since[key] >= self._options.patience
            found.waiting.append(Waiting(key, why, late))
            settled_at = first + self._needed(entry)
            due = settled_at if settled_at > now else first + self._options.patience
            found.due = due if found.due is None else min(due, found.due)
        for entry in look.unfinished:
            since[entry.key] = self._since.get(entry.key, now)
            late = now - since[entry.key] >= self._options.patience
            found.waiting.append(Waiting(entry.key, "its name says that it is not finished", late))
        self._since = since
        return found

    def _moving(self, entry: Entry, known: Known) -> str | None:
        if entry.key in known.writing:
            return "somebody has it open for writing"
        if entry.key not in known.still:
            return f"it has not stood still for {self._needed(entry):.0f} s yet"
        return None

    def _lacking(self, key: str, known: Known) -> str | None:
        if is_digest_file(key) or known.beside.of(key) is not None:
            return None
        if key in known.unread:
            return f"its side-car cannot be read: {known.unread[key]}"
        options = self._options
        if options.complete == "side-car" and key not in known.told and key not in known.beside.attended:
            return "its side-car is not here"
        if options.complete == "marker":
            folder, _, name = key.rpartition("/")
            marker = f"{folder}/{options.marker}" if folder else options.marker
            if name != options.marker and marker not in known.still:
                return f"the file {options.marker} is not in its folder"
        return None

    def _how(self, key: str, known: Known) -> str:
        if key in known.told:
            return "side-car"
        return "settled" if known.beside.of(key) is not None else self._options.complete
