"""A process that was started here, ended by its own number alone: in order, or as a power cut would."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ["end", "kill"]


def kill(process: asyncio.subprocess.Process | None) -> None:
    """SIGKILL: nothing is finished, nothing is written. Harmless where it has ended already."""
    if process is not None:
        with suppress(ProcessLookupError):
            process.kill()


async def end(process: asyncio.subprocess.Process, within: float) -> int:
    """SIGTERM, and SIGKILL where that does not help in so many seconds; the exit code."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(within):
            return await process.wait()
    except TimeoutError:
        kill(process)
        return await process.wait()
