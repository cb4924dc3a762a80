"""The uplink `ietf` passes the suite of all uplinks against the emulated DEMS."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.testing.dems import EmulatedDems
from agent.testing.uplink_conformance import UplinkConformance
from agent.uplink.ietf import IetfUplink
from tests.conformance.test_uplinks import DemsRig, short_waits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["short_waits"]


class IetfRig(DemsRig):
    """The same DEMS, asked in the words of the IETF."""

    def uplink(self) -> IetfUplink:  # type: ignore[override]
        options = IetfUplink.Options(
            use="ietf", name="dems", url=self.dems.captures_url, part_length=self.request, stall=2.0, receipt_wait=1.0
        )
        return IetfUplink(options)


class TestIetf(UplinkConformance):
    @asynccontextmanager
    async def rig(self, tmp_path: Path) -> AsyncIterator[IetfRig]:
        async with EmulatedDems(tmp_path / "dems") as dems:
            yield IetfRig(dems)
