"""Log lines to journald by its native protocol: each with its fields, so that `journalctl` can ask for them.

`journalctl -u evidock EVIDOCK_EVENT=destination_down`, or `-o json` for all fields. One datagram for a line
(systemd.io/JOURNAL_NATIVE_PROTOCOL): `NAME=value`, or, where the value has line breaks, the name, its length in 64 bits
and the value. What journald does not take is written to standard error, which systemd reads as well.
"""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from pathlib import Path

__all__ = ["SOCKET", "VALUE_MAX", "Journald"]

SOCKET: Final = "/run/systemd/journal/socket"

VALUE_MAX: Final = 8 * 1024
"""Bytes of one field: a line fits into one datagram, whatever a stranger says."""
_PATIENCE: Final = 0.05
"""Seconds that a line may wait for a journald that is behind: evidence is taken all the same."""
_FIELDS_MAX: Final = 64
_NAME_MAX: Final = 64 - len("EVIDOCK_")
_PRIORITIES: Final = {"critical": 2, "exception": 3, "error": 3, "warning": 4, "info": 6, "debug": 7}
"""Those of syslog(3)."""


class Journald:
    """The journal's socket. One for a process."""

    def __init__(self, path: str | Path = SOCKET) -> None:
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(_PATIENCE)

    @classmethod
    def behind(cls, stream: TextIO) -> Self | None:
        """The journal, where systemd has tied this stream to it (`$JOURNAL_STREAM`, systemd.exec(5)); else None."""
        try:
            device, inode = map(int, os.environ.get("JOURNAL_STREAM", "").split(":"))
            found = os.fstat(stream.fileno())
        except (ValueError, OSError):
            return None
        return cls() if (found.st_dev, found.st_ino) == (device, inode) and os.path.exists(SOCKET) else None  # noqa: PTH110 - a socket's name

    def rendered(self, _: object, __: str, told: MutableMapping[str, Any]) -> bytes:
        """Return one line as a datagram: the last processor of structlog."""
        event, level = str(told.pop("event", "")), str(told.pop("level", "info"))
        told.pop("timestamp", None)  # journald has its own, to the microsecond
        said = {name: value if isinstance(value, str) else _plain(value) for name, value in told.items()}
        sentence = " ".join([event, *(f"{name}={value}" for name, value in said.items() if "\n" not in value)])
        fields = {
            "MESSAGE": sentence,
            "PRIORITY": str(_PRIORITIES.get(level, 6)),
            "SYSLOG_IDENTIFIER": "evidock",
            "EVIDOCK_EVENT": event,
            **{_name(name): value for name, value in list(said.items())[:_FIELDS_MAX]},
        }
        return b"".join(_field(name, value) for name, value in fields.items())

    def send(self, datagram: bytes) -> None:
        """Hand it over. A journal that is gone, or full, stops nothing."""
        try:
            self._socket.sendto(datagram, self._path)
        except OSError:
            with suppress(OSError, ValueError):
                sys.stderr.write(datagram.partition(b"\n")[0].decode("utf-8", "replace") + "\n")

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def loggers(self, *_: object) -> _Logger:
        """Make structlog's logger."""
        return _Logger(self)

    def handler(self, clean: Callable[..., MutableMapping[str, Any]]) -> logging.Handler:
        """For the logs of libraries; `clean` takes secrets out."""
        return _Handler(self, clean)


class _Logger:
    def __init__(self, journald: Journald) -> None:
        self._send = journald.send

    def msg(self, datagram: bytes) -> None:
        self._send(datagram)

    log = debug = info = warning = warn = error = critical = exception = fatal = failure = msg


class _Handler(logging.Handler):
    def __init__(self, journald: Journald, clean: Callable[..., MutableMapping[str, Any]]) -> None:
        super().__init__()
        self._journald, self._clean = journald, clean

    def emit(self, record: logging.LogRecord) -> None:
        told: MutableMapping[str, Any] = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.exc_info:
            told["exception"] = logging.Formatter().formatException(record.exc_info)
        self._journald.send(self._journald.rendered(None, "", self._clean(None, "", told)))


def _plain(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _name(name: str) -> str:
    """A field's name as journald takes it: capitals, digits and underscores, not too long."""
    return "EVIDOCK_" + re.sub(r"[^A-Z0-9_]", "_", name.upper())[:_NAME_MAX]


def _field(name: str, value: str) -> bytes:
    raw = value.encode("utf-8", "surrogateescape")[:VALUE_MAX]
    if b"\n" in raw:
        return name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n"
    return name.encode() + b"=" + raw + b"\n"
