"""Journal and spool: whether the record is whole, and its files are there. Quick; the long looks are named."""

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from agent.cli.asking import Source, source
from agent.cli.check.lines import Line, Lines, ok, problem, warning
from agent.cli.check.state import forecast
from agent.cli.telling import length
from agent.errors import AgentError, JournalError, Refusal

if TYPE_CHECKING:
    from agent.config import Config

__all__ = ["looked_at"]

_WHOLE: Final = 20_000
"""Entries up to which the whole journal is looked through: a second or two."""
_FILES: Final = 20_000
_SAMPLE: Final = 64 << 20
"""Bytes of kept files that are read and hashed."""
_CLOSED: Final = "Run this as root or as the daemon's user."


def looked_at(ctx: typer.Context, config: "Config") -> Lines:
    """Ask the daemon, or open the journal where none runs."""
    try:
        config.station.state.stat()
    except PermissionError as error:
        yield warning("journal", "journal", f"you may not look at {error.filename}", _CLOSED)
        return
    except OSError:
        yield ok("journal", "journal", "nothing was ever taken here")
        return
    try:
        with source(ctx) as station:
            yield from forecast(station.room())
            yield from _journal(station)
            yield from _spool(station, config.station.state / "spool" / "kept")
            yield from _drills(station)
    except Refusal as error:
        if "nothing was ever taken" in str(error):
            yield ok("journal", "journal", str(error))
        else:
            yield warning("journal", "journal", str(error), error.what_to_do)
    except JournalError as error:
        yield problem("journal", "journal", str(error), error.what_to_do)
    except AgentError as error:
        yield problem("daemon", "daemon", str(error), error.what_to_do)


def _journal(station: Source) -> Lines:
    told = station.status()
    size, signed = told["log"]["size"], told["checkpoint"]
    if size <= _WHOLE:
        report = station.verify(lambda _, __: None)
        if not report["ok"]:
            todo = "Copy the state folder as it is, and call the station's administrator. Change nothing."
            yield problem("journal", "journal", report["problems"][0], todo)
            return
        yield ok("journal", "journal", f"all {size} entries, the tree and the tables agree")
    else:
        yield ok("journal", "journal", f"{size} entries; all of them are looked at by: evidock journal verify")
    if signed["size"] > size:
        todo = "Copy the state folder as it is, and call the station's administrator. Change nothing."
        yield problem("journal", "checkpoint", f"{signed['size']} entries were signed, and there are {size}", todo)
    else:
        yield ok("journal", "checkpoint", f"{signed['size']} entries are signed, {signed['cosigned_size']} cosigned")


def _spool(station: Source, kept: Path) -> Lines:
    if not os.access(kept, os.R_OK | os.X_OK):
        yield warning("spool", "spool", f"you may not look into {kept}", _CLOSED)
        return
    files = after = read = 0
    while files < _FILES:
        page = station.expected(after)
        for one in page["files"]:
            files += 1
            hashed = read + one["length"] <= _SAMPLE
            if (wrong := _wrong(station, kept, one, hashed=hashed)) is not None:
                yield wrong
                return
            read += one["length"] if hashed else 0
        if page["next"] is None:
            count = "1 file is" if files == 1 else f"{files} files are"
            yield ok("spool", "spool", f"{count} there; {length(read)} were read and are right")
            return
        after = page["next"]
    yield ok("spool", "spool", f"the first {files} files are there; all of them are read by: evidock spool verify")


def _wrong(station: Source, kept: Path, one: dict[str, Any], *, hashed: bool) -> Line | None:
    path, why = kept / one["sha256"], None
    try:
        if path.stat().st_size != one["length"]:
            why = "has another length"
        elif hashed and sha256(path.read_bytes()).hexdigest() != one["sha256"]:
            why = "holds other bytes"
    except FileNotFoundError:
        why = "is missing"
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    if why is None or not station.capture(one["capture"])["capture"]["spooled"]:  # it left the spool while we looked
        return None
    todo = "Keep the devices as they are and run: evidock spool verify."
    return problem("spool", "spool", f"the file of capture {one['capture'][:8]} {why}", todo)


def _drills(station: Source) -> Lines:
    """When this station last proved that the whole way works."""
    page = station.captures(drills=True, limit=1)["captures"]
    if page:
        last = page[0]
        yield ok("journal", "drill", f"the last was made {last['held_at'][:10]}, its capture stands {last['standing']}")
    else:
        yield ok("journal", "drill", "none was ever made here: evidock drill tries the whole way")
