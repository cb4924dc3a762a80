"""`evidock journal`: look through the custody log, follow it, and carry it out of the station."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from agent.capture import DRILL
from agent.cli.asking import Source, source
from agent.cli.telling import AsJson, line, lines, pairs, print_json, progress
from agent.cli.words import sentence
from agent.cli.writing import made
from agent.errors import JournalError

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The custody log.")

_POLL: Final = 0.5


class Naming(StrEnum):
    """What a line of `--sums` calls a file."""

    ID = "id"
    SHA256 = "sha256"
    KEY = "key"


@app.command()
def verify(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Look through the whole journal: every entry, the tree, and the tables that follow from them."""
    with source(ctx) as station:
        report = station.verify(lambda done, of: progress(f"{done} of {of}"))
    progress("")
    if as_json:
        print_json(report)
    else:
        pairs({name: report[name] for name in ("origin", "size", "root", "captures")})
        for problem in report["problems"]:
            line(problem, "red")
    if not report["ok"]:
        count = len(report["problems"]) + report["more"]
        raise JournalError(
            f"the journal is not what it should be: {count} problems",
            hint="Copy the state folder as it is, and call the station's administrator. Change nothing.",
        )
    if not as_json:
        line("ok: the journal is consistent in itself", "green")


@app.command()
def tail(
    ctx: typer.Context,
    *,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=1000, help="So many entries.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the newest entries; with --json one entry a line."""
    with source(ctx) as station:
        entries = _newest(station, count, follow=follow and station.running)
        if as_json:
            lines(entries)
            return
        for entry in entries:
            line(sentence(entry))


@app.command()
def export(
    ctx: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write; standard output if left out.")
    ] = None,
    *,
    sums: Annotated[
        bool,
        typer.Option("--sums", help="Write lines for `sha256sum --check` instead: one for each capture ever held."),
    ] = False,
    name: Annotated[Naming, typer.Option(help="With --sums: what a line calls the file.")] = Naming.ID,
    drills: Annotated[
        bool, typer.Option("--drills", help="With --sums: drills as well, which are no evidence.")
    ] = False,
) -> None:
    """Write every entry, byte for byte, one JSON value a line."""
    with nullcontext(sys.stdout.buffer) if file is None else made(file, mode=0o666) as target, source(ctx) as station:
        _write(station, target, sums=sums, name=name, drills=drills)


def _newest(station: Source, count: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    page = station.entries(limit=count)
    yield from page["entries"]
    while follow:
        page = station.entries(first=page["next"], limit=100)
        yield from page["entries"]
        if page["next"] == page["size"]:
            time.sleep(_POLL)


def _write(station: Source, target: BinaryIO, *, sums: bool, name: Naming, drills: bool) -> None:
    for leaf in station.leaves():
        if not sums:
            target.write(leaf + b"\n")
        elif (told := _sum(leaf, name, drills=drills)) is not None:
            target.write(told.encode() + b"\n")
    target.flush()


def _sum(leaf: bytes, name: Naming, *, drills: bool) -> str | None:
    """A line of sha256sum(1) for an entry that says that a capture is held."""
    entry = json.loads(leaf)
    if entry["predicate"]["event"] != "held":
        return None
    if entry["predicate"]["device"]["id"].startswith(DRILL) and not drills:
        return None
    subject = entry["subject"][0]
    digest: str = subject["digest"]["sha256"]
    called = {Naming.ID: subject["name"], Naming.SHA256: digest, Naming.KEY: entry["predicate"]["capture"]["key"]}[name]
    # A backslash in a name is escaped, and the line says so by beginning with one; line breaks there are none.
    return f"\\{digest}  {called.replace(chr(92), chr(92) * 2)}" if "\\" in called else f"{digest}  {called}"
