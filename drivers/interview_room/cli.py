"""`evidock room`: an interview begins, something is marked, it ends; and what goes on in the room."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agent.cli.asking import order
from agent.cli.telling import AsJson, line, moment, pairs, print_json, table

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Begin, mark and end interviews in the rooms that this station records itself.",
)

Room = Annotated[
    str | None, typer.Option("--room", help="`name` of the room's [[driver]] table, where there are several rooms.")
]
Note = Annotated[str, typer.Option("--note", help="What it is about; it stands in the custody log.")]

_FAMILY = "interview_room.live"


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


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    if told["interview"] is None:
        line(f"nothing is recorded in {told['room']}")
        if told["to_be_held"]:
            line(f"of {told['to_be_held']} ended interviews something is still to be held", "yellow")
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
