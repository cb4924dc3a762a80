"""Parts and blocks on their way: each place is given back whatever ends it, and none of them lies in memory."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from agent.testing.devices import some_bytes
from agent.testing.sendings import HeldSending, held_sending
from agent.testing.station import Station
from tests.uplinks import clearance_rig, s3_rig

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.testing.uplink_conformance import UplinkRig
    from agent.uplink import Uplink
    from tests.uplinks.azurite import Azurite
    from tests.uplinks.swift import Swift

pytestmark = pytest.mark.interop
MIB = 1 << 20


class StoppedError(Exception):
    """Not now, nor ever."""


async def stopped(uplink: Uplink, sending: HeldSending) -> None:
    """Sent until the second request asks, in the very moment in which the first is ready to go."""
    turn, asked = sending.turn, 0

    async def stopping(length: int, /) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise StoppedError
        await turn(length)

    sending.turn = stopping  # type: ignore[method-assign]
    with pytest.raises(StoppedError):
        await uplink.send(sending)
    sending.turn = turn  # type: ignore[method-assign]


async def tried(rig: UplinkRig, uplink: Uplink, folder: Path) -> None:
    """Three times stopped, with two places; and then it arrives."""
    async with Station(folder) as station:
        sending = await held_sending(station, some_bytes(2 * rig.request + 77, "stopped"))
        for _ in range(3):
            await stopped(uplink, sending)
        async with asyncio.timeout(120):
            await uplink.send(sending)
        assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
        assert vars(uplink)["_places"]._taken == 0, "a place was kept by what never began"


@pytest.mark.slow
async def test_a_part_that_never_began_keeps_no_place(tmp_path: Path, store: Swift) -> None:
    async with s3_rig.rigged(tmp_path / "s3", store) as rig, aclosing(rig.uplink(parts=2)) as uplink:
        await tried(rig, uplink, tmp_path / "station")


async def test_a_block_that_never_began_keeps_no_place(tmp_path: Path, storage: Azurite) -> None:
    async with (
        clearance_rig.rigged(tmp_path / "clearance", storage) as rig,
        aclosing(rig.uplink(blocks=2)) as uplink,
    ):
        await tried(rig, uplink, tmp_path / "station")


async def test_parts_to_an_object_store_do_not_lie_in_memory(tmp_path: Path, store: Swift) -> None:
    """Four of 5 MiB on their way: a few blocks of each, and what the proxy between has in hand."""
    async with (
        s3_rig.rigged(tmp_path / "s3", store) as rig,
        aclosing(rig.uplink(parts=4)) as uplink,
        Station(tmp_path / "station") as station,
    ):
        sending = await held_sending(station, some_bytes(40 * MIB, "eight parts"))
        await uplink.send(await held_sending(station, b"first", "first"))  # what is opened once is open now
        peak = await measured(lambda: uplink.send(sending))
        assert peak < 4 * rig.request, f"{peak / MIB:.1f} MiB"


async def measured(act: Callable[[], Awaitable[object]]) -> int:
    """Bytes that Python had in use at most, beyond those before."""
    tracemalloc.start()
    try:
        await act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
