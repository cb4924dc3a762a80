"""`evidock spec`: what is known of a file's format, by the same parsers that read what devices say."""

import os
import stat
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli import supported
from agent.cli.telling import AsJson, length, line, pairs, print_json, table
from agent.errors import Refusal
from firmware_specs import SpecError
from firmware_specs.formats.recognised import Recognised, recognise
from firmware_specs.formats.source import BUDGET, FileSource

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The formats that are known.")


@app.command("list")
def list_(
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="The tables of docs/devices.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models of devices that are known, which driver speaks with each, and what is known of its firmware."""
    if markdown:
        sys.stdout.write(supported.markdown())
        return
    found = supported.devices()
    if as_json:
        print_json({"devices": found})
        return
    rows = [
        (
            one["maker"] or "any",
            supported.called(one),
            one["driver"],
            one["spec"],
            one["layout"],
            supported.described(one),
            one["minimum"],
            ", ".join(one["known_bad"]),
            "; ".join(one["seen"]) or "no",
        )
        for one in found
    ]
    table(("maker", "model", "driver", "spec", "layout", "firmware", "at least", "known bad", "seen for real"), rows)


@app.command()
def parse(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A film, a side-car file, telemetry, or a firmware image.")
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Name the format of a file, say whether it is whole, and tell what the device says in it. Nothing is changed."""
    size, found = _read(file)
    if as_json:
        boxes = [{"offset": at, "length": long, "name": name} for at, long, name in found.boxes]
        told = {"format": found.format, "verdict": found.verdict, "length": size, "boxes": boxes, "told": found.told}
        print_json(told)
        return
    structure = found.told.get("structure", {})
    about = {"format": found.format, "length": length(size)} | ({"verdict": found.verdict} if found.verdict else {})
    words = ("recovery", "cut_at", "missing", "tail")
    pairs({**about, **{name: structure[name] for name in words if name in structure}})
    if found.boxes:
        table(("offset", "length", "box"), [*found.boxes], right=("offset", "length"))
    _film(found.told) if found.boxes else pairs({name: _plain(said) for name, said in found.told.items()})
    for one in found.told.get("unread", ()):
        line(f"not read: {one}", "yellow")


def _read(file: Path) -> tuple[int, Recognised]:
    try:
        # Not to wait for whoever may write to a pipe of this name.
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise Refusal(f"{file} is no file", hint="Name a film or another file of a device.")
            # A firmware's check sums go over all of it, some over parts of it again.
            source = FileSource(fd, budget=BUDGET + 4 * os.fstat(fd).st_size)
            return source.length, recognise(source)
        finally:
            os.close(fd)
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}", hint="Name a file that can be read.") from error
    except SpecError as error:
        hint = "It may be damaged at its beginning, enciphered, or of a format without a spec."
        raise Refusal(f"{file}: {error}", hint=hint) from error


def _film(told: dict[str, Any]) -> None:
    line("The device says:")
    pairs({"duration": told.get("duration"), **{one["name"]: one["said"] for one in told.get("words", ())}})
    if tracks := told.get("tracks"):
        columns = ("number", "handler", "codec", "duration", "size")
        table(columns, [[one.get(name) for name in columns] for one in tracks], right=("number", "duration"))
    for one in told.get("times", ()):
        doubts = "; ".join(one["doubts"])
        line(f"{one['where']}: {one['reading'] or one['raw']}" + (f" ({doubts})" if doubts else ""))
    for one in told.get("telemetry", ()):
        where = f"from {_place(one['first'])} to {_place(one['last'])}"
        line(f"{one['format']}: {one['count']}, {where}; {_plain(one['words'])}")


def _place(place: dict[str, str | None] | None) -> str:
    if place is None:
        return "no position"
    return f"{place['latitude']} {place['longitude']}{f' at {at}' if (at := place['at']) else ''}"


def _plain(said: object) -> str:
    if isinstance(said, dict):
        return ", ".join(f"{name} {value}" for name, value in said.items())
    return "; ".join(map(_plain, said)) if isinstance(said, list) else str(said)
