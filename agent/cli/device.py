"""`evidock device`: what is in the dock, what happens there, and why a device is not understood."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.cli import configuration
from agent.cli.asking import START, Source, source
from agent.cli.assigning import assign, assign_all, unassign, whose_now
from agent.cli.recording import record
from agent.cli.telling import AsJson, length, line, lines, moment, pairs, print_json, table
from agent.cli.words import clock_off, reckoned, sentence
from agent.cli.writing import made
from agent.durable import replace_file
from agent.errors import Refusal
from agent.registry import enrolled

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The devices in the dock.")

Id = Annotated[str, typer.Argument(metavar="ID", help="A device's id, or a part of it that no other has.")]

_POLL: Final = 0.5
_COLUMNS: Final = (
    "device", "model", "firmware", "place", "here", "last seen", "battery", "room", "clock off", "captures", "bytes",
    "its own index",
)  # fmt: skip


@app.command("list")
def list_(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the devices that were seen, or that captures were taken of."""
    with source(ctx) as station:
        told = station.devices()
        running = station.running
    rows = _joined(told)
    if as_json:
        print_json({"running": running, "devices": rows})
        return
    table(
        _COLUMNS,
        [
            (
                one["id"],
                " ".join(filter(None, (one["maker"], one["model"]))),
                one["firmware"],
                one["place"],
                one["present"],
                moment(one["last_seen_at"] or one["last_held_at"]),
                None if one["battery"] is None else f"{one['battery']} %",
                None if one["free_bytes"] is None else f"{length(one['free_bytes'])} of {length(one['room_bytes'])}",
                clock_off(one["clock"]),
                one["captures"],
                length(one["bytes"]),
                reckoned(one["index"]),
            )
            for one in rows
        ],
        right=("captures", "bytes"),
    )
    if not running:
        line("no daemon runs: nobody knows what is plugged in now", "yellow")


