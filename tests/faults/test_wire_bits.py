"""One bit turned over on its way to the DEMS or back, on a wire without TLS: a request fails, or nothing is different.

The bit may be in a line, a header, metadata, a body, or a receipt. Whatever the daemon sets aside because of it a
person has sent again; then everything has arrived once, as it was recorded, and is proven.
"""

from __future__ import annotations

import asyncio
import signal
from random import Random
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest

from agent.capture import Standing
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from agent.testing.process import tally
from tests.faults.form import SEED, form, time_is_over, why
from tests.faults.report import reached
from tests.faults.rig import Nursery, Rig

if TYPE_CHECKING:
    from pathlib import Path

FLIPS = form(2, 60)
LENGTHS = (3, 300, 8_000)
OPEN = (Standing.HELD, Standing.RECEIPTED)
ASIDE = (Standing.REFUSED, Standing.QUARANTINED)


class Wire:
    """A relay on loopback that turns over one bit of what goes by, of both directions together, and counts it all."""

    def __init__(self, behind: int, bit: int | None = None) -> None:
        self._behind, self._bit = behind, bit
        self.passed = 0
        """Bytes."""
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        there = asyncio.create_task(self._carry(reader, far_writer))
        await self._carry(far_reader, writer)
        there.cancel()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(self._turned(data))
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _turned(self, data: bytes) -> bytes:
        begin, self.passed = self.passed, self.passed + len(data)
        if self._bit is None or not begin <= (at := self._bit // 8) < self.passed:
            return data
        turned = bytearray(data)
        turned[at - begin] ^= 1 << self._bit % 8
        return bytes(turned)


async def life(
    folder: Path, nursery: Nursery, bit: int | None, *, use: str, straight: bool | None = None
) -> tuple[list[str], int]:
    """(what is wrong, how many bytes went by) in the life of three captures with this bit turned over."""
    async with EmulatedDems(folder / "dems") as dems:
        there = urlsplit(dems.url if use == "tus" else dems.captures_url)
        async with Wire(there.port or 0, bit) as wire:
            uplink = {"use": use, "url": f"http://127.0.0.1:{wire.port}{there.path}"}
            rig = Rig(folder, nursery, dems, uplink=uplink, straight=straight)
            for number, length in enumerate(LENGTHS):
                rig.camera.record(some_bytes(length, number))
            await settle(rig, nursery)
            wrong = await rig.wrong()
            book = await rig.book()
            aside = [one for one in book.holdings.values() if one.standing in ASIDE]
            wrong += [f"capture {one.id} stands {one.standing} without a reason" for one in aside if not one.reason]
            await rig.retry([one.id for one in aside])
            return wrong + await rig.drained(), wire.passed


async def settle(rig: Rig, nursery: Nursery) -> None:
    """Run until each of the three has gone, or is set aside.

    A length that became longer lets both sides wait for half a minute, and a destination that failed so rests as well.
    """
    pid = await rig.start()
    try:
        async with asyncio.timeout(120):
            while True:
                standings = await tally(rig.daemon.state)
                if sum(standings.values()) == len(LENGTHS) and not any(standings.get(one, 0) for one in OPEN):
                    return
                await asyncio.sleep(0.05)
    finally:
        await nursery.end(pid, signal.SIGTERM)


@pytest.mark.parametrize("use", ["tus", "ietf"])
async def test_a_bit_on_the_wire_harms_nothing(tmp_path: Path, quick: Nursery, use: str) -> None:
    chance, wrong, done = Random(SEED), list[str](), 0
    (whole := tmp_path / "whole").mkdir()
    none, length = await life(whole, quick, None, use=use)
    assert not none
    while done < FLIPS and not wrong and not time_is_over():
        bit = chance.randrange(8 * length)
        (folder := tmp_path / f"{done}").mkdir()
        found, _ = await life(folder, quick, bit, use=use, straight=done % 2 == 0)
        wrong += [f"bit {bit} of {8 * length}: {one}" for one in found]
        done += 1
    reached(
        7,
        f"bits on the wire, to the DEMS and back, by {use}",
        asked=FLIPS,
        reached=done,
        violations=len(wrong),
        seed=SEED,
        detail=why(FLIPS, done),
    )
    assert not wrong, "\n".join(wrong)
