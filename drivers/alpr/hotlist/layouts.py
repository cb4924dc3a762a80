"""How the file of a list is laid out, as data, and a reader made from it: a line becomes an entry, or a reason why not.

`layouts.toml` beside this file has the layouts that are publicly known; a service's own stands in a file that the
options name. What a line holds is never quoted: a line that fails is told by its number and a reason from the code.
"""

from __future__ import annotations

import csv
import re
import tomllib
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.errors import ConfigError, Problem
from drivers.alpr.hotlist.index import Entry
from drivers.alpr.hotlist.plates import matchable, normalised

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FIELDS", "BadLine", "Ending", "Layout", "Skipped", "known_layouts", "reader_of"]

FIELDS: Final = ("plate", "region", "category", "reference", "vehicle", "entered_on", "expires_on")
"""What a layout may name. The dates are read and checked; the others stand in the index."""

TEXT_MAX: Final = 120
"""Characters of one field that are kept."""

_PLACEHOLDERS: Final = re.compile(r"(?:UNKNOWN|NONE|NOPLATE|NOTAG|TEMP\w*|60DAY\w*|NOTAVAIL\w*|0{1,3})\Z")
"""What people write where there is no plate: looked for, it would be found everywhere."""

Span: TypeAlias = tuple[Annotated[int, Field(ge=0, le=4096)], Annotated[int, Field(ge=1, le=4096)]]


class BadLine(Exception):
    """A line that cannot be read; the reason quotes nothing of it."""


class Skipped(Exception):
    """A line that is whole and is not looked for, and why."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FieldRule(_Table):
    """Where a field stands in a line, and how it is to be read."""

    at: Span | tuple[Span, ...] | None = None
    """Columns, counted from 0, the end exclusive; several are joined."""
    column: int | str | tuple[int | str, ...] | None = None
    """Of a delimited line: its number from 0, or its name in the header or in `columns`; several are joined."""
    join: str = " "
    map: dict[str, str] | None = None
    """What the list's word means; any other stays as `other:<word>`."""
    map_first: bool = False
    """Only the first character is the word."""
    table: Literal["nlets_regions"] | None = None
    """A table of regions from `layouts.toml`; a word that is not in it stays as it is."""
    zero_is_o: bool = False
    """The list prints the letter O as the digit."""
    date: str | None = None
    """How a date is written: `%Y%m%d`."""
    strip_prefix: str | None = None
    """A label that stands before the value: `VYR/`."""


class Ending(_Table):
    """A line at the beginning or the end that is no entry."""

    lines: Annotated[int, Field(ge=1, le=100)] = 1
    regex: str | None = None
    """Must match; groups `as_of` and `count` are used."""
    as_of_format: str = "%m/%d/%Y %H:%M"
    timezone: str = "UTC"
    """Zone of `as_of`, an IANA name."""

    def found(self, line: str) -> tuple[datetime | None, int | None] | None:
        """(as_of, count) of the line; None where it is another one."""
        if self.regex is None:
            return None, None
        match = re.fullmatch(self.regex, line.rstrip())
        if match is None:
            return None
        groups = match.groupdict()
        as_of: datetime | None = None
        if (told := groups.get("as_of")) is not None:
            try:
                local = datetime.strptime(told, self.as_of_format)  # noqa: DTZ007 - the zone follows
            except ValueError as error:
                raise BadLine("its header has no date of this format") from error
            as_of = local.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC)
        count = groups.get("count")
        return as_of, None if count is None else int(count)


class Layout(_Table):
    """The layout of one kind of file."""

    kind: Literal["fixed", "delimited", "lines"]
    """`lines`: one plate in each, nothing else."""
    encoding: Literal["ascii", "utf-8", "windows-1252", "latin-1"] = "ascii"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    header: Ending | None = None
    named_columns: bool = False
    """The first line of a delimited file names its columns."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a delimited file that does not name them."""
    trailer: Ending | None = None
    record_length: tuple[int, int] = (1, 4096)
    """Least and most characters of a line."""
    skip: tuple[str, ...] = ()
    """Regular expressions of lines that are no entries."""
    category: str = "listed"
    """Where the lines have none."""
    region: str | None = None
    """Where the lines have none: ISO 3166-2."""
    fields: dict[str, FieldRule] = {}

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if unknown := set(self.fields) - set(FIELDS):
            raise ValueError(f"{', '.join(sorted(unknown))}: no such field; there are {', '.join(FIELDS)}")
        if self.kind != "lines" and "plate" not in self.fields:
            raise ValueError("`fields.plate` is missing")
        for name, rule in self.fields.items():
            if self.kind == "fixed" and rule.at is None:
                raise ValueError(f"`fields.{name}` needs `at`")
            if self.kind == "delimited" and rule.column is None:
                raise ValueError(f"`fields.{name}` needs `column`")
            if isinstance(rule.column, int) and not 0 <= rule.column < 256:  # noqa: PLR2004 - columns of a line
                raise ValueError(f"`fields.{name}`: a line has no column {rule.column}")
        for pattern in (*self.skip, *(end.regex for end in (self.header, self.trailer) if end and end.regex)):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern}: {error}") from error
        return self


