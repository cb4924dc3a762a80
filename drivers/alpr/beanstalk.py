"""The consumer's half of the beanstalkd protocol (protocol.txt of beanstalkd 1.12), bounded, over one connection.

The clients that are published block a thread for as long as nothing comes, and read whatever length a server states.
This one is cancelled at any await, and a job is then handed to the next who asks.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Final, Self

from agent.errors import DeviceGone, DeviceRefused

__all__ = ["Job", "Tube"]

_LINE_MAX: Final = 1024
_WAIT: Final = 10
"""Seconds that the server waits for a job before it says that there is none."""
_PATIENCE: Final = 20.0
_STATS_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Job:
    """One job, ours until it is deleted, released, or its time has run out."""

    id: int
    body: bytes | None = field(repr=False)
    """None: it is longer than is read."""
    length: int = 0


class Tube:
    """One connection that reserves from one tube. `DeviceGone` where it breaks, `DeviceRefused` by the server."""

    def __init__(self, tube: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tube, self._reader, self._writer = tube, reader, writer
        self._alone = asyncio.Lock()

    @classmethod
    async def open(cls, host: str, port: int, tube: str) -> Self:
        """Connect, and look at this tube alone."""
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection(host, port, limit=_LINE_MAX)
        except (OSError, TimeoutError) as error:
            raise DeviceGone(f"no beanstalkd answers at {host} port {port}", hint=_HINT) from error
        made = cls(tube, reader, writer)
        try:
            await made._asked(f"watch {tube}", r"WATCHING \d+")
            if tube != "default":
                await made._asked("ignore default", r"WATCHING \d+")
        except BaseException:
            await made.close()
            raise
        return made

    async def close(self) -> None:
        """End the connection: what is reserved goes back to the queue at once."""
        self._writer.transport.abort()

    async def reserve(self, most: int) -> Job | None:
        """The next job; None where none came for a while. One that is longer than `most` is passed over unread."""
        found = await self._asked(
            f"reserve-with-timeout {_WAIT}",
            r"RESERVED (?P<id>\d{1,20}) (?P<length>\d{1,12})|TIMED_OUT|DEADLINE_SOON",
            most=most,
        )
        return found if isinstance(found, Job) else None

    async def delete(self, job: Job) -> bool:
        """It is done with. False: its time had run out, and it was handed out again."""
        return await self._asked(f"delete {job.id}", "DELETED|NOT_FOUND") == "DELETED"

    async def release(self, job: Job, *, delay: int) -> None:
        """Back into the queue, behind what is new, after so many seconds."""
        await self._asked(f"release {job.id} 1 {delay}", "RELEASED|BURIED|NOT_FOUND")

    async def bury(self, job: Job) -> None:
        """Set it aside in the queue itself, for a person."""
        await self._asked(f"bury {job.id} 1", "BURIED|NOT_FOUND")

    async def buried(self) -> int:
        """How many jobs of the tube are set aside, whoever did that."""
        found = await self._asked(f"stats-tube {self._tube}", r"OK (?P<length>\d{1,5})|NOT_FOUND", most=_STATS_MAX)
        said = found.body if isinstance(found, Job) else None
        count = re.search(rb"^current-jobs-buried: (\d{1,10})\r?$", said or b"", re.MULTILINE)
        return 0 if count is None else int(count[1])

    async def touch(self, job: Job) -> None:
        """Begin its time anew."""
        await self._asked(f"touch {job.id}", "TOUCHED|NOT_FOUND")

    async def _asked(self, command: str, expected: str, *, most: int = 0) -> str | Job:
        """One command and its answer, alone on the connection."""
        async with self._alone:
            try:
                self._writer.write(command.encode("ascii") + b"\r\n")
                async with asyncio.timeout(_PATIENCE):
                    await self._writer.drain()
                    line = (await self._reader.readuntil(b"\r\n"))[:-2].decode("ascii", "replace")
                    found = re.fullmatch(expected, line)
                    if found is None:
                        raise DeviceRefused(
                            f"beanstalkd answered {line[:40]!r} to {command.split(' ', maxsplit=1)[0]}", hint=_HINT
                        )
                    told = found.groupdict()
                    if told.get("length") is None:
                        return line
                    return await self._job(int(told.get("id") or 0), int(told["length"]), most)
            except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
                raise DeviceGone("the connection to beanstalkd broke", hint=_HINT) from error

    async def _job(self, number: int, length: int, most: int) -> Job:
        if length <= most:
            body = await self._reader.readexactly(length)
            await self._reader.readexactly(2)
            return Job(number, body, length)
        left = length + 2
        while left:
            piece = await self._reader.read(min(left, 1 << 16))
            if not piece:
                raise EOFError
            left -= len(piece)
        return Job(number, None, length)


_HINT: Final = "Is beanstalkd running on the agent's machine, and is it reached from here? It is tried again by itself."
