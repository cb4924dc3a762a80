"""The receiver of number plate reads passes the shipped suite, with an emulated camera of each maker on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.testing.conformance import DriverConformance
from tests.drivers.alpr.rig import LONG, PushRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Pushed(DriverConformance):
    maker = ""
    made: list[PushRig]

    @pytest.fixture(autouse=True)
    async def _cameras_end(self) -> Iterator[None]:
        self.made = []
        yield
        for rig in self.made:
            rig.unplug()

    def rig(self, tmp_path: Path) -> PushRig:
        self.made.append(PushRig(tmp_path, self.maker))
        return self.made[-1]


at_length = pytest.mark.skipif(not LONG, reason="every maker through the whole suite: make alpr")


class TestHikvision(_Pushed):
    maker = "hikvision"


@at_length
class TestOpenAlpr(_Pushed):
    maker = "openalpr"


@at_length
class TestAxis(_Pushed):
    maker = "axis"


@at_length
class TestPlateRecognizer(_Pushed):
    maker = "platerecognizer"


@at_length
class TestGeneric(_Pushed):
    maker = "generic"
