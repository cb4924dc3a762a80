"""Bytes that went wrong: on whose side, how often they are sent again, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agent.capture import PART_LENGTH
from agent.errors import BadReceipt, SpoolDamaged
from agent.uplink.http import parts
from tests.uplinks.double import PLAIN, cut, says, stall, then, whole
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from tests.uplinks.double import Connect, Serve

# --- 460


async def test_460_once_is_read_and_sent_again(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("PATCH", says(460))
    sending = MemorySending(some_bytes(MIB))
    await connect(double.url).send(sending)
    assert whole(double, sending)


@pytest.mark.parametrize("signs", [True, False])
async def test_460_twice_for_good_bytes_is_a_bad_receipt(serve: Serve, connect: Connect, *, signs: bool) -> None:
    double = await serve(signs=signs)
    double.next("POST", says(460)) if signs else double.next("PATCH", says(460))
    double.next("PATCH", *[says(460)] * 9)
    sending = MemorySending(some_bytes(MIB))
    with pytest.raises(BadReceipt, match="twice"):
        await connect(double.url).send(sending)
    assert double.received() == 2 * MIB  # RES-7: bytes sent per capture stay bounded


@pytest.mark.parametrize("signs", [True, False])
async def test_460_for_bytes_that_the_spool_lost_is_damage_of_the_spool(
    serve: Serve, connect: Connect, *, signs: bool
) -> None:
    double = await serve(signs=signs)
    data = some_bytes(MIB)
    with pytest.raises(SpoolDamaged, match="not what the journal says"):
        await connect(double.url).send(MemorySending(data, damage=data[:-1] + bytes([data[-1] ^ 1])))
    assert double.received() == MIB


@pytest.mark.parametrize("through", [True, False])
async def test_a_spool_that_lost_bytes_of_a_later_part_is_found_at_that_part(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, *, through: bool
) -> None:
    monkeypatch.setattr(parts, "AT_ONCE", 0.0)  # no request brings several
    double = await serve(through=through)
    data = some_bytes(2 * PART_LENGTH + MIB)
    damaged = bytearray(data)
    damaged[PART_LENGTH + 7] ^= 1
    with pytest.raises(SpoolDamaged, match="not what the journal says"):
        await connect(double.url).send(MemorySending(data, damage=bytes(damaged)))
    assert bytes(double.only.held) == data[:PART_LENGTH]
    # A digest made from what lies there now would be right for it: it is compared before any of it is sent.
    assert double.received() == (2 * PART_LENGTH if through else PART_LENGTH)


@pytest.mark.parametrize("length", [MIB, 3 * MIB])
async def test_460_for_the_whole_is_a_bad_receipt_at_once(serve: Serve, connect: Connect, length: int) -> None:
    double = await serve(signs=True)
    no = says(460, {"Evidock-Receipt": "refused"}, "Every byte came, but sha256 is 00 and not 01.")
    double.next("POST", *([no] if length == MIB else []))
    double.next("PATCH", *[then(lambda *_: None), no][: 1 if length == MIB else 2])
    with pytest.raises(BadReceipt, match="Every byte came"):
        await connect(double.url, part_length=2 * MIB).send(MemorySending(some_bytes(length)))


async def test_a_spool_that_fails_while_it_is_read_is_no_trouble_of_the_link(serve: Serve, connect: Connect) -> None:
    double = await serve()
    data = some_bytes(3 * MIB)
    for damage in (data[: MIB + 5], b""):
        sending = MemorySending(data, key=f"{len(damage)}", damage=damage)
        with pytest.raises(SpoolDamaged):
            await connect(double.url).send(sending)


# --- logs


async def test_a_proxy_that_buffers_bodies_is_named_and_parts_become_smaller(serve: Serve, connect: Connect) -> None:
    double = await serve(checksums=False)
    double.next("PATCH", cut(3 * MIB))
    sending = MemorySending(some_bytes(8 * MIB))
    with capture_logs() as logs:
        await connect(double.url, part_length=8 * MIB).send(sending)
    assert [entry["event"] for entry in logs] == ["proxy_buffers_uploads"]
    lengths = [int(seen.headers["Content-Length"]) for seen in double.seen if seen.method == "PATCH"]
    assert lengths == [8 * MIB, 4 * MIB, 4 * MIB]
    assert whole(double, sending)


@pytest.mark.usefixtures("both_ways")
async def test_a_server_that_has_not_heard_of_the_end_is_no_proxy_that_buffers(serve: Serve, connect: Connect) -> None:
    """On a link that was silent for longer than we wait, it still reads what we gave up."""
    double = await serve(checksums=False)
    double.next("PATCH", stall(3 * MIB))
    sending = MemorySending(some_bytes(8 * MIB))
    with capture_logs() as logs:
        await connect(double.url, part_length=8 * MIB, stall=0.4).send(sending)
    assert not [entry for entry in logs if entry["event"] == "proxy_buffers_uploads"]
    assert whole(double, sending)


async def test_a_server_that_keeps_the_beginning_of_a_cut_part_is_not_mistaken_for_a_proxy(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(checksums=False, extensions=PLAIN)
    double.next("PATCH", cut(3 * MIB, keep=True))
    sending = MemorySending(some_bytes(8 * MIB))
    with capture_logs() as logs:
        await connect(double.url, part_length=8 * MIB).send(sending)
    assert logs == []
    lengths = [int(seen.headers["Content-Length"]) for seen in double.seen if seen.method == "PATCH"]
    assert lengths == [8 * MIB, 5 * MIB]
    assert whole(double, sending)
