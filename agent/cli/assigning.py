"""`evidock device assign` and its kin: who has which device, from when until when, corrected by a later word."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.capture import rfc3339
from agent.cli.asking import source
from agent.cli.telling import AsJson, line, moment, print_json
from agent.errors import Refusal, in_words

__all__ = ["assign", "assign_all", "unassign", "whose_now"]

_FILE_MAX: Final = 16 << 20
_PAGE: Final = 500
_COLUMNS: Final = ("device", "officer", "unit", "from", "until")

Device = Annotated[str, typer.Argument(metavar="DEVICE", help="Id or serial number of a device, or a vehicle's name.")]
Why = Annotated[str, typer.Option("--why", help="The reason; it stands in the custody log.")]
From = Annotated[
    str | None,
    typer.Option("--from", help='Since when: "2026-11-22T07:00:00Z", "2026-11-22 07:00" (local time) or "3 h"; now.'),
]
Until = Annotated[str | None, typer.Option("--until", help="Until when, in the same way; until the next word.")]
New = Annotated[bool, typer.Option("--new", help="It has not been seen here yet.")]


def assign(  # noqa: PLR0913 - one option for each thing that a word about a device says
    ctx: typer.Context,
    device: Device,
    *,
    officer: Annotated[str | None, typer.Option(help="Name, badge or user number.")] = None,
    unit: Annotated[str | None, typer.Option(help="Such as B12.")] = None,
    since: From = None,
    until: Until = None,
    why: Why,
    new: New = False,
    as_json: AsJson = False,
) -> None:
    """Say whose a device is, or was; captures of that time belong to it. An earlier word stays, and counts no more."""
    words = {name: value for name, value in (("officer", officer), ("unit", unit)) if value is not None}
    if not words:
        raise Refusal("say whose it is", hint="Nothing was changed. Add --officer or --unit; or: device unassign.")
    rows = [_row(device, since, until, new=new, **{name: value}) for name, value in words.items()]
    _write(ctx, rows, why, as_json=as_json)


def unassign(
    ctx: typer.Context,
    device: Device,
    *,
    unit: Annotated[bool, typer.Option("--unit", help="It belongs to no unit; else it is no officer's.")] = False,
    since: From = None,
    until: Until = None,
    why: Why,
    new: New = False,
    as_json: AsJson = False,
) -> None:
    """Say that nobody has, or had, a device. That is a word like any other, and not the lack of one."""
    row = _row(device, since, until, new=new, **{"unit" if unit else "officer": None})
    _write(ctx, [row], why, as_json=as_json)


def assign_all(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with the columns device, officer, unit, from, until; or a JSON list of such objects.",
        ),
    ],
    *,
    why: Why,
    new: New = False,
    as_json: AsJson = False,
) -> None:
    """Read assignments from a file: what stands so already is written no second time."""
    rows = [{**row, "new": new} for row in _read(file)]
    _write(ctx, rows, why, as_json=as_json)


def whose_now(told: dict[str, Any] | None, word: str) -> str:
    """`4471 since 2026-11-22 07:00:00, by user:anna(1000)`, for whoever asks of a device."""
    if told is None:
        return "unassigned: nobody has said"
    since = f"since {moment(told['from'])}, by {told['by']}"
    return f"unassigned {since}" if told[word] is None else f"{told[word]} {since}"


def _write(ctx: typer.Context, rows: list[dict[str, Any]], why: str, *, as_json: bool) -> None:
    told: list[dict[str, Any]] = []
    with source(ctx) as station:
        for first in range(0, len(rows), _PAGE):
            try:
                told += station.assign(rows[first : first + _PAGE], why=why)["assignments"]
            except Refusal as error:
                if not told:
                    raise
                hint = f"The {len(told)} before it stand, and are written once only. Mend the file and read it again."
                raise Refusal(str(error), hint=hint) from error
    if as_json:
        print_json({"assignments": told})
        return
    for one in told:
        word = "officer" if "officer" in one else "unit"
        whose = "nobody's" if one[word] is None else f"{word} {one[word]}'s"
        end = "until the next word" if one["until"] is None else f"until {moment(one['until'])}"
        already = ", as was known" if one["already"] else ""
        line(f"{one['device']} is {whose} from {moment(one['from'])} {end} (entry {one['entry']}{already})")


def _row(device: str, since: str | None, until: str | None, *, new: bool, **word: str | None) -> dict[str, Any]:
    return {"device": device, **word, "from": _time(since), "until": _time(until), "new": new}


def _time(text: str | None) -> str | None:
    """A time of a person as RFC 3339; without a zone it is this station's. `Refusal` where it is none."""
    if text is None or not text.strip():
        return None
    if (found := re.fullmatch(r"(\d{1,5})\s*(d|h|min)", text.strip())) is not None:
        ago = timedelta(**{{"d": "days", "h": "hours", "min": "minutes"}[found[2]]: int(found[1])})
        return rfc3339(datetime.now(UTC) - ago)
    try:
        return rfc3339(datetime.fromisoformat(text.strip()).astimezone())
    except (ValueError, OverflowError):
        raise Refusal(
            f"{text!r} is no time",
            hint="Nothing was changed. Write it like 2026-11-22T07:00:00Z, 2026-11-22 07:00 or 3 h.",
        ) from None


def _read(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_FILE_MAX + 1)
        text = raw.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        hint = "Nothing was changed. Name a file of comma-separated values or JSON."
        raise Refusal(f"{file} cannot be read: {in_words(error)}", hint=hint) from error
    if len(raw) > _FILE_MAX:
        raise Refusal(f"{file} has more than {_FILE_MAX} bytes", hint="Nothing was changed. Read it in parts.")
    try:
        yield from _rows_of_json(text) if text.lstrip().startswith("[") else _rows_of_csv(text)
    except (ValueError, csv.Error) as error:
        raise Refusal(f"{file}: {in_words(error)}", hint="Nothing was changed.") from error


def _rows_of_json(text: str) -> Iterator[dict[str, Any]]:
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("a list of objects is wanted")
    for row in rows:
        yield {name: row[name] for name in _COLUMNS if name in row}


def _rows_of_csv(text: str) -> Iterator[dict[str, Any]]:
    """A cell that is empty says nothing; `-` says nobody."""
    rows = csv.DictReader(text.splitlines(), strict=True)
    unknown = set(rows.fieldnames or ()) - set(_COLUMNS)
    if "device" not in (rows.fieldnames or ()) or unknown:
        raise ValueError(f"the columns are {', '.join(_COLUMNS)}, of which `device` is needed")
    for row in rows:
        times = {name: _time(row.get(name)) for name in ("from", "until")}
        for word in ("officer", "unit"):
            if value := (row.get(word) or "").strip():
                about = {"device": row["device"], "line": rows.line_num}
                yield {**about, **times, word: None if value == "-" else value}
