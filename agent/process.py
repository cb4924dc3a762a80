"""One process among others: alone in its state folder, known to systemd, and ended by the error that matters."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent import durable, tasks
from agent.errors import AgentError, JournalError, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.errors import SpoolDamaged

__all__ = ["ALIVE", "Ending", "first_of", "locked", "tell_systemd"]

ALIVE: Final = "WATCHDOG=1"
_HEARS_WITHIN: Final = 1.0


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Be the only one who writes below the state folder; raises `Refusal` where another process is."""
    try:
        durable.make_folder(state)
        fd = os.open(state / "lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        hint = "Nothing was changed. Run this as root or as the daemon's user."
        raise Refusal(f"you may not write in {state}", hint=hint) from error
    except OSError as error:
        raise durable.unwritable("station.state", f"{state} cannot be used", error) from error
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


class Ending:
    """What ends the daemon: a signal, or a journal or a disk that cannot be trusted any more."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._broken: asyncio.Future[None] | None = None
        self._log = structlog.get_logger("agent")

    def listen(self) -> None:
        """From now on; what broke earlier was raised where it was found."""
        loop = asyncio.get_running_loop()
        self._broken = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked.set)

    def damaged(self, error: SpoolDamaged) -> None:
        """The spool's disk failed."""
        self._log.critical("spool_damaged", error=str(error), todo=error.what_to_do)
        self.broken(error)

    def broken(self, error: AgentError) -> None:
        """The first of several counts."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def wait(self) -> None:
        """Wait for a signal; raises what damaged the spool or the journal. Once `listen` was called."""
        broken, asked = self._broken, asyncio.ensure_future(self._asked.wait())
        either: set[asyncio.Future[Any]] = {asked} if broken is None else {asked, broken}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if broken is not None and broken.done():
                broken.result()
        finally:
            asked.cancel()


def first_of(errors: BaseExceptionGroup[AgentError]) -> AgentError:
    """The one that matters of several that ended the daemon: the journal's before all."""
    return tasks.first_of(errors, JournalError)


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
