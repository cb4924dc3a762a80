"""`evidock support-bundle`: what those need who help from afar, and nothing that tells of persons, places or secrets.

Redacted by allow-list, twice: only fields that `gathered` names are looked at, and of texts only words go in that stand
in our own public source (`words`): names of events, settings, errors, specs. Everything else that is a text becomes its
length. Devices and captures become numbers.
"""

import io
import json
import os
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from agent.cli.support_bundle.gathered import gathered
from agent.cli.telling import AsJson, length, line, print_json, table
from agent.cli.writing import made
from agent.errors import Refusal

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command("support-bundle")
def support_bundle(
    ctx: typer.Context,
    *,
    to: Annotated[
        Path | None, typer.Option(help="The file to write; default: in this folder, named by the time.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="A file of the daemon's JSON lines, where it does not log to journald.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Write it without asking.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print all that would go in, and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Gather versions, settings and states for those who help: no names, texts, keys or evidence."""
    if log is not None and not os.access(log, os.R_OK):
        raise Refusal(f"{log} cannot be read", hint="Nothing was written. Name the daemon's log, or leave --log out.")
    parts = gathered(ctx, log)
    if as_json:
        print_json(parts)
        return
    files = {name: json.dumps(content, indent=1).encode() + b"\n" for name, content in parts.items()}
    if show:
        for name, raw in files.items():
            line(name, "bold")
            line(raw.decode())
        return
    _summarise(ctx.obj.config, parts, files)
    path = to or Path(f"evidock-support-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz")
    if not yes and not (sys.stdin.isatty() and typer.confirm(f"Write {path}?")):
        raise Refusal("nothing was written", hint="Add --yes to write it without being asked.")
    _write(path, files)
    line(f"written: {path}", "green")


def _summarise(config: Path, parts: dict[str, Any], files: dict[str, bytes]) -> None:
    """What would go in, and what could not be had."""
    table(("file", "length", "what it holds"), [(name, length(len(raw)), WHAT[name]) for name, raw in files.items()])
    broken = "cannot_be_used" in parts["configuration.json"]
    if closed := [name for name, content in parts.items() if "cannot_be_had" in content]:
        line(f"Could not be had: {', '.join(closed)}.{'' if broken else ROOT}", "yellow")
    if broken:
        line(f"{config} cannot be used: configuration.json says why, and evidock check what to do.", "yellow")
    if not parts["events.json"]:
        line("No log was found. Where the daemon does not log to journald, name its file with --log.", "yellow")
    line("No text of devices, people or configuration is in it. To read all of it first: --show.")


ROOT = " Run this as root to have all of it."
WHAT = {
    "versions.json": "versions of Evidock, Python, SQLite, the kernel and each package",
    "configuration.json": "settings: numbers, switches and words of ours; every other text by its length",
    "status.json": "counts, rates, clock, room, links, repair notices by their id",
    "check.json": "each line of evidock check by its kind and state",
    "journal.json": "the last entries: what, when, by which clock; captures and devices as numbers",
    "events.json": "the last lines of the log: time, level, name of the event, numbers, lines of our own code",
    "machine.json": "kernel, memory, load, file system, counts of files",
}
"""What each file holds, for the person who sends it."""


def _write(path: Path, files: dict[str, bytes]) -> None:
    """For the owner alone, and only where nothing is."""
    other = "Name another file that you may write with --to."
    with made(path, other=other) as target, tarfile.open(fileobj=target, mode="w:gz") as bundle:
        for name, raw in files.items():
            member = tarfile.TarInfo(f"evidock-support/{name}")
            member.size, member.mode = len(raw), 0o600
            bundle.addfile(member, io.BytesIO(raw))
