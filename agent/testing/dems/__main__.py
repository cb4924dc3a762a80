"""The process that `DemsProcess` starts: options as JSON in its only argument; it ends when its standard input does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import structlog

from agent.testing.dems.options import DemsOptions
from agent.testing.dems.process import serve

_PATHS = ("folder", "certificate", "private_key", "key_file")


async def _main() -> None:
    # Standard output is for the one line that says where we are; nobody reads on, and a full pipe would stop us.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = json.loads(sys.argv[1])
    given |= {name: Path(given[name]) for name in _PATHS if given.get(name) is not None}
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def heard() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            loop.remove_reader(sys.stdin)
            ended.set()

    loop.add_reader(sys.stdin, heard)
    await serve(DemsOptions(**given), until=ended)


if __name__ == "__main__":
    asyncio.run(_main())
