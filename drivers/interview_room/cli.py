"""`evidock room`: an interview begins, something is marked, it ends; and what goes on in the room."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli.asking import Source, order, source
from agent.cli.telling import AsJson, line, moment, pairs, print_json, table
from agent.errors import Refusal, in_words
from drivers.interview_room.coverage import TOUCHES, Interview, Piece, piece_from, piece_of, piece_told, told_of
from drivers.interview_room.coverage import interviews as compared
from drivers.interview_room.onvif.discovery import discovered

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Begin, mark and end interviews in the rooms that this station records itself.",
)

Room = Annotated[
    str | None, typer.Option("--room", help="`name` of the room in agent.toml, where there are several rooms.")
]
Note = Annotated[str, typer.Option("--note", help="What it is about; it stands in the custody log.")]

_FAMILY = "interview_room.live"
_PIECES_MAX: Final = 5000
_FILE_MAX: Final = 64 * 1024 * 1024
_GAPS: Final = 5


@app.command()
def start(ctx: typer.Context, *, room: Room = None, note: Note = "", as_json: AsJson = False) -> None:
    """Begin to record; the answer says of each camera whether frames come."""
    _show(order(ctx, _FAMILY, "start", {"note": note}, driver=room), as_json=as_json)


@app.command()
def stop(ctx: typer.Context, *, room: Room = None, note: Note = "", as_json: AsJson = False) -> None:
    """End the interview; what was recorded is held by the time that it is shown, or soon after."""
    _show(order(ctx, _FAMILY, "stop", {"note": note}, driver=room), as_json=as_json)


@app.command()
def mark(ctx: typer.Context, *, room: Room = None, note: Note = "", as_json: AsJson = False) -> None:
    """Note in the interview that something was said or happened just now."""
    _show(order(ctx, _FAMILY, "mark", {"note": note}, driver=room), as_json=as_json)


@app.command()
def status(ctx: typer.Context, *, room: Room = None, as_json: AsJson = False) -> None:
    """Show whether an interview is recorded, since when, and how each camera is."""
    _show(order(ctx, _FAMILY, "status", {}, driver=room), as_json=as_json)


@app.command()
def interviews(
    ctx: typer.Context,
    *,
    room: Annotated[str | None, typer.Option("--room", help="Only this room.")] = None,
    since: Annotated[str, typer.Option("--since", help='Taken since: "2026-11-22" or "7 d" (h, min).')] = "1 d",
    beside: Annotated[
        list[Path] | None, typer.Option("--with", help="What another station printed with --json; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show each interview with all its copies: which recorder has which time of it, and where gaps are."""
    with source(ctx) as station:
        pieces = list(_pieces(station, as_of(since)))
    for path in beside or []:
        pieces += _read(path)
    found = [one for one in compared(pieces) if room in (None, one.room)]
    if as_json:
        print_json({"interviews": [told_of(one) for one in found], "pieces": [piece_told(piece) for piece in pieces]})
        return
    for one in found:
        _show_interview(one)
    if not found:
        line(f"no interview since {since}: only films whose length is known are counted")


@app.command()
def discover(
    *,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=60, help="How long to wait for answers.")] = 4.0,
    interface: Annotated[
        str, typer.Option("--interface", help="Our address in the network to be asked; left out: the first one.")
    ] = "0.0.0.0",  # noqa: S104 - the system chooses
    as_json: AsJson = False,
) -> None:
    """Ask which ONVIF devices are in this network. Nothing is changed, and what they answer is an advice only."""
    hint = "Name one of this station's IPv4 addresses as --interface: ip -4 address."
    try:
        ours = str(IPv4Address(interface))
    except ValueError:
        raise Refusal(f"{interface!r} is no IPv4 address", hint=hint) from None
    try:
        found = asyncio.run(discovered(seconds, interface=ours))
    except OSError as error:
        raise Refusal(f"the network cannot be asked: {in_words(error)}", hint=hint) from error
    if as_json:
        print_json({"devices": [asdict(one) for one in found]})
        return
    table(
        ("url", "name", "hardware", "says that it records"),
        [(one.address, one.name, one.hardware, one.recording) for one in found],
    )
    if not found:
        line("nobody answered: multicast may end at a switch, or discovery is turned off at the devices", "yellow")


