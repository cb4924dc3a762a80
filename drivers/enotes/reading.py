"""A notebook, looked through once more from its bytes: every signature, the chain, every note. Nothing is believed.

From the station's index, or from files of envelopes and a register of keys, for whoever has no station. No entry stays
in memory: of each one is kept what was found about it, and what it says is read again where somebody wants it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agent.errors import Refusal, in_words
from drivers.enotes.judging import ALARMING, Judged, judge
from drivers.enotes.register import Key, keys_of
from drivers.enotes.rereading import IndexLines, KeptLines
from drivers.enotes.shelf import reading
from drivers.enotes.signatures import PublicKey
from firmware_specs import SpecError
from firmware_specs.formats.enote import Status, envelope, moment, payload_of, unb64url
from firmware_specs.formats.enote_notebook import Item, Notebook

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from drivers.enotes.rereading import Lines, Row

__all__ = ["Act", "Looked", "from_files", "from_index", "register_of"]

T = TypeVar("T")

_KEPT: Final = ("tablet_", "other_")
"""Flags that only who received it could know."""
_REGISTER_MAX: Final = 1 << 25
"""Bytes of a register of keys."""
_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Act:
    """One envelope of a notebook, as it is found now, without what it says."""

    number: int
    digest: bytes
    """Of the envelope: what the next entry names."""
    received_sha256: bytes
    """Of the bytes as they came: the capture's digest of record."""
    seq: int | None
    note: str | None
    op: str | None
    base: Status | None
    """None: signature, key, rules and form are good."""
    status: Status
    flags: tuple[str, ...]
    why: tuple[str, ...]
    received_at: datetime | None
    """By the station's clock; None where only the file is there."""
    tablet: str | None
    told: str | None = None
    """What the index says; it should be the status."""

    @property
    def flagged(self) -> bool:
        """A person should look at it."""
        return self.status in ALARMING


@dataclass(slots=True)
class Looked:
    """A notebook as it was found. What it says can be asked for as long as its source is open."""

    notebook: str | None
    chain: Notebook
    source: Lines
    acts: list[Act] = field(default_factory=list)
    """In the order in which they came."""
    keys: dict[str, Key] = field(default_factory=dict)
    """Those that signed something in it and are registered."""
    missing: list[tuple[int, int]] = field(default_factory=list)

    @property
    def disagreeing(self) -> list[Act]:
        """What the index calls something else than is found now."""
        return [act for act in self.acts if act.told not in (None, act.status.value)]

    @property
    def flagged(self) -> list[Act]:
        """What a person should look at."""
        return [act for act in self.acts if act.flagged]

    def payload_of(self, act: Act) -> bytes:
        """What was signed. Raises `SpecError` where it cannot be read."""
        return unb64url(envelope(self._line(act)).payload)

    def entry_of(self, act: Act) -> dict[str, Any]:
        """What an entry says; to be believed only as far as its status goes."""
        entry, _, _ = payload_of(envelope(self._line(act)))
        return entry or {}

    def _line(self, act: Act) -> bytes:
        line = self.source.line(act.number)
        if sha256(line).digest() != act.received_sha256:
            raise Refusal("what is read was changed meanwhile", hint="Do it again, when nobody writes there.")
        return line


@contextmanager
def from_index(state: Path, notebook: str | None, *, late_after: timedelta) -> Iterator[Looked]:
    """A notebook of a station, by its index; None: what has no place in any. Raises `Refusal` where there is none."""
    with reading(state) as db:
        source, keys = IndexLines(db, notebook), keys_of(db)
        looking = _Looking(notebook, source, keys, late_after)
        for row in source.rows():
            looking.add(row)
        if not looking.acts:
            raise Refusal(f"no notebook {notebook} is known here", hint="List them: evidock enotes list.")
        yield looking.end()


