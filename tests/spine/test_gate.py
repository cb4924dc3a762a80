"""The gate by a clock of the test's own: days as the wall clock shows them, and rules that count at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agent import gate as gate_
from agent.capture import Priority
from agent.config import load
from agent.daemon import Agent
from agent.errors import NotNow
from agent.gate import Gate
from agent.testing.process import DaemonProcess, toml, tus
from agent.traffic import LinkClass, Traffic, networkmanager
from agent.traffic.options import LinkRule, LinkTable
from tests.spine.test_turns import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.testing.station import Station

LTE = LinkClass.LTE


@pytest.mark.parametrize(
    ("begins", "hours"),
    [
        (datetime(2026, 11, 1, 4, tzinfo=UTC), 25),  # in Toronto the clock goes back in that night
        (datetime(2026, 3, 8, 5, tzinfo=UTC), 23),  # and forward in this one
        (datetime(2026, 6, 1, 4, tzinfo=UTC), 24),
    ],
)
async def test_a_budget_is_for_one_day_of_the_wall_clock(station: Station, begins: datetime, hours: int) -> None:
    now, ends = begins, begins + timedelta(hours=hours)
    traffic = Traffic(timezone="America/Toronto", link=LTE, on={LTE: LinkTable(budget=100)})
    gate = Gate(station.desk, traffic, now=lambda: now)
    await gate.admit(Priority.HIT, 60)
    now = ends - timedelta(seconds=1)
    with pytest.raises(NotNow, match="budget for lte is spent"):
        await gate.admit(Priority.HIT, 60)
    assert not gate.verdict(Priority.HIT).content
    now = ends
    assert gate.verdict(Priority.HIT).content, "the next day has a budget of its own"
    assert await gate.admit(Priority.HIT, 60) is not None


async def test_a_budget_is_of_one_link_and_a_rule_may_go_beyond_it(station: Station) -> None:
    urgent = LinkRule(classes=(Priority.USE_OF_FORCE,), beyond_budget=True)
    gate = Gate(station.desk, Traffic(link=LTE, on={LTE: LinkTable(budget=100)}, rule=(urgent,)))
    await gate.admit(Priority.HIT, 100)
    with pytest.raises(NotNow):
        await gate.admit(Priority.HIT, 1)
    assert await gate.admit(Priority.USE_OF_FORCE, 1000) is not None
    gate.move(LinkClass.WIRED)
    assert gate.verdict(Priority.HIT).content
    assert await gate.admit(Priority.HIT, 1) is None


async def test_another_rate_counts_at_once_whether_the_link_changes_or_its_rules(station: Station) -> None:
    told: list[int | None] = []
    gate = Gate(station.desk, Traffic(bandwidth="1 MB/s", on={LTE: LinkTable(bandwidth="100 kB/s")}))
    gate.on_change(lambda: told.append(gate.bucket.rate))
    assert gate.bucket.rate == 1_000_000
    gate.move(LTE)
    assert gate.bucket.rate == 100_000
    gate.configure(Traffic(bandwidth="50 kB/s", link=LTE, on={LTE: LinkTable(bandwidth="100 kB/s")}))
    assert gate.bucket.rate == 50_000
    gate.configure(Traffic(link=LTE))
    assert gate.bucket.rate is None
    assert told == [100_000, 50_000, None], "whoever waits hears of it when it counts"


async def test_a_daemon_has_one_gate_for_all_its_destinations(tmp_path: Path) -> None:
    """Rules, budgets and the cap are the station's."""
    made = DaemonProcess(tmp_path / "station", uplink=tus("http://127.0.0.1:9/files"))
    other = tus("http://127.0.0.1:9/others", name="archive", role="copy")
    with made.config.open("a") as config:
        config.write(toml({"uplink": [other]}))
    agent = Agent(load(made.config))
    assert [one.link.name for one in agent.forwards] == ["dems", "archive"]
    assert {id(one._gate) for one in agent.forwards} == {id(agent.gate)}


