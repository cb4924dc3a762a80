"""Run one of the two by hand; see the package."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from drivers.dispatch.emulator import Dispatch, Position

_EVERY = 5.0
_ARGUMENTS = 3


async def _dispatch(url: str, token: str) -> None:
    dispatch, number = Dispatch(url, token), 0
    while True:
        number += 1
        since = datetime.now(UTC)
        id_ = await dispatch.tell("B12", f"2026-{number:06d}", since, category="traffic stop")
        await asyncio.sleep(_EVERY)
        await dispatch.tell("B12", f"2026-{number:06d}", since, datetime.now(UTC), category="traffic stop", id=id_)
        sys.stdout.write(f"2026-{number:06d}: {dispatch.answers[-2:]}\n")


async def _position(folder: Path) -> None:
    position, number = Position(folder), 0
    while True:
        number += 1
        incident = f"urn:emergency:uid:incidentid:{number:010d}:cad.example"
        call = f"urn:emergency:uid:callid:{number:010d}:psap.example"
        await asyncio.to_thread(position.drop, incident, call, datetime.now(UTC))
        sys.stdout.write(f"{incident}\n")
        await asyncio.sleep(_EVERY)


if __name__ == "__main__":
    words = sys.argv[1:]
    if len(words) == _ARGUMENTS and words[0] == "cad":
        asyncio.run(_dispatch(words[1], words[2]))
    elif len(words) == _ARGUMENTS - 1 and words[0] == "position":
        asyncio.run(_position(Path(words[1])))
    else:
        sys.exit(f"usage: {sys.modules['drivers.dispatch.emulator'].__doc__}")
