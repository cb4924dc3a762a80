"""What `evidock check` says of files that are closed: to whoever asks a warning, to the daemon a problem."""

import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.cli.check.lines import Lines, problem, warning
from agent.cli.closed import handed

if TYPE_CHECKING:
    from agent.cli.closed import Closed
    from agent.errors import ConfigError

__all__ = ["lines", "opening", "told"]

_MINE: Final = "Run this as root: sudo evidock check."


def opening(path: Path, state: Path) -> str:
    """What root types so that the daemon, whose the state folder is, may read a file that is closed to others."""
    try:
        user = pwd.getpwuid(state.stat().st_uid).pw_name
    except (OSError, KeyError):
        return f"chmod go= {path}"
    return f"chown {user}: {path} && chmod go= {path}"


def lines(closed: "Closed") -> Lines:
    """A warning for each that was met."""
    for path, (where, why) in closed.met.items():
        todo = "Start the daemon, then: sudo evidock check." if handed(Path(path)) else _MINE
        yield warning("rights", where, f"{path}: {why}; what needs it is not tried", todo)


def told(error: "ConfigError", closed: "Closed", state: Path) -> Lines:
    """A line for each of its problems that is one for the daemon, too."""
    for found in error.problems:
        if closed.explains(found):
            continue
        path = closed.denied(found)
        todo = error.what_to_do if path is None else f"Let the daemon read it: {opening(path, state)}"
        yield problem("config", found.path, found.message, todo)
