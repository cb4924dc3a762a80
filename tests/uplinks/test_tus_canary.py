"""A server counts as verifying parts only after it refused one with a wrong checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from agent.testing.dems import EmulatedDems
from tests.uplinks.memory import MemorySending, some_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from agent.uplink import Finding
    from tests.uplinks.double import Connect, Serve


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


async def test_one_that_says_nothing_is_asked_nothing(serve: Serve, connect: Connect) -> None:
    double = await serve(checksums=False)
    uplink = connect(double.url)
    await uplink.probe()
    assert of(await uplink.check(), "parts").state == "warning"
    assert double.count("POST") == 0
