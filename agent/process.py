"""One process among others: alone in its state folder, known to systemd, and ended by the error that matters."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.errors import AgentError, JournalError, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ALIVE", "first_of", "locked", "tell_systemd"]

ALIVE: Final = "WATCHDOG=1"
_HEARS_WITHIN: Final = 1.0


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Be the only one who writes below the state folder; raises `Refusal` where another process is."""
    durable.make_folder(state)
    fd = os.open(state / "lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Refusal(
                f"another Evidock is using {state}",
                hint="Is the service running? Then the command line asks it instead.",
            ) from error
        yield
    finally:
        os.close(fd)


def first_of(errors: BaseExceptionGroup[BaseException]) -> AgentError:
    """The one that matters of several that ended the daemon: the journal's before all."""
    found: list[AgentError] = []
    pending: list[BaseException] = [errors]
    while pending:
        error = pending.pop()
        if isinstance(error, BaseExceptionGroup):
            pending.extend(error.exceptions)
        elif isinstance(error, AgentError):
            found.append(error)
    return min(found, key=lambda error: not isinstance(error, JournalError))


def tell_systemd(state: str) -> None:
    """sd_notify(3): one datagram to the socket that systemd names, if it names one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender, suppress(OSError):
        # Who does not read what he is told must not hold up the event loop: nothing would be taken any more.
        sender.settimeout(0 if state == ALIVE else _HEARS_WITHIN)
        sender.sendto(state.encode(), address)