async def test_a_larger_budget_opens_the_day_again(station: Station) -> None:
    gate = Gate(station.desk, Traffic(link=LTE, on={LTE: LinkTable(budget=100)}))
    await gate.admit(Priority.HIT, 100)
    with pytest.raises(NotNow):
        await gate.admit(Priority.HIT, 50)
    gate.configure(Traffic(link=LTE, on={LTE: LinkTable(budget=150)}))
    assert gate.verdict(Priority.HIT).content
    assert await gate.admit(Priority.HIT, 50) is not None
    with pytest.raises(NotNow):
        await gate.admit(Priority.HIT, 1)


async def test_who_waits_is_told_when_a_window_opens_and_when_a_day_begins(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else happens then: no capture comes, no link changes. In Toronto, in the night of the long day."""
    monkeypatch.setattr(gate_, "_LOOK", 0.002)
    looks, told = 0, list[tuple[Priority, ...]]()
    now = datetime(2026, 11, 1, 1, 59, 59, tzinfo=UTC)  # 21:59:59 on Halloween

    def clock() -> datetime:
        nonlocal looks
        looks += 1
        return now

    async def several_looks() -> None:
        until = looks + 5 * len(Priority)
        async with asyncio.timeout(10):
            while looks < until:  # noqa: ASYNC110 - a clock tells nobody that it was looked at
                await asyncio.sleep(0.001)

    night = LinkRule(classes=(Priority.BULK,), content=("22:00-06:00",))
    traffic = Traffic(timezone="America/Toronto", link=LTE, on={LTE: LinkTable(budget=100)}, rule=(night,))
    gate = Gate(station.desk, traffic, now=clock)
    gate.on_change(lambda: told.append(gate.classes()))
    following = asyncio.create_task(gate.run())
    await several_looks()
    assert told == [], "nothing opened"
    now += timedelta(seconds=1)
    await several_looks()
    assert told == [tuple(Priority)], "the window opened, and that is told once"
    await gate.admit(Priority.HIT, 100)
    with pytest.raises(NotNow):
        await gate.admit(Priority.HIT, 1)
    await several_looks()
    assert set(told[1:]) == {()}
    told.clear()
    now += timedelta(hours=2)  # midnight
    await several_looks()
    assert told == [tuple(Priority)], "a day of its own budget"
    now += timedelta(hours=6, minutes=59)  # in 25 hours of this day it is 05:59 for the only time
    await several_looks()
    assert len(told) == 1
    now += timedelta(minutes=1)
    await several_looks()
    assert told[1:] == [tuple(one for one in Priority if one is not Priority.BULK)]
    following.cancel()
    await asyncio.wait({following})


async def test_other_rules_are_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A car that leaves the station a moment after its configuration was read again is on its radio all the same."""
    begun: list[object] = []

    async def watch(tell: Callable[[LinkClass, bool], None], *, station_wifi: object) -> None:
        begun.append(station_wifi)
        tell(LTE, len(begun) > 1)
        await asyncio.Event().wait()

    monkeypatch.setattr(networkmanager, "watch", watch)
    gate = Gate(None, Traffic(source="networkmanager"))  # type: ignore[arg-type]
    running = asyncio.create_task(gate.run())
    await until(lambda: gate.link is LTE)
    gate.configure(Traffic(source="networkmanager", station_wifi=("EVIDENCE",)))
    await until(lambda: gate.portal, within=10.0)
    assert begun == [(), ("EVIDENCE",)]
    running.cancel()
    await asyncio.wait({running})


async def test_a_bus_that_goes_away_says_nothing_of_a_link_that_is_configured_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, begun = asyncio.Event(), asyncio.Event()

    async def watch(_: object, *, station_wifi: object) -> None:
        begun.set()
        await gone.wait()
        raise ConnectionResetError

    monkeypatch.setattr(networkmanager, "watch", watch)
    gate = Gate(None, Traffic(source="networkmanager", link=LinkClass.WIRED))  # type: ignore[arg-type]
    running = asyncio.create_task(gate.run())
    with capture_logs() as logs:
        await begun.wait()
        gone.set()
        gate.configure(Traffic(link=LTE))
        await until(lambda: "networkmanager_silent" in [one["event"] for one in logs])
    assert gate.link is LTE
    running.cancel()
    await asyncio.wait({running})