@contextmanager
def from_files(files: Iterable[Path], keys: Mapping[str, Key], *, late_after: timedelta) -> Iterator[list[Looked]]:
    """The notebooks in files of envelopes, one a line or one a file, by these keys. Raises `Refusal`."""
    with KeptLines() as source:
        found: dict[str | None, _Looking] = {}
        for row in source.rows(files):
            try:
                judged = judge(row.line, keys, tablet=None, received_at=_EVER)
            except SpecError as error:
                raise Refusal(
                    f"{source.where(row.number)} is no file of envelopes: {error}",
                    hint="Name files with one envelope a line, as tablets send them.",
                ) from error
            name = judged.notebook
            found.setdefault(name, _Looking(name, source, keys, late_after)).put(row, judged)
        yield [looking.end() for looking in found.values()]


class _Looking:
    """One notebook while it is looked through."""

    def __init__(self, notebook: str | None, source: Lines, keys: Mapping[str, Key], late_after: timedelta) -> None:
        self._found = Looked(notebook, Notebook(late_after=late_after, entry_of=self._entry_of), source)
        self._keys = keys
        self.acts: dict[int, Act] = {}
        self._same: dict[object, Any] = {}
        """One of each word that many entries have."""

    def _entry_of(self, item: Item) -> dict[str, Any]:
        return self._found.entry_of(self.acts[item.number])

    def add(self, row: Row) -> None:
        """Judge one by its bytes, and put it where it belongs."""
        self.put(row, judge(row.line, self._keys, tablet=None, received_at=moment(row.received_at) or _EVER))

    def put(self, row: Row, judged: Judged) -> None:
        """The same for one that was judged."""
        kept = tuple(flag for flag in json.loads(row.flags) if flag.startswith(_KEPT))
        entry = judged.entry or {}
        self.acts[row.number] = Act(
            row.number,
            judged.envelope.digest,
            judged.envelope.received_sha256,
            judged.seq,
            self._once(_word(entry.get("note"))),
            self._once(_word(entry.get("op"))),
            judged.base,
            judged.base or Status.OK,
            self._once(judged.flags + kept),
            self._once(judged.why),
            moment(row.received_at),
            self._once(row.tablet),
            self._once(row.told),
        )
        if judged.base is None:
            item = judged.item(row.number)
            for one in (item, *self._found.chain.add(item)):
                self._is_now(self.acts[one.number], one)
        if (key := self._keys.get(judged.envelope.kid or "")) is not None:
            self._found.keys[key.public.kid] = key

    def _is_now(self, act: Act, item: Item) -> None:
        act.status, act.digest = item.status, item.digest
        act.flags = self._once(tuple(dict.fromkeys((*item.flags, *act.flags))))

    def _once(self, value: T) -> T:
        same: T = self._same.setdefault(value, value)
        return same

    def end(self) -> Looked:
        """All of it, when the last one was put."""
        self._found.acts = list(self.acts.values())
        self._found.missing = list(self._found.chain.missing)
        return self._found


def _word(said: object) -> str | None:
    return said if isinstance(said, str) else None


def register_of(path: Path) -> dict[str, Key]:
    """A register of keys as `evidock enotes keys --json` writes it. Raises `Refusal`."""
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_REGISTER_MAX))  # one without an end is none
        found = [_key(one) for one in (told["keys"] if isinstance(told, dict) else told)]
    except (OSError, ValueError, KeyError, TypeError, SpecError) as error:
        raise Refusal(
            f"{path} holds no register of keys: {in_words(error)}",
            hint="Write one at the station: evidock enotes keys --json.",
        ) from error
    return {key.public.kid: key for key in found}


def _key(told: dict[str, Any]) -> Key:
    since = moment(told["since"])
    if since is None:
        raise ValueError("a key has no `since`")
    return Key(
        PublicKey.of(told["public"]),
        str(told["badge"]),
        None if told.get("name") is None else str(told["name"]),
        str(told["tablet"]),
        since,
        moment(told.get("until")),
        str(told.get("how", "")),
        moment(told.get("registered_at")) or since,
        moment(told.get("ended_at")),
        bool(told.get("revoked")),
    )
