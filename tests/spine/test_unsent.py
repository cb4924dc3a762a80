"""Captures at which an uplink fails by itself: those that nobody wants sent any more are forgotten, however many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Standing
from agent.forward.unsent import Unsent
from agent.testing.devices import BenchDevice

if TYPE_CHECKING:
    from agent.testing.station import Station


async def test_those_behind_many_that_fail_are_forgotten_too_once_a_person_saw_to_them(station: Station) -> None:
    device = BenchDevice()
    for number in range(70):
        device.record(f"{number:02}", b"%d" % number)
    await station.dock(device)
    unsent, holdings = Unsent("dems"), await station.holdings()
    for one in holdings:
        unsent.failed(one.id, ValueError("a bug of ours"))
    last = holdings[-1].id
    await station.desk.write(lambda journal: journal.refuse(last, "a person saw to it"))
    for _ in range(2):
        unsent.forget(await station.desk.read(unsent.gone))
    assert [one["what"] for one in unsent.notices()] == ["uplink dems"]
    assert all("69 captures" in str(one["detail"]) for one in unsent.notices())
    assert sum(one.standing is Standing.HELD for one in await station.holdings()) == 69
