"""A notebook, looked through once more from its bytes: every signature, the chain, every note. Nothing is believed.

From the station's index, or from files of envelopes and a register of keys, for whoever has no station.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.errors import Refusal, in_words
from drivers.enotes.judging import ALARMING, Judged, judge
from drivers.enotes.register import Key, keys_of
from drivers.enotes.shelf import reading
from drivers.enotes.signatures import PublicKey
from firmware_specs import SpecError
from firmware_specs.formats.enote import LINE_MAX, Status, moment
from firmware_specs.formats.enote_notebook import Notebook

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Act", "Looked", "from_files", "from_index", "register_of"]

_KEPT: Final = ("tablet_", "other_")
"""Flags that only who received it could know."""
_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Act:
    """One envelope of a notebook, as it is found now."""

    number: int
    judged: Judged
    status: Status
    flags: tuple[str, ...]
    received_at: datetime | None
    """By the station's clock; None where only the file is there."""
    tablet: str | None
    told: str | None = None
    """What the index says; it should be the status."""

    @property
    def entry(self) -> dict[str, Any]:
        """What it says; to be believed only as far as its status goes."""
        return self.judged.entry or {}

    @property
    def flagged(self) -> bool:
        """A person should look at it."""
        return self.status in ALARMING


@dataclass(slots=True)
class Looked:
    """A notebook as it was found."""

    notebook: str | None
    chain: Notebook
    acts: list[Act] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    """Those that signed something in it and are registered."""
    missing: list[tuple[int, int]] = field(default_factory=list)
    attachments: dict[tuple[int, str], str | None] = field(default_factory=dict)
    """When each attachment was held, by entry and SHA-256; None: it did not come. Empty where nobody knows."""

    @property
    def disagreeing(self) -> list[Act]:
        """What the index calls something else than is found now."""
        return [act for act in self.acts if act.told not in (None, act.status.value)]

    @property
    def flagged(self) -> list[Act]:
        """What a person should look at."""
        return [act for act in self.acts if act.flagged]


def from_index(state: Path, notebook: str | None, *, late_after: timedelta) -> Looked:
    """A notebook of a station, by its index; None: what has no place in any. Raises `Refusal` where there is none."""
    with reading(state) as db:
        keys = keys_of(db)
        sql = "SELECT number, line, status, base_flags, tablet, received_at FROM envelope WHERE notebook IS ?"
        found = _looked(notebook, db.execute(f"{sql} ORDER BY number", (notebook,)), keys, late_after)
        if not found.acts:
            raise Refusal(f"no notebook {notebook} is known here", hint="List them: evidock enotes list.")
        found.attachments = _attachments(db, notebook or "")
    return found


def _attachments(db: sqlite3.Connection, notebook: str) -> dict[tuple[int, str], str | None]:
    sql = "SELECT seq, sha256, held_at FROM attachment WHERE notebook = ?"
    return {(seq, sha256): held_at for seq, sha256, held_at in db.execute(sql, (notebook,))}


def from_files(files: Iterable[Path], keys: Mapping[str, Key], *, late_after: timedelta) -> list[Looked]:
    """The notebooks in files of envelopes, one a line or one a file, by these keys. Raises `Refusal`."""
    rows: dict[str | None, list[tuple[Any, ...]]] = {}
    for number, line in enumerate(_lines(files), 1):
        try:
            found = judge(line, keys, tablet=None, received_at=_EVER)
        except SpecError as error:
            raise Refusal(f"this is no file of envelopes: {error}") from error
        rows.setdefault(found.notebook, []).append((number, line, None, "[]", None, None))
    return [_looked(name, found, keys, late_after) for name, found in rows.items()]


def _lines(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        try:
            with path.open("rb") as file:
                while line := file.readline(LINE_MAX + 2):
                    if line.strip():
                        yield line.rstrip(b"\n")
        except OSError as error:
            raise Refusal(f"{path} cannot be read: {error.strerror}") from error


def _looked(
    notebook: str | None, rows: Iterable[tuple[Any, ...]], keys: Mapping[str, Key], late_after: timedelta
) -> Looked:
    found = Looked(notebook, Notebook(late_after=late_after, pieces=True))
    items = {}
    for number, line, told, flags, tablet, received_at in rows:
        when = moment(received_at)
        judged = judge(line, keys, tablet=None, received_at=when or _EVER)
        kept = tuple(flag for flag in json.loads(flags) if flag.startswith(_KEPT))
        act = Act(number, judged, judged.base or Status.OK, judged.flags + kept, when, tablet, told)
        found.acts.append(act)
        if judged.base is None:
            items[number] = item = judged.item(number)
            found.chain.add(item)
        if (key := keys.get(judged.envelope.kid or "")) is not None:
            found.keys[key.public.kid] = key
    for act in found.acts:
        if (made := items.get(act.number)) is not None:
            act.status, act.flags = made.status, tuple(dict.fromkeys((*made.flags, *act.flags)))
    found.missing = list(found.chain.missing)
    return found


def register_of(path: Path) -> dict[str, Key]:
    """A register of keys as `evidock enotes keys --json` writes it. Raises `Refusal`."""
    try:
        told = json.loads(path.read_bytes())
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
