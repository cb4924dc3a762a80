"""A server that verified what came is not asked to read everything again after each cut; after a restart it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.uplink.ietf import IetfUplink
from agent.uplink.tus import TusUplink
from tests.uplinks.arriving import settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from agent.testing.dems import EmulatedDems


@pytest.mark.parametrize("protocol", ["tus", "ietf"])
async def test_after_a_cut_of_ours_nothing_is_read_again(
    dems: EmulatedDems, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"name": "dems", "part_length": MIB, "stall": 2.0}

    def made() -> TusUplink | IetfUplink:
        if protocol == "tus":
            return TusUplink(TusUplink.Options(use="tus", url=dems.url, **known))
        return IetfUplink(IetfUplink.Options(use="ietf", url=dems.captures_url, **known))

    read: list[int] = []
    prefix = dems.core.receiver.prefix

    async def counted(upload) -> bytes:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the server's own
        read.append(upload.offset)
        return await prefix(upload)

    monkeypatch.setattr(dems.core.receiver, "prefix", counted)

    class StoppedError(Exception):
        pass

    sending, uplink = MemorySending(some_bytes(6 * MIB)), made()
    turns = 0

    async def turn(_: int, /) -> None:
        nonlocal turns
        turns += 1
        if turns == 7:
            raise StoppedError

    sending.turn = turn  # type: ignore[method-assign]
    await dems.add_fault("PATCH:2:cut@500000", "PATCH:4:cut@500000")
    with pytest.raises(StoppedError):
        await uplink.send(sending)
    await uplink.aclose()
    assert read == []
    again = made()
    verified(await again.send(sending), sending, dems)
    await again.aclose()
    assert len(read) in (1, 2), "once at its start, and for the last answer of the other protocol"
    await settled(dems, sending, again=2 * MIB)
