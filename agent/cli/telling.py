"""How the command line speaks: tables for people, JSON for programs; nothing that a device said is taken for markup."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import typer
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


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Rows below a head, without lines."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    ends = set(right)
    for column in columns:
        made.add_column(column, justify="right" if column in ends else "left", no_wrap=not sys.stdout.isatty())
    for row in rows:
        made.add_row(*map(shown, row))
    _print(made)


def pairs(told: Mapping[str, object]) -> None:
    """Names and values, one a line; what has none is left out."""
    made = Table.grid(padding=(0, 2, 0, 0))
    for name, value in told.items():
        if value is None:
            continue
        made.add_row(Text(name.replace("_", " "), style="bold"), shown(value))
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
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def lines(told: Iterable[Any]) -> None:
    """JSON lines, each as soon as it is known."""
    for one in told:
        sys.stdout.write(json.dumps(one) + "\n")
        sys.stdout.flush()
