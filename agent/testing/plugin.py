"""The pytest plugin: fixtures `station`, `dems`, `mosquitto`, `bench`, and what ends every test with a station.

It imports nothing of ours until a fixture is asked for, so that it costs a stranger's test run nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

try:
    from pytest_asyncio import fixture as async_fixture
except ImportError:  # without it the two asynchronous fixtures cannot be used, and nothing else is lost
    async_fixture = pytest.fixture  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.broker import Mosquitto
    from agent.testing.dems import EmulatedDems
    from agent.testing.devices import BenchDevice
    from agent.testing.station import Station

pytest.register_assert_rewrite(
    *(
        f"agent.testing.{name}"
        for name in ("conformance", "observing", "rig", "station", "process", "uplink_conformance")
    )
)


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest about our markers."""
    config.addinivalue_line(
        "markers",
        "proves(*drivers, vectors=, peer=, device=): what of outside tries a driver here; see agent.testing.quality",
    )
    config.addinivalue_line(
        "markers",
        "evidock_station(**options): options of the fixture `station`, such as policy=Policy(device='release')",
    )


@pytest.fixture
def bench() -> BenchDevice:
    """Return a device on the bench, with nothing recorded on it yet."""
    from agent.testing.devices import BenchDevice  # noqa: PLC0415

    return BenchDevice()


@async_fixture
async def dems(tmp_path: Path) -> AsyncIterator[EmulatedDems]:
    """Run an emulated DEMS in this process."""
    from agent.testing.dems import EmulatedDems  # noqa: PLC0415

    async with EmulatedDems(tmp_path / "dems") as dems:
        yield dems


@async_fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    """Run a real broker on loopback; the test is skipped where mosquitto is not installed."""
    from agent.testing.broker import Mosquitto, mosquitto_program  # noqa: PLC0415

    if mosquitto_program() is None:
        pytest.skip("mosquitto is not installed")
    async with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@async_fixture
async def station(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Station]:
    """Run a station in this process; when the test is over, everything that must be true of it is verified."""
    from agent.testing.station import Station  # noqa: PLC0415

    marker = request.node.get_closest_marker("evidock_station")
    async with Station(tmp_path / "station", **({} if marker is None else marker.kwargs)) as station:
        yield station
        await station.verify()
