"""The uplink `clearance` on a link that breaks: blocks that share it come home one by one, or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from agent.errors import UplinkDown
from agent.testing.sendings import held_sending
from agent.testing.uplink_conformance import sent
from tests.uplinks.clearance_rig import LONG, MIB, ClearanceRig, rigged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from agent.testing.station import Station
    from tests.uplinks.azurite import Azurite

pytestmark = pytest.mark.interop


@pytest.fixture
async def rig(tmp_path: Path, storage: Azurite) -> AsyncIterator[ClearanceRig]:
    async with rigged(tmp_path / "clearance", storage) as made:
        yield made


async def test_on_a_link_that_breaks_before_several_blocks_are_home_they_go_one_by_one(
    rig: ClearanceRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them would be lost at each break, for ever: the storage keeps whole blocks alone."""
    true_body, tries, left = rig.proxy._body, 0, 0

    async def body(request: web.Request, *, bringing: bool) -> AsyncIterator[bytes]:
        nonlocal left
        mine = tries
        async for block in true_body(request, bringing=bringing):
            left -= len(block)
            if left < 0 or tries != mine:  # whatever was on its way is lost, what lay in buffers too
                raise ConnectionError
            await asyncio.sleep(0.02)  # shared by those that are on their way together
            yield block

    monkeypatch.setattr(rig.proxy, "_body", body)
    sending, uplink = await held_sending(station, LONG), rig.uplink(blocks=4)
    for tries in range(1, 12):  # noqa: B007 - read by what the proxy runs
        left = 2 * MIB
        with suppress(UplinkDown):
            await sent(uplink, sending)
            break
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