@app.command()
def watch(
    ctx: typer.Context,
    device: Annotated[str | None, typer.Argument(metavar="[ID]", help="Only this device.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Tell what happens at the dock as it happens, until interrupted."""
    with source(ctx) as station:
        if not station.running:
            raise Refusal("no daemon runs: nothing happens", hint=START)
        wanted = None if device is None else _one(_joined(station.devices()), device)["id"]
        entries = _following(station, wanted)
        if as_json:
            lines(entries)
            return
        for entry in entries:
            line(sentence(entry))


app.command()(assign)
app.command()(unassign)
app.command("assign-all")(assign_all)
app.command()(record)


@app.command()
def explain(ctx: typer.Context, device: Id, *, as_json: AsJson = False) -> None:
    """Tell all that is known of a device, by which spec it was recognised, and what to do where it was not."""
    with source(ctx) as station:
        one = _one(_joined(station.devices()), device)
        status = station.status()
        assigned = station.assigned([name for name in (one["id"], one["serial"]) if name])
    health: dict[str, str] = next(
        (found["health"] for found in status["drivers"] if found["name"] == one["driver"]), {}
    )
    todo = _todo(one, running=status["running"])
    if as_json:
        print_json({"device": one, "assigned": assigned, "health": health, "todo": todo})
        return
    shown = {
        **one,
        "bytes": length(one["bytes"]),
        "battery": None if one["battery"] is None else f"{one['battery']} %",
        "clock": clock_off(one["clock"]),
        "free_bytes": None if one["free_bytes"] is None else length(one["free_bytes"]),
        "room_bytes": None if one["room_bytes"] is None else length(one["room_bytes"]),
        "index": reckoned(one["index"]) or "not looked through yet",
    }
    whose = {word: whose_now(assigned[word], word) for word in ("officer", "unit")}
    pairs({**shown, **whose, **{f"health of {place}": said for place, said in health.items()}})
    for advice in todo:
        line(advice, "yellow")


@app.command()
def enrol(
    ctx: typer.Context,
    driver: Annotated[
        str,
        typer.Argument(metavar="DRIVER", help="`name` of the driver in agent.toml, or a part of its `use`: axis."),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="The file to write, or `-`; default: named for the driver, here.")
    ] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write the file that devices of a driver need to find this station, and make what the driver needs for it."""
    config = configuration(ctx)
    told = enrolled(config, driver)
    for file in told.made:
        _give(Path(file), config.station.state)
        line(f"made {file}")
    if out == Path("-"):
        sys.stdout.buffer.write(told.content)
        return
    path = out or Path(told.name)
    _write_secret(path, told.content, force=force)
    line(f"wrote {path}")
    for advice in told.todo:
        line(advice, "yellow")


def _give(file: Path, state: Path) -> None:
    """Let it be the daemon's, whose the state folder is: root made it in a folder that may be root's."""
    if os.geteuid() != 0:
        return
    with suppress(FileNotFoundError):  # nothing runs here yet; what is made keeps the owner of its folder
        owner = state.stat()
        if owner.st_uid != 0:
            os.chown(file, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _write_secret(path: Path, content: bytes, *, force: bool) -> None:
    """For its owner alone: it may hold a password."""
    if not force:
        with made(path, other="Give another --out, or --force to write over what is there.") as file:
            file.write(content)
        return
    try:  # the old one stays until the new one is whole
        replace_file(path.absolute(), content)
    except OSError as error:
        hint = "Nothing was changed. Make room there, or give another --out."
        raise Refusal(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _todo(one: dict[str, Any], *, running: bool) -> list[str]:
    advice: list[str] = []
    if running and one["driver"] is not None and one["spec"] is None:
        advice.append(
            "No device spec fits this device: name one as `spec` (or a `layout`) in its [[driver]] table, or write one;"
            " a spec is one TOML file in firmware_specs/devices."
        )
    if running and not one["present"]:
        advice.append("It is not here now. Put it back if it still holds captures.")
    if not running:
        advice.append(f"No daemon runs: what is known stands in the journal only. {START}")
    return advice


def _joined(told: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each device: as it was seen, and what was taken of it."""
    taken = {one["id"]: one for one in told["devices"]}
    rows = [_row(one, taken.pop(one["id"], {})) for one in told["here"]]
    return rows + [_row({"id": name}, one) for name, one in taken.items()]


def _row(seen: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "family", "driver", "maker", "model", "serial", "firmware", "place", "spec", "spec_fits")
    return {
        **{name: seen.get(name) for name in names},
        "present": seen.get("present"),
        "first_seen_at": seen.get("first_seen_at"),
        "last_seen_at": seen.get("last_seen_at"),
        "captures": taken.get("captures", 0),
        "bytes": taken.get("bytes", 0),
        "index": seen.get("index"),
        **{name: seen.get(name) for name in ("battery", "free_bytes", "room_bytes", "clock")},
        "last_held_at": taken.get("last_held_at"),
    }


def _one(rows: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    found = [row for row in rows if row["id"] == wanted] or [row for row in rows if wanted in row["id"]]
    if len(found) != 1:
        how = "no device" if not found else f"{len(found)} devices"
        raise Refusal(f"{how} known here under {wanted!r}", hint="List them: evidock device list.")
    return found[0]


def _following(station: Source, device: str | None) -> Iterator[dict[str, Any]]:
    """Entries as they are written; of one device, those that name it and those of its captures."""
    first = station.head()["size"]
    ours: set[str] = set()
    while True:
        page = station.entries(first=first, limit=100)
        first = page["next"]
        for entry in page["entries"]:
            subject = entry["subject"][0]["name"]
            said = entry["predicate"].get("device")
            if device is not None and isinstance(said, dict) and said.get("id") == device:
                ours.add(subject)
                yield entry
            elif device is None or subject in ours:
                yield entry
        if first == page["size"]:
            time.sleep(_POLL)
