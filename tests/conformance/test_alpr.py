"""The receiver of number plate reads passes the shipped suite, with an emulated camera of each maker on the wire."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from agent.testing.broker import mosquitto_program
from agent.testing.conformance import DriverConformance
from tests.drivers.alpr.peers import needs_beanstalkd
from tests.drivers.alpr.rig import LONG, PushRig
from tests.drivers.alpr.waiting import BrokerRig, QueueRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Cameras:
    """Whatever a test made is ended after it."""

    made: list[PushRig]

    @pytest.fixture(autouse=True)
    async def _cameras_end(self) -> Iterator[None]:
        self.made = []
        yield
        for rig in self.made:
            rig.end()


at_length = pytest.mark.skipif(not LONG, reason="every maker through the whole suite: make alpr")


class TestReceiver(_Cameras, DriverConformance):
    maker = "hikvision"

    def rig(self, tmp_path: Path) -> PushRig:
        self.made.append(PushRig(tmp_path, self.maker))
        return self.made[-1]


@at_length
class TestOpenAlpr(TestReceiver):
    maker = "openalpr"


@at_length
class TestAxis(TestReceiver):
    maker = "axis"


@at_length
class TestPlateRecognizer(TestReceiver):
    maker = "platerecognizer"


@at_length
class TestGeneric(TestReceiver):
    maker = "generic"


@at_length
@needs_beanstalkd
class TestQueue(_Cameras, DriverConformance):
    """Jobs in a real beanstalkd, which keeps them when it is killed."""

    def rig(self, tmp_path: Path) -> PushRig:
        self.made.append(QueueRig(tmp_path))
        return self.made[-1]


@at_length
@pytest.mark.skipif(
    mosquitto_program() is None or shutil.which("mosquitto_sub") is None, reason="mosquitto is not installed"
)
class TestBroker(_Cameras, DriverConformance):
    """Events in a real mosquitto, for a session that outlives our absence."""

    def rig(self, tmp_path: Path) -> PushRig:
        self.made.append(BrokerRig(tmp_path))
        return self.made[-1]
