"""What the tests of the spine share: short waits, a spool, a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.clock import Clock
from agent.forward import pausing
from agent.journal import Journal
from agent.spool import Spool
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.testing.station import Station

LOG = "edge.example.org/bench-1/log1"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pausing, "jitter", lambda _: 0.01)


@pytest.fixture
def uplink(station: Station) -> BenchUplink:
    """A destination to which the station is connected."""
    made = BenchUplink()
    station.connect(made)
    return made


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", watermark=0, read_back=False, boot_id="boot-1")
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal.open(tmp_path / "journal.db", log=LOG, stamp=Clock().stamp)
    yield made
    made.close()
