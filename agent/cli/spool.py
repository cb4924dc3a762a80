"""`evidock spool`: the room that is left, and whether the kept files are still what the journal says."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from time import time
from typing import Any, Final

import typer

from agent import durable
from agent.cli import configuration
from agent.cli.asking import Source, source
from agent.cli.telling import AsJson, duration, length, line, pairs, print_json, progress
from agent.descent import FILE
from agent.errors import Refusal, SpoolDamaged

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The files on this station's disk.")

_READ: Final = 1 << 20
_BATCH: Final = 500
_YOUNG: Final = 60.0
"""Seconds for which a file may lie in the spool before its entry is written."""


@app.command()
def room(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show how much room is left, and how much of it may be used."""
    with source(ctx) as station:
        told = station.room()
    if as_json:
        print_json(told)
    else:
        lasts = told.pop("full_in")
        pairs({name: f"{count} ({length(count)})" for name, count in told.items() if count is not None})
        line("lasts as it is" if lasts is None else f"full in {duration(lasts)} at today's rate")


@app.command()
def verify(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Read every kept file from the disk and compare it with the journal."""
    kept = configuration(ctx).station.state / "spool" / "kept"
    with suppress(FileNotFoundError):  # then nothing was ever taken here, or all of it is missing: the journal tells
        try:
            os.scandir(kept).close()
        except PermissionError:
            raise Refusal(f"you may not read {kept}", hint="Run this as root or as the daemon's user.") from None
    with source(ctx) as station:
        told = _verified(station, kept)
    progress("")
    if as_json:
        print_json(told)
    else:
        pairs({"files": told["files"], "bytes": f"{told['bytes']} ({length(told['bytes'])})"})
        for kind in ("missing", "altered", "unknown"):
            for name in told[kind]:
                line(f"{kind}: {name}", "red")
    if not told["ok"]:
        raise SpoolDamaged(
            f"{len(told['missing'])} files are missing, {len(told['altered'])} altered, {len(told['unknown'])} unknown",
            hint="Keep the devices as they are. Restart the daemon: it looks at each file and takes again what it can.",
        )
    if not as_json:
        line("ok: every kept file is what the journal says", "green")


def _verified(station: Source, kept: Path) -> dict[str, Any]:
    files = count = after = 0
    missing: list[str] = []
    altered: list[str] = []
    while True:
        page = station.expected(after)
        for one in page["files"]:
            found = _sha256(kept / one["sha256"])
            if found == one["sha256"]:
                files += 1
                count += one["length"]
                progress(f"{files} files, {length(count)}")
            elif station.capture(one["capture"])["capture"]["spooled"]:  # else it left the spool while we looked
                (missing if found is None else altered).append(f"{one['sha256']} of capture {one['capture']}")
        if page["next"] is None:
            break
        after = page["next"]
    unknown = list(_unknown(station, kept))
    return {
        "ok": not (missing or altered or unknown),
        "files": files,
        "bytes": count,
        "missing": missing,
        "altered": altered,
        "unknown": unknown,
    }


def _sha256(path: Path) -> str | None:
    """SHA-256 of a file as it is on the disk; None where there is none, or where it cannot be read to its end."""
    digest = sha256()
    try:
        with open(os.open(path, FILE), "rb", buffering=0) as file:  # noqa: PTH123 - no link is followed, no pipe waited for
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return "unreadable: it is no plain file"
            durable.drop_cache(file.fileno())
            while block := file.read(_READ):
                digest.update(block)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return digest.hexdigest()


def _unknown(station: Source, kept: Path) -> Iterator[str]:
    """Files on which no capture rests, but for those that were just written."""
    with os.scandir(kept) as entries:
        while batch := list(islice(entries, _BATCH)):
            resting = station.keepers([entry.name for entry in batch])
            for entry in batch:
                try:
                    young = time() - entry.stat(follow_symlinks=False).st_mtime < _YOUNG and station.running
                except FileNotFoundError:
                    continue
                if not resting[entry.name] and not young:
                    yield entry.name
