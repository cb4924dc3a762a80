"""A server counts as verifying parts only after it refused one with a wrong checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from agent.errors import UplinkDown
from agent.testing.dems import EmulatedDems
from tests.uplinks.double import drop_answer, says, stranger
from tests.uplinks.memory import MemorySending, some_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from agent.uplink import Finding
    from tests.uplinks.double import Connect, Fault, Serve


def of(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


async def test_the_emulated_dems_refuses_the_canary_and_keeps_nothing_of_it(tmp_path: Path, connect: Connect) -> None:
    async with EmulatedDems(tmp_path) as dems:
        uplink = connect(dems.url)
        assert of(await uplink.check(), "parts").state == "ok"
        await uplink.probe()
        assert {entry.state for entry in await dems.index()} == {"terminated"}
        assert not await dems.violations()


async def test_one_that_only_says_so_counts_as_one_that_verifies_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve(lies=True)
    uplink = connect(double.url, with_creation=0)
    with structlog.testing.capture_logs() as logged:
        await uplink.probe()
    assert [line["event"] for line in logged] == ["checksums_ignored"]
    await uplink.send(MemorySending(some_bytes(1000)))
    parts = [seen for seen in double.seen if seen.method == "PATCH"][1:]
    assert parts
    assert not any("Upload-Checksum" in seen.headers for seen in parts)
    found = of(await uplink.check(), "parts")
    assert found.state == "warning"
    assert "its word counts for nothing" in found.detail
    double.lies = False  # it was repaired: the next canary finds that out
    await uplink.probe()
    await uplink.send(MemorySending(some_bytes(1000, 2)))
    assert "Upload-Checksum" in [seen for seen in double.seen if seen.method == "PATCH"][-1].headers


@pytest.mark.parametrize(
    "fault",
    [stranger(503), stranger(204), stranger(460), says(500), says(404)],
    ids=["503", "204", "460", "500", "404"],
)
async def test_an_answer_to_the_canary_that_tells_nothing_of_checksums_is_no_finding(
    serve: Serve, connect: Connect, fault: Fault
) -> None:
    """Of a proxy, or of a server that has other troubles: it is neither believed nor found out."""
    double = await serve(checksums=True)
    double.next("PATCH", fault)
    uplink = connect(double.url)
    with pytest.raises(UplinkDown):
        await uplink.probe()
    assert uplink.door.verifies is None
    assert double.deleted, "nothing is left of it"
    await uplink.probe()
    assert uplink.door.verifies is True


async def test_one_that_was_found_out_is_not_believed_again_for_a_canary_that_got_no_answer(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(lies=True)
    uplink = connect(double.url, with_creation=0)
    await uplink.probe()
    for method in ("OPTIONS", "POST", "PATCH"):
        double.next(method, stranger(503))
        with pytest.raises(UplinkDown):
            await uplink.probe()
        double.seen.clear()
        await uplink.send(MemorySending(some_bytes(1000), key=method))
        assert not any("Upload-Checksum" in seen.headers for seen in double.seen)
        assert not uplink.door.verifying


async def test_one_that_says_nothing_is_asked_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve(checksums=False)
    uplink = connect(double.url)
    await uplink.probe()
    assert of(await uplink.check(), "parts").state == "warning"
    assert double.count("POST") == 0


@pytest.mark.parametrize("lies", [True, False])
async def test_what_a_canary_found_out_stands_where_it_cannot_be_given_up(
    serve: Serve, connect: Connect, *, lies: bool
) -> None:
    """The way breaks after the answer to what was sent wrongly."""
    double = await serve(lies=lies, checksums=True)
    double.next("DELETE", drop_answer())
    uplink = connect(double.url, with_creation=0)
    await uplink.probe()
    assert uplink.door.verifies is not lies


async def test_why_a_canary_found_nothing_is_told_where_it_cannot_be_given_up_either(
    serve: Serve, connect: Connect
) -> None:
    double = await serve(checksums=True)
    double.next("PATCH", says(500))
    double.next("DELETE", drop_answer())
    with pytest.raises(UplinkDown, match="PATCH"):
        await connect(double.url).probe()
