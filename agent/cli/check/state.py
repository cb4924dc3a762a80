"""The daemon, who may do what in its folders, and how much room there is."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from agent.cli.asking import START, daemon_of
from agent.cli.check.closed import opening
from agent.cli.check.lines import Lines, ok, problem, warning
from agent.cli.closed import handed
from agent.cli.telling import duration, length
from agent.errors import AgentError, Refusal
from agent.station.problems import SOON, room_todo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.cli.closed import Closed
    from agent.config import Config
    from agent.registry import Equipment

__all__ = ["SECRETS", "daemon", "nearest", "rights", "room", "secrets"]

SECRETS: Final = (
    "token_file",
    "client_key",
    "proxy_login_file",
    "key",
    "key_file",
    "keys_file",
    "password_file",
    "login_file",
    "connection_file",
    "secret_file",
    "client_file",
    "est_login_file",
)
"""Settings that name a file with a secret in it, whatever table they stand in."""
_OTHERS: Final = 0o077
_LOOKED_AT_HERE: Final = frozenset({"clock", "room", "disk", "uplink", "driver"})
"""Notices of the daemon about what this command tries itself."""


def daemon(config: "Config", *, uplinks_tried: bool = True) -> Lines:
    """Whether it answers, and what it knows alone: of destinations too, where they cannot be tried from here."""
    hidden = _LOOKED_AT_HERE if uplinks_tried else _LOOKED_AT_HERE - {"uplink"}
    try:
        found = daemon_of(config)
        told = None if found is None else found.status()
    except Refusal as error:
        yield warning("daemon", "daemon", str(error), error.what_to_do)
        return
    except AgentError as error:
        yield problem("daemon", "daemon", str(error), error.what_to_do)
        return
    if told is None:
        yield warning("daemon", "daemon", "not running: nothing is taken and nothing is sent", START)
        return
    for one in told["problems"]:
        if one["what"] not in hidden:
            say = problem if one["state"] == "problem" else warning
            yield say("daemon", f"daemon: {one['what']}", one["detail"], one["todo"] or AgentError.hint)
    yield ok("daemon", "daemon", f"answers at {config.station.control}, runs for {duration(told['uptime'])}")


def rights(config: "Config") -> Lines:
    """Who may look into the state folder."""
    folder = config.station.state
    what = "state folder"
    try:
        found = folder.stat()
    except FileNotFoundError:
        near = nearest(folder)
        if os.access(near, os.W_OK | os.X_OK):
            yield ok("rights", what, f"{folder} will be made")
        else:
            todo = f"Make {folder} for the user that the daemon runs as, or run this as that user."
            yield warning("rights", what, f"{folder} is not there, and you may not make it in {near}", todo)
        return
    except PermissionError:
        yield warning("rights", what, f"you may not look at {folder}", "Run this as root or as the daemon's user.")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield problem("rights", what, f"{folder} is no folder", "Name another folder as station.state.")
    elif found.st_mode & 0o007:
        yield problem("rights", what, f"everybody may look into {folder}", f"chmod o= {folder}")
    elif not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield warning("rights", what, f"{folder} is not yours", "Run this as root or as the daemon's user.")
    else:
        yield ok("rights", what, f"{folder} is closed to others")


def secrets(config: "Config", equipment: "Equipment", closed: "Closed") -> Lines:
    """Files with secrets must be there, and be closed to others."""
    fine = len(equipment.uplinks) == len(config.uplink) and len(equipment.drivers) == len(config.driver)
    tables: list[Any] = [*(one.options for one in equipment.uplinks), *(one.options for one in equipment.drivers)]
    ours: list[tuple[str, Any]] = [("mqtt", config.mqtt), ("identity", config.identity), ("status", config.status)]
    for owner, options in [*((one.name, one) for one in tables), *ours]:
        for what, path in _secret_files(owner, options):
            if handed(path) or closed.meets(path, what):
                fine = fine and handed(path)
                continue
            try:
                found = path.stat()
            except OSError as error:
                fine = False
                todo = "Put the file there, for the daemon's user alone."
                yield problem("rights", what, f"{path}: {error.strerror}", todo)
                continue
            if found.st_mode & _OTHERS:
                fine = False
                yield problem("rights", what, f"others may read {path}", _closing(path, found, config.station.state))
    if fine:
        yield ok("rights", "secrets", "every file with a secret is closed to others")


def _closing(path: Path, found: os.stat_result, state: Path) -> str:
    """How to close a file to others, so that the daemon can read it still."""
    try:
        mine = state.stat().st_uid == found.st_uid
    except OSError:
        mine = True
    return f"chmod go= {path}" if mine else opening(path, state)


def _secret_files(where: str, options: object) -> "Iterator[tuple[str, Path]]":
    """(where it is named, path) of each file with a secret that a table names, in the tables within it too."""
    if isinstance(options, list | tuple):
        for number, one in enumerate(options):
            yield from _secret_files(f"{where}[{number}]", one)
    elif isinstance(options, BaseModel):
        for name in type(options).model_fields:
            value = getattr(options, name)
            # A certificate without a key beside it has the key in its own file.
            inside = name == "client_cert" and getattr(options, "client_key", None) is None
            if (name in SECRETS or inside) and isinstance(value, Path) and f"{where}.{name}" != "status.token_file":
                yield f"{where}.{name}", value
            else:
                yield from _secret_files(f"{where}.{name}", value)


def room(config: "Config") -> Lines:
    """What is free, and how long it lasts at the rate of the last day, where the daemon tells that."""
    disk = os.statvfs(nearest(config.station.state))
    free, watermark = disk.f_bavail * disk.f_frsize, config.spool.watermark
    detail = f"{length(free)} free, of which {length(watermark)} always stay free"
    if free <= watermark:
        yield problem("room", "room", detail, room_todo(config))
    elif free < 2 * watermark:
        yield warning("room", "room", detail, "Give the spool a larger disk, or let it forget sooner: policy.spool.")
    else:
        yield ok("room", "room", detail)
    inodes = disk.f_favail
    if disk.f_files and inodes < _INODES_LEAST:
        todo = "Give the spool a file system with more inodes: each capture is a file."
        yield problem("room", "inodes", f"the file system can hold {inodes} more files only", todo)


def forecast(told: dict[str, Any]) -> Lines:
    """How long the room lasts: `told` by the daemon, or read from the journal."""
    full_in, a_day = told.get("full_in"), told.get("a_day")
    if full_in is not None:
        detail = f"full in {duration(full_in)} at today's rate ({length(a_day)} a day)"
        if full_in < SOON:
            todo = "Bring captures to the DEMS faster, let the spool forget sooner (policy.spool), or add room."
            yield warning("room", "forecast", detail, todo)
        else:
            yield ok("room", "forecast", detail)
    else:
        rate = "too little was taken to tell" if a_day is None else "the spool does not grow"
        yield ok("room", "forecast", rate)


_INODES_LEAST: Final = 10_000


def nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there and may be looked at."""
    while True:
        try:
            path.stat()
        except OSError:
            if path == path.parent:
                return path
            path = path.parent
        else:
            return path
