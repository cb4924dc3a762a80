"""How the daemon logs: with fields to journald, readable lines to a terminal, JSON lines elsewhere; never a secret.

The names of events and their meaning stand in `docs/events.md`.
"""

import io
import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import structlog

from agent.addresses import shown
from agent.cli.journald import Journald

__all__ = ["configure", "without_secrets"]

_SECRET: Final = re.compile(r"(?i)(token|password|passwd|secret|authorization|cookie|login|private|credential)")
_IN_TEXT: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+")
_HIDDEN: Final = "(hidden)"


def without_secrets(_: object, __: str, told: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what is named like a secret, and credentials inside of texts. No room logs any; this is the second lock."""
    for name, value in told.items():
        if _SECRET.search(name) and not name.endswith("_file"):
            told[name] = _HIDDEN
        elif isinstance(value, str):
            told[name] = _IN_TEXT.sub(_HIDDEN, shown(value))
    return told


class _Unbroken(io.TextIOBase):
    """A stream that perhaps nobody reads: what cannot be said is not said, and evidence is taken all the same."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str, /) -> int:
        """See `io.TextIOBase`."""
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(*, verbose: bool = False) -> None:
    """Set up structlog, and let the logs of libraries go the same way."""
    level = logging.DEBUG if verbose else logging.INFO
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    factory: Any = structlog.WriteLoggerFactory(cast("TextIO", _Unbroken(sys.stderr)))
    journald = Journald.behind(sys.stderr)
    if journald is not None:
        last: list[Any] = [structlog.processors.format_exc_info, without_secrets, journald.rendered]
        factory = journald.loggers
    elif sys.stderr.isatty():
        last = [without_secrets, structlog.dev.ConsoleRenderer(pad_event_to=24)]
    else:
        last = [structlog.processors.format_exc_info, without_secrets, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    handler = _for_libraries(shared, last) if journald is None else journald.handler(without_secrets)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def _for_libraries(shared: list[Any], last: list[Any]) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    return handler