def as_of(since: str) -> str:
    """A span back from now as a time; anything else as it is, for the journal to judge."""
    found = re.fullmatch(r"(\d{1,5})\s*(d|h|min)", since.strip())
    if found is None:
        return since
    span = int(found[1]) * {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1)}[found[2]]
    return (datetime.now(UTC) - span).isoformat(timespec="seconds")


def _pieces(station: Source, since: str) -> Iterator[Piece]:
    before, seen = None, 0
    while True:
        page = station.captures(limit=500, before=before, since=since)
        for capture in page["captures"]:
            if str(capture["device"]).startswith("room:") and not str(capture["media_type"]).startswith("application/"):
                seen += 1
                if seen > _PIECES_MAX:
                    raise Refusal(
                        f"there are more than {_PIECES_MAX} pieces since {since}", hint="Say a later --since."
                    )
                story = station.capture(str(capture["id"]))["story"]
                if (piece := piece_of(capture, _claims(story))) is not None:
                    yield piece
        if (before := page["next"]) is None:
            return


def _claims(story: list[dict[str, Any]]) -> dict[str, Any]:
    """What was claimed when it was held."""
    for entry in story:
        claims = entry.get("predicate", {}).get("capture", {}).get("claims")
        if isinstance(claims, dict):
            return claims
    return {}


def _read(path: Path) -> list[Piece]:
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_FILE_MAX))
        return [piece_from(one) for one in told["pieces"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        hint = "Write it at the other station: evidock room interviews --json > FILE."
        raise Refusal(
            f"{path} is not what `evidock room interviews --json` prints: {in_words(error)}", hint=hint
        ) from error


def _show_interview(one: Interview) -> None:
    length = one.ends - one.begins
    line(f"{one.room}  {moment(one.begins.isoformat())} to {moment(one.ends.isoformat())}  ({_time(length)})", "bold")
    table(
        ("recorder", "camera", "begins", "has", "gaps", "pieces", "stations"),
        [
            (
                copy.recorder,
                copy.camera or "-",
                f"+{_time(copy.spans[0][0] - one.begins)}",
                f"{_time(copy.covered)} ({100 * copy.covered / length if length else 100:.0f} %)",
                "; ".join(f"+{_time(a - one.begins)} to +{_time(b - one.begins)}" for a, b in copy.gaps[:_GAPS])
                or "none",
                len(copy.pieces),
                len({station for piece in copy.pieces for station in piece.stations}),
            )
            for copy in one.copies
        ],
        right=("pieces", "stations"),
    )
    for begin, end in one.lacking:
        line(f"no copy has {_span(one, begin, end)}", "red")
    if len(one.by_recorder()) > 1:
        for begin, end, recorder in one.single:
            if end - begin > TOUCHES:
                line(f"{recorder} alone has {_span(one, begin, end)}", "yellow")


def _span(one: Interview, begin: datetime, end: datetime) -> str:
    return f"+{_time(begin - one.begins)} to +{_time(end - one.begins)}"


def _time(length: timedelta) -> str:
    seconds = round(length.total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    if told["interview"] is None:
        line(f"nothing is recorded in {told['room']}")
        if told["to_be_held"]:
            line(f"ended interviews of which something is still to be held: {told['to_be_held']}", "yellow")
        return
    pairs({"interview": told["interview"], "since": moment(told["since"]), "started by": told["started_by"]})
    table(
        ("camera", "segments held", "gaps", "state"),
        [(name, one["held"], one["gaps"], one["state"]) for name, one in sorted(told["streams"].items())],
        right=("segments held", "gaps"),
    )
    for name, one in sorted(told["streams"].items()):
        if one["state"] != "recording":
            line(f"{name} is NOT recorded: look at the camera and at the network", "red")
