"""The Axis destination passes the shipped suite, with the emulated controller on the other end of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.testing.conformance import DriverConformance
from agent.testing.devices import some_bytes
from agent.testing.probe import Probe
from agent.testing.rig import running, until
from tests.drivers.axis_dock.rig import AxisRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

import pytest


class TestAxisDock(DriverConformance):
    made: list[AxisRig]

    @pytest.fixture(autouse=True)
    async def _controllers_end(self) -> Iterator[None]:
        self.made = []
        yield
        for rig in self.made:
            rig.unplug()

    def rig(self, tmp_path: Path) -> AxisRig:
        self.made.append(AxisRig(tmp_path))
        return self.made[-1]

    @pytest.mark.parametrize("answer", [Standing.HELD, Standing.RECEIPTED, Standing.REFUSED, Standing.QUARANTINED])
    async def test_2_what_is_not_opened_is_skipped(self, tmp_path: Path, answer: Standing) -> None:
        """It goes on to the next one. What its shelf never saw may be other bytes, and has another key."""
        rig = self.rig(tmp_path)
        keys = {rig.record(f"CLIP000{number}.MP4", some_bytes(1000, number)) for number in (1, 2, 3)}
        probe = Probe(answer=answer)
        async with running(rig.driver(), probe) as task:
            await until(lambda: keys <= probe.keys and not rig.holds("CLIP0003.MP4"))
            assert not task.done()
        assert all(key.partition(";")[0] in keys for key in probe.keys)