class _File(_Table):
    layout: dict[str, Layout] = {}
    table: dict[str, dict[str, str]] = {}


@cache
def _shipped() -> _File:
    return _File.model_validate(tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")))


def known_layouts(files: Sequence[Path] = ()) -> dict[str, Layout]:
    """Every layout by its name, those of `files` beside ours. Raises `ConfigError`."""
    found = dict(_shipped().layout)
    for path in files:
        try:
            found |= _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).layout
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise ConfigError([Problem(f"layouts: {path}", str(said))]) from error
    return found


def reader_of(layout: Layout, names: Sequence[str] = ()) -> Callable[[str], Entry]:
    """A function from a line to its entry; it raises `BadLine` or `Skipped`. `names`: of a header's columns."""
    cells = _cells_of(layout, names or layout.columns)
    getters = {name: _getter(rule) for name, rule in layout.fields.items()}
    shortest, longest = layout.record_length
    skips = [re.compile(pattern) for pattern in layout.skip]
    plain_region = layout.region

    def read(line: str) -> Entry:
        if not line or line.isspace() or any(pattern.match(line) for pattern in skips):
            raise Skipped("empty")
        if not shortest <= len(line) <= longest:
            raise BadLine("it is too short or too long")
        cell = cells(line)
        told = {name: get(cell[name]) for name, get in getters.items()}
        plate = normalised(told["plate"] if getters else line)
        if _PLACEHOLDERS.match(plate):
            raise Skipped("no plate but a word for none")
        if not matchable(plate):
            raise Skipped("a plate of fewer than 2 or more than 12 characters") if plate else BadLine("it has no plate")
        return Entry(
            plate,
            told.get("category") or layout.category,
            told.get("region") or plain_region,
            told.get("reference") or None,
            told.get("vehicle") or None,
        )

    return read


def _cells_of(layout: Layout, names: Sequence[str]) -> Callable[[str], Mapping[str, str]]:
    """From a line to what stands in the columns of each field."""
    if layout.kind == "fixed":
        spans = {name: (_spans(rule), rule.join) for name, rule in layout.fields.items()}
        single = {name: found[0] for name, (found, _) in spans.items() if len(found) == 1}
        several = {name: found for name, found in spans.items() if len(found[0]) > 1}

        def fixed(line: str) -> Mapping[str, str]:
            cells = {name: line[start:end].strip() for name, (start, end) in single.items()}
            for name, (found, join) in several.items():
                cells[name] = join.join(part for start, end in found if (part := line[start:end].strip()))
            return cells

        return fixed
    if layout.kind == "lines":
        return lambda _: {}
    places = {name: _places(rule, names) for name, rule in layout.fields.items()}
    joins = {name: rule.join for name, rule in layout.fields.items()}
    most = max(place for found in places.values() for place in found)

    def delimited(line: str) -> Mapping[str, str]:
        try:
            row = next(csv.reader((line,), delimiter=layout.delimiter, strict=True))
        except (csv.Error, StopIteration) as error:
            raise BadLine("its quotes do not fit") from error
        if len(row) <= most:
            row += [""] * (most + 1 - len(row))  # a field outside the line is empty
        return {
            name: row[found[0]].strip()
            if len(found) == 1
            else joins[name].join(part for place in found if (part := row[place].strip()))
            for name, found in places.items()
        }

    return delimited


def _spans(rule: FieldRule) -> tuple[tuple[int, int], ...]:
    at: Any = rule.at
    return (at,) if isinstance(at[0], int) else at


def _places(rule: FieldRule, names: Sequence[str]) -> tuple[int, ...]:
    columns = rule.column if isinstance(rule.column, tuple) else (rule.column,)
    return tuple(_place(column, names) for column in columns)


def _place(column: int | str | None, names: Sequence[str]) -> int:
    if isinstance(column, int):
        return column
    wanted = str(column).strip().casefold()
    folded = [name.strip().casefold() for name in names]
    if wanted not in folded:
        raise BadLine("its header does not name the columns of this layout")
    return folded.index(wanted)


def _getter(rule: FieldRule) -> Callable[[str], str]:
    table = _shipped().table[rule.table] if rule.table else None

    @lru_cache(65536)
    def get(value: str) -> str:
        if rule.strip_prefix:
            value = value.removeprefix(rule.strip_prefix)
        value = value[:TEXT_MAX]
        if not value.isprintable():
            value = "".join(c for c in value if c.isprintable())
        if rule.date is not None and value:
            try:
                datetime.strptime(value, rule.date)  # noqa: DTZ007 - a day, and only whether it is one
            except ValueError:
                raise BadLine("a date is none of this format") from None
        if rule.zero_is_o:
            value = value.replace("0", "O")
        if rule.map is not None and value:
            value = value[0] if rule.map_first else value
            value = rule.map.get(value, f"other:{value}")
        return value if table is None else table.get(value.upper(), value)

    # A plate is another one in each line: remembering it would only keep plates in memory.
    return get.__wrapped__ if rule == FieldRule(at=rule.at, column=rule.column) else get
