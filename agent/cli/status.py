"""`evidock status`: one look at the whole station."""

from typing import Any

import typer

from agent.cli.asking import source
from agent.cli.telling import AsJson, duration, length, line, moment, pairs, print_json, rate, table
from agent.cli.words import reckoned

app = typer.Typer(add_completion=False)


@app.command()
def status(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show what is here, what is under way, and what a person must do."""
    with source(ctx) as station:
        told = station.status()
    if as_json:
        print_json(told)
    else:
        _show(told)


def _show(told: dict[str, Any]) -> None:
    clock, room, log, signed = told["clock"], told["room"], told["log"], told["checkpoint"]
    pairs(
        {
            "station": f"{told['station']['name']} of {told['station']['agency']}",
            "daemon": f"running for {duration(told['uptime'])}" if told["running"] else "not running",
            "log": f"{log['origin']}, {log['size']} entries, root {log['root'][:16]}...",
            "signed": f"{signed['size']} entries; witnesses cosigned {signed['cosigned_size']}",
            "clock": f"{moment(clock['at'])}, {'kept right' if clock['synchronised'] else 'kept right by nothing'}",
            "room": f"{length(room['usable'])} of {length(room['total'])} may still be taken",
        }
    )
    line("")
    tally = [
        (name, sums["captures"], length(sums["bytes"])) for name, sums in told["tally"].items() if sums["captures"]
    ]
    if tally:
        table(("standing", "captures", "bytes"), tally, right=("captures", "bytes"))
    else:
        line("Nothing was taken yet.")
    if told["aside"]["parts"]:
        count = (
            "1 part of a capture lies"
            if told["aside"]["parts"] == 1
            else f"{told['aside']['parts']} parts of captures lie"
        )
        line(f"{count} aside, with the reason in the journal")
    _show_movement(told)
    for problem in told["problems"]:
        line("")
        line(f"{problem['state']}: {problem['detail']}", "red" if problem["state"] == "problem" else "yellow")
        line(f"  {problem['todo']}")


def _show_movement(told: dict[str, Any]) -> None:
    if told["devices"]:
        line("")
        rows = [
            (one["id"], one["place"], one["present"], moment(one["last_seen_at"]), reckoned(one.get("index")))
            for one in told["devices"]
        ]
        table(("device", "place", "here", "last seen", "its own index"), rows)
    moves = [
        ("from", one["key"], one["arrived"], one["length"], one["rate"], one["resumed_at"]) for one in told["arrivals"]
    ] + [
        ("to", one["key"], one["confirmed"], one["length"], one["rate"], one["resumed_at"])
        for one in told["departures"]
    ]
    if moves:
        line("")
        table(
            ("", "capture", "done", "of", "rate", "resumed at"),
            [
                (
                    "taking" if way == "from" else "sending",
                    key,
                    length(done),
                    length(whole),
                    rate(speed),
                    length(at) if at else "",
                )
                for way, key, done, whole, speed, at in moves
            ],
            right=("done", "of", "rate"),
        )
    for link in told["links"]:
        if link["up"]:
            line("")
            line(f"uplink {link['name']} is up", "green")
    if (broker := told["broker"]) is not None:
        line("")
        state = "is connected" if broker["up"] else f"is not connected: {broker['trouble'] or 'tried in a moment'}"
        line(f"broker {broker['at']} {state}", "green" if broker["up"] else "yellow")
