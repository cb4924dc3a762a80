"""An offer that states its digest beforehand: other bytes are set aside with the reason, whole, and not held."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from agent.capture import Capture, Device, Standing
from agent.driver import StatesDigest
from agent.errors import BadCapture
from agent.ingest import SMALL
from agent.journal import queries
from agent.testing.devices import some_bytes
from agent.testing.station import Station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Stated:
    def __init__(self, data: bytes, stated: bytes) -> None:
        self._data, self.stated_sha256 = data, stated
        self.capture = Capture(Device("bench:1", "enotes", "bench"), "file", None, len(data))

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        yield self._data[offset:]

    async def release(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("length", [0, 1, SMALL, SMALL + 1, 3 * SMALL])
async def test_the_stated_digest(tmp_path: Path, length: int) -> None:
    data = some_bytes(length, "stated")
    async with Station(tmp_path) as station:
        good, bad = Stated(data, sha256(data).digest()), Stated(data, sha256(b"other").digest())
        assert isinstance(good, StatesDigest)
        with pytest.raises(BadCapture, match="SHA-256 that the device stated"):
            await station.take(bad)
        assert await station.holdings() == []
        ((part, _, reason),) = await station.desk.read(queries.parts)
        assert part == sha256(data).hexdigest()
        assert "SHA-256 that the device stated" in str(reason)
        assert (station.spool.root / "parts" / part).read_bytes() == data
        await station.verify()
    async with Station(tmp_path) as station:  # what was bad a moment ago is forgotten with the process
        assert await station.take(good) is Standing.HELD
        assert station.spool.sha256_now(sha256(data).digest()) == sha256(data).digest()
        await station.verify()
