"""What a dispatch system says, as rows: JSON or CSV, in its own words for things, each row read by itself.

A row says that a unit (or an officer, or a device) was on an incident from then until then. A row that cannot be read
costs its document no other. Times without a zone are read in the zone of the configuration; in the hour that comes
twice in autumn both readings stand: the interval is as wide as they make it, and its time is uncertain by an hour.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NoReturn
from zoneinfo import ZoneInfo

from agent.errors import BadCapture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.capture import Json
    from drivers.dispatch.cad.options import CadOptions, Columns

__all__ = ["CONTENT_MAX", "ROWS_MAX", "Row", "Wrong", "rows"]

CONTENT_MAX: Final = 8 << 20
"""Bytes of one document."""
ROWS_MAX: Final = 10_000
"""Rows of one document."""
_WORD_MAX: Final = 200
_CELL_MAX: Final = 10_000
_HOUR_US: Final = 3_600_000_000
_EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_WHOM: Final = ("unit", "officer", "device")
_YES: Final = frozenset({"true", "1", "yes", "y"})
_NO: Final = frozenset({"", "false", "0", "no", "n"})


@dataclass(frozen=True, slots=True)
class Row:
    """One interval, as the detail of an observation of the kind `incident`."""

    began_at: datetime | None
    detail: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Wrong:
    """A row that cannot be read."""

    row: int
    """From 1."""
    why: str


def rows(content: bytes, options: CadOptions) -> list[Row | Wrong]:
    """Every row of a document. Raises `BadCapture` where it is none at all, or too large."""
    if len(content) > CONTENT_MAX:
        raise BadCapture(f"a document of {len(content)} bytes is longer than {CONTENT_MAX}")
    try:
        text = content.decode("utf-8-sig")
        found = _json(text) if text.lstrip()[:1] in ("{", "[") else list(_csv(text, options.columns))
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadCapture(f"neither JSON nor CSV that can be read: {error}") from error
    if len(found) > ROWS_MAX:
        raise BadCapture(f"{len(found)} rows are more than {ROWS_MAX}")
    zone = None if options.timezone is None else ZoneInfo(options.timezone)
    reading = _Reading(options.columns, zone, options.time_format)
    return [reading.row(number, one) for number, one in enumerate(found, 1)]


def _json(text: str) -> list[Any]:
    told = json.loads(text, parse_constant=_refused)
    if isinstance(told, dict) and isinstance(told.get("intervals"), list):
        told = told["intervals"]
    return told if isinstance(told, list) else [told]


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _csv(text: str, columns: Columns) -> Iterator[dict[str, Any]]:
    lines = csv.DictReader(text.splitlines(), strict=True)
    named = set(lines.fieldnames or ())
    if columns.incident not in named or not named & {getattr(columns, name) for name in _WHOM}:
        raise ValueError(f"the first line must name `{columns.incident}` and `{columns.unit}`")
    for count, line in enumerate(lines, 1):
        if count > ROWS_MAX:
            raise ValueError(f"more than {ROWS_MAX} rows")
        yield line


class _Reading:
    """How the rows of one document are read."""

    def __init__(self, columns: Columns, zone: ZoneInfo | None, time_format: str | None) -> None:
        self._columns, self._zone, self._format = columns, zone, time_format

    def row(self, number: int, told: object) -> Row | Wrong:
        """Read one."""
        if not isinstance(told, dict):
            return Wrong(number, "is no object")
        try:
            return self._row(told)
        except ValueError as error:
            return Wrong(number, str(error))

    def _row(self, told: Mapping[str, Any]) -> Row:
        detail: dict[str, Json] = {"incident": self._word(told, "incident", needed=True)}
        whom = {name: word for name in _WHOM if (word := self._word(told, name)) is not None}
        if len(whom) != 1:
            raise ValueError(f"names {len(whom)} of unit, officer and device, and one is wanted")
        detail |= whom
        detail |= {name: word for name in ("category", "id") if (word := self._word(told, name)) is not None}
        if self._flag(told):
            detail["withdrawn"] = True
        time: dict[str, Json] = {"source": "cad"}
        moments: dict[str, datetime] = {}
        for name, column in (("from", self._columns.since), ("until", self._columns.until)):
            text = _cell(told.get(column), name)
            if text is not None:
                early, late = self._moment(text, name)
                moments[name] = early if name == "from" else late
                if early != late:
                    time |= {"said": text, "uncertainty_us": _HOUR_US}
        if len(moments) > 1 and moments["until"] < moments["from"]:
            raise ValueError("ends before it begins")
        detail |= {name: moment.isoformat() for name, moment in moments.items()}
        return Row(moments.get("from"), {**detail, "time": time})

    def _word(self, told: Mapping[str, Any], name: str, *, needed: bool = False) -> str | None:
        text = _cell(told.get(getattr(self._columns, name)), name)
        if text is None:
            if needed:
                raise ValueError(f"names no {name}")
            return None
        if len(text) > _WORD_MAX or not text.isprintable():
            raise ValueError(f"`{name}` has more than {_WORD_MAX} characters, or some that cannot be printed")
        return text

    def _flag(self, told: Mapping[str, Any]) -> bool:
        said = told.get(self._columns.withdrawn)
        if isinstance(said, bool):
            return said
        word = (_cell(said, "withdrawn") or "").lower()
        if word not in _YES | _NO:
            raise ValueError("`withdrawn` is true or false")
        return word in _YES

    def _moment(self, text: str, name: str) -> tuple[datetime, datetime]:
        """The earliest and the latest moment that a text can mean."""
        try:
            read = datetime.strptime(text, self._format) if self._format else datetime.fromisoformat(text)  # noqa: DTZ007 - its zone comes next
            if read.utcoffset() is not None:
                both = [read.astimezone(UTC)] * 2
            elif self._zone is None:
                raise ValueError(f"`{name}` names no zone, and no `timezone` is configured")
            else:
                both = sorted(read.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        except OverflowError as error:
            raise ValueError(f"`{name}` cannot be true") from error
        if not _EARLIEST <= both[0] <= both[1] <= _LATEST or both[1] - both[0] > timedelta(hours=3):
            raise ValueError(f"`{name}` cannot be true")
        return both[0], both[1]


def _cell(said: object, name: str) -> str | None:
    """What stands in a cell, without blanks around it; None for nothing."""
    if said is None or isinstance(said, bool):
        return None
    if not isinstance(said, (str, int)) or (isinstance(said, str) and len(said) > _CELL_MAX):
        raise ValueError(f"`{name}` is no word")
    return str(said).strip() or None
