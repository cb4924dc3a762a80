"""Turns as `forward` gives them, one page of the queue after another: nothing of who was served is lost between two."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agent import forward
from agent.capture import Priority
from agent.forward.watched import Departure, make_way
from agent.gate import Gate
from agent.testing.uplinks import BenchUplink
from agent.traffic import Traffic
from tests.spine.docked import queued

if TYPE_CHECKING:
    import pytest

    from agent.capture import Holding, Receipt
    from agent.testing.station import Station
    from agent.uplink import Sending


class Nudged(BenchUplink):
    """After each capture the queue is looked at anew, as when another one was held meanwhile."""

    def __init__(self, station: Station) -> None:
        super().__init__()
        self._station = station

    async def send(self, sending: Sending, /) -> Receipt:
        receipt = await super().send(sending)
        self._station.forward.nudge()
        return receipt


async def test_devices_take_turns_though_the_queue_is_looked_at_anew_each_time(station: Station) -> None:
    uplink = Nudged(station)
    station.connect(uplink, in_flight=1)
    await queued(station, a=[Priority.ROUTINE] * 4, b=[Priority.ROUTINE] * 2, c=[Priority.ROUTINE])
    await station.send()
    assert uplink.order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


async def test_what_waited_too_long_gets_its_turn_though_the_queue_is_looked_at_anew_each_time(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # noqa: ARG003 - always UTC
            return datetime.now(UTC) + timedelta(hours=25)

    uplink = Nudged(station)
    station.gate = Gate(station.desk, Traffic(ageing=timedelta(hours=24)))
    station.connect(uplink, in_flight=1)
    await queued(station, old=[Priority.BULK], new=[Priority.USE_OF_FORCE] * 20)
    monkeypatch.setattr(forward, "datetime", Tomorrow)
    await station.send()
    assert uplink.order.index("old0") == 7, "the eighth turn"


async def test_what_has_not_waited_too_long_goes_last(station: Station) -> None:
    uplink = Nudged(station)
    station.gate = Gate(station.desk, Traffic(ageing=timedelta(hours=24)))
    station.connect(uplink, in_flight=1)
    await queued(station, old=[Priority.BULK], new=[Priority.USE_OF_FORCE] * 10)
    await station.send()
    assert uplink.order[-1] == "old0"


async def test_what_goes_because_it_waited_keeps_its_place_for_a_few_requests(station: Station) -> None:
    """Else it would be pushed out each time before it came any further, and starve on its way."""
    await queued(station, old=[Priority.BULK], new=[Priority.USE_OF_FORCE])
    found: dict[str, Holding] = {one.origin.key: one for one in await station.holdings()}
    departure = Departure(found["old0"], aged=True)
    for requests, gives_way in ((0, False), (4, False), (5, True)):
        departure.requests, departure.give_way = requests, False
        make_way([departure], found["new0"])
        assert departure.give_way is gives_way, requests
    usual = Departure(found["old0"])
    make_way([usual], found["new0"])
    assert usual.give_way
