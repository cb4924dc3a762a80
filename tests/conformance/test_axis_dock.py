"""The Axis destination passes the shipped suite, with the emulated controller on the other end of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.testing.conformance import DriverConformance
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
