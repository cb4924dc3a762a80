"""How the command line speaks: tables for people, JSON for programs; nothing that a device said is taken for markup."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agent.capture import printable

__all__ = ["AsJson", "console", "duration", "length", "line", "moment", "pairs", "print_json", "rate", "shown", "table"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, with keys that stay.")]
"""The option that every command has that prints."""

COLOURS: Final = {
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
    "held": "cyan",
    "receipted": "blue",
    "released": "green",
    "purged": "green",
    "refused": "red",
    "quarantined": "red",
}

_WIDE: Final = 1_000_000
"""Columns of what is no terminal: nothing is cut, nothing is wrapped."""
_WORD: Final = 8
"""Columns that the smallest of what is told takes."""
_GAP: Final = 2
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP: Final = 1024


def console() -> Console:
    """Where tables go. Without a terminal lines are as long as they must be: a program may cut them."""
    made = Console(highlight=False, emoji=False, markup=False)
    return made if made.is_terminal else Console(highlight=False, emoji=False, markup=False, width=_WIDE)


def print_json(told: object) -> None:
    """One JSON value. ASCII, so that it passes through any terminal and any locale."""
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


def line(text: str, style: str | None = None) -> None:
    """One line for people."""
    console().print(Text(text, style=style or ""), soft_wrap=True)


def shown(value: object) -> Text:
    """A value in a table: coloured where it is a standing or a state, and never markup."""
    text = "" if value is None else "yes" if value is True else "no" if value is False else str(value)
    # Keys are printable already; `%` in them is their own escape and stays.
    return Text(printable(text).replace("%25", "%"), style=COLOURS.get(text, ""))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    below: Collection[str] = (),
) -> None:
    """Rows below a head, without lines; in a terminal that is too narrow nothing is cut.

    Then what is long stands `below` each row, where the others fit so. Else columns without a value are left out and
    others are wrapped; where that is no table any more, each value has a line of its own.
    """
    told, target, ends = [[*map(shown, row)] for row in rows], console(), set(right)
    places = [*range(len(columns))]
    if target.is_terminal and _across(columns, told, places, _WIDE) > target.width:
        short = [place for place in places if columns[place] not in below]
        if below and _across(columns, told, short, _WIDE) <= target.width:
            long = [place for place in places if place not in short]
            _with_below(_made(columns, told, short, ends), ["  ".join(row[one].plain for one in long) for row in told])
            return
        places = [place for place in places if not told or any(row[place] for row in told)]
        if _across(columns, told, places, _WORD) > target.width:
            for row in told:
                _lines([(columns[place], row[place]) for place in places if row[place]])
                line("")
            return
    _print(_made(columns, told, places, ends))


def _made(columns: Sequence[str], rows: Sequence[Sequence[Text]], places: Sequence[int], ends: set[str]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for place in places:
        how: Any = "right" if columns[place] in ends else "left"
        whole = place == places[0] or not console().is_terminal  # the first one is what a person types
        made.add_column(columns[place], justify=how, no_wrap=whole, overflow="fold")
    for row in rows:
        made.add_row(*(row[place] for place in places))
    return made


def _with_below(made: Table, words: Sequence[str]) -> None:
    """A table of which each row is one line, and below each its words."""
    target = console()
    with target.capture() as caught:
        target.print(made)
    head, *rows = caught.get().splitlines()
    sys.stdout.write(f"{head.rstrip()}\n")
    for row, word in zip(rows, words, strict=True):
        sys.stdout.write(f"{row.rstrip()}\n  {word}\n")


def _across(columns: Sequence[str], rows: Sequence[Sequence[Text]], places: Sequence[int], most: int) -> int:
    """Columns of the terminal that a table takes when the first one is whole, and each other at most so wide."""
    wide = [max([cell_len(columns[place]), *(row[place].cell_len for row in rows)]) for place in places]
    return sum(wide[:1]) + sum(min(one, most) for one in wide[1:]) + _GAP * (len(wide) - 1)


def pairs(told: Mapping[str, object]) -> None:
    """Names and values, one a line; what has none is left out."""
    _lines([(name.replace("_", " "), shown(value)) for name, value in told.items() if value is not None])


def _lines(told: Iterable[tuple[str, Text]]) -> None:
    """Names and values beside each other; a word that is whole only below its name, as an id, stands there."""
    rows, across = list(told), console().width
    beside = max((cell_len(name) for name, _ in rows), default=0)
    made = _grid(beside)
    for name, value in rows:
        longest = max(map(cell_len, value.plain.split()), default=0)
        below = across - beside - _GAP < longest <= across
        made.add_row(Text(name, style="bold"), Text() if below else value)
        if below:
            _print(made)
            _print_below(value)
            made = _grid(beside)
    if made.row_count:
        _print(made)


def _grid(beside: int) -> Table:
    made = Table.grid(padding=(0, _GAP, 0, 0))
    made.add_column(min_width=beside)
    made.add_column(overflow="fold")
    return made


def _print_below(value: Text) -> None:
    made = Table.grid()
    made.add_row(value)
    _print(made)


def _print(made: Table) -> None:
    target = console()
    if target.is_terminal:
        target.print(made)
        return
    with target.capture() as caught:
        target.print(made)
    sys.stdout.write("".join(f"{row.rstrip()}\n" for row in caught.get().splitlines()))


def length(count: float | None) -> str:
    """Bytes as people say them: `12.3 MiB`."""
    if count is None:
        return "?"
    unit = _UNITS[0]
    for unit in _UNITS:
        if abs(count) < _STEP or unit == _UNITS[-1]:
            break
        count /= _STEP
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def rate(speed: float | None) -> str:
    """Bytes per second."""
    return "" if speed is None else f"{length(speed)}/s"


def duration(seconds: float) -> str:
    """Seconds as people say them: `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    said = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if count]
    return " ".join(said[:2]) or "0 s"


def moment(text: str | None) -> str:
    """A time of the journal, to the second: `2026-11-22 07:02:17Z`."""
    return "" if text is None else f"{text[:10]} {text[11:19]}Z"


def progress(text: str) -> None:
    """One line on stderr that the next one replaces; nothing without a terminal."""
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def lines(told: Iterable[Any]) -> None:
    """JSON lines, each as soon as it is known."""
    for one in told:
        sys.stdout.write(json.dumps(one) + "\n")
        sys.stdout.flush()
