"""The daemon's Unix socket: HTTP for the command line and for whoever may open it; acts only for those who may act."""

from __future__ import annotations

import asyncio
import grp
import os
import stat
from contextlib import AsyncExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from aiohttp import web

from agent import durable
from agent.errors import AgentError, ConfigError, Problem
from agent.station.live import Live
from agent.station.peers import GROUP
from agent.station.routes import Routes, translated

if TYPE_CHECKING:
    from pathlib import Path

    from agent.station.running import Running

__all__ = ["PATH_MAX", "Control", "check_path"]

PATH_MAX: Final = 107
"""Bytes of a socket's path: `sun_path` has 108 with the zero at its end (unix(7))."""

_MODE: Final = 0o660
_BODY_MAX: Final = 256 * 1024
_SAMPLE: Final = 0.5
"""Seconds between two looks at how far copies and uploads are, while there are any."""
_IDLE: Final = 3.0
"""The same where there are none."""
_LOOK: Final = 15.0


def check_path(path: Path) -> None:
    """Raise `ConfigError` where a socket cannot be there."""
    length = len(os.fsencode(path))
    if length > PATH_MAX:
        raise ConfigError(
            [Problem("station.socket", f"{path} has {length} bytes, and a socket's path at most {PATH_MAX}")],
            hint="Give a shorter path as station.socket, such as /run/evidock/control.sock.",
        )


class Control:
    """Serves the socket for as long as the block lasts. Whoever enters it holds the lock of the state folder."""

    def __init__(self, running: Running, *, group: str = GROUP, acts: bool = True) -> None:
        """`acts`: whether anybody may order anything; else it is looked at only."""
        self._path = running.config.station.control
        self._group, self._acts = group, acts
        self.live = Live(running)
        """Also for the status service: rates are sampled once."""
        self._routes = Routes(running, self.live, group=group)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        check_path(self._path)
        self._clear_place()
        app = web.Application(client_max_size=_BODY_MAX, middlewares=[translated])
        self._routes.add_looks(app)
        if self._acts:
            self._routes.add_acts(app)
        else:
            self._routes.refuse_acts(app)
        async with AsyncExitStack() as stack:
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            try:
                # Until the mode is set below, the usual umask lets only our own user connect.
                await web.UnixSite(runner, self._path).start()
            except OSError as error:
                raise durable.unwritable("station.socket", str(self._path), error) from error
            stack.callback(self._unlink)
            self._open_to_group()
            sampling = asyncio.create_task(self._sample())
            stack.push_async_callback(_ended, sampling)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def _clear_place(self) -> None:
        """Take away what a killed daemon left: we hold the lock, so nobody listens there."""
        try:
            found = self._path.lstat()
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigError([Problem("station.socket", f"{self._path}: {error.strerror}")]) from error
        if not stat.S_ISSOCK(found.st_mode):
            raise ConfigError([Problem("station.socket", f"{self._path} is there, and is no socket")])
        self._unlink()

    def _unlink(self) -> None:
        with suppress(OSError):  # one that stays is in the way of nobody but the next start, which says so
            self._path.unlink()

    def _open_to_group(self) -> None:
        with suppress(KeyError, PermissionError):  # no such group here, or not ours to give: then our own group looks
            os.chown(self._path, -1, grp.getgrnam(self._group).gr_gid)
        self._path.chmod(_MODE)

    async def _sample(self) -> None:
        looked_at = float("-inf")
        while True:
            self.live.sample()
            if monotonic() - looked_at > _LOOK:
                looked_at = monotonic()
                with suppress(AgentError):  # whatever is wrong with the journal ends the daemon elsewhere
                    await self.live.status()  # notices come and go, and the log hears of it, though nobody looks
            await asyncio.sleep(_SAMPLE if self.live.moving else _IDLE)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
