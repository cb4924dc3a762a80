"""Files that agent.toml names and whoever asks may not read: what needs them is not tried, and it is said so.

A technician may read agent.toml and no secret; and what systemd hands to the service is there while that runs only.
Neither is a fault of the configuration.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from agent.errors import Problem

if TYPE_CHECKING:
    from agent.config import Config

__all__ = ["HANDED", "Closed", "handed"]

HANDED: Final = Path("/run/credentials")
"""Where systemd puts the credentials of a service, for its user alone (systemd.exec(5), `LoadCredential=`)."""


def handed(path: Path) -> bool:
    """Whether systemd hands it to the service: then its mode shows an access list, and nobody else comes there."""
    return HANDED in path.parents


class Closed:
    """Those of one configuration, for the user who asks now."""

    def __init__(self, config: "Config") -> None:
        ours, named = _is_ours(config.station.state), [*_named(config)]
        self._why = {str(path): why for path in named if (why := _closed(path, ours=ours)) is not None}
        self._named = [*map(str, named)]
        self._met: dict[str, str] = {}

    @property
    def met(self) -> dict[str, tuple[str, str]]:
        """Those that were met: (where agent.toml names it, why it is closed) by path."""
        return {path: (where, self._why[path]) for path, where in self._met.items()}

    def denied(self, found: Problem) -> Path | None:
        """The file of agent.toml that this problem says may not be read."""
        return next((Path(one) for one in self._named if found.message == f"{one}: {os.strerror(errno.EACCES)}"), None)

    def meets(self, path: Path, where: str) -> bool:
        """Whether it is one of them; then a line will say so."""
        return self.explains(Problem(where, str(path)))

    def explains(self, found: Problem) -> bool:
        """Whether this is no problem but for whoever asks."""
        said = f"{found.path} {found.message}"
        path = next((one for one in self._why if re.search(rf"{re.escape(one)}(?=[\s:,;]|$)", said)), None)
        if path is None:
            return False
        self._met.setdefault(path, found.path)
        return True


def _is_ours(state: Path) -> bool:
    """Whether we are who the daemon is: then what we may not read, it may not either."""
    try:
        return state.stat().st_uid == os.geteuid()
    except OSError:
        return True  # no daemon ever ran here


def _closed(path: Path, *, ours: bool) -> str | None:
    try:
        readable = stat.S_ISREG(path.stat().st_mode) and os.access(path, os.R_OK, effective_ids=True)
        hidden = not readable and path.is_file()
    except OSError as error:
        readable, hidden = False, isinstance(error, PermissionError)
    if handed(path):
        return None if readable else "systemd hands it to the service alone, and only while that runs"
    return "you may not read it" if hidden and not ours else None


def _named(value: Any) -> Iterator[Path]:  # noqa: ANN401 - whatever agent.toml holds
    """Every absolute path, in the tables within tables too."""
    match value:
        case BaseModel():
            for name in type(value).model_fields:
                yield from _named(getattr(value, name))
        case dict():
            for inner in value.values():
                yield from _named(inner)
        case list() | tuple():
            for inner in value:
                yield from _named(inner)
        case Path() if value.is_absolute():
            yield value
        case str() if value.startswith("/") and len(value) < _LONGEST and value.isprintable():
            yield Path(value)


_LONGEST: Final = 4096
"""Bytes of a path (PATH_MAX of limits.h)."""
