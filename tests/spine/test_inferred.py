"""A release that was begun and has no end in the journal: what shows that the device forgot, and what does not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest

from agent.capture import Holding, Observation, Standing
from agent.config import Policy
from agent.driver import INDEX
from agent.errors import DeviceGone
from agent.journal import queries
from agent.testing.devices import BenchDevice, Exhibit, some_bytes
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from agent.testing.station import Station

pytestmark = pytest.mark.evidock_station(policy=Policy(device="release", receipt="digest", spool_keep=timedelta(0)))
COMPLETE = {"complete": True, "listed": 0}


def listing(bench: BenchDevice, **changes: object) -> Observation:
    return Observation(bench.device.id, INDEX, datetime.now(UTC), {**COMPLETE, **changes})


async def begun(station: Station, bench: BenchDevice) -> Holding:
    """The agent ended between the deletion and its entry: what it left on its disk, started again."""
    bench.record("a", some_bytes(1000))
    bench.record("b", some_bytes(2000))
    station.connect(BenchUplink())
    await station.dock(bench)
    await station.send()
    holding = next(one for one in await station.holdings() if one.origin.key == "a")
    await station.desk.write(lambda journal: journal.intend_release(holding.id, {}))
    del bench.clips["a"]
    bench.released.append("a")
    await station.restart()
    return holding


async def standing(station: Station, holding: Holding) -> Standing:
    return (await station.desk.read(lambda journal: journal.get(holding.id))).standing


async def last_entry(station: Station, holding: Holding) -> dict[str, Any]:
    return (await station.desk.read(lambda journal: list(queries.story(journal, holding.id))))[-1]["predicate"]


async def test_a_complete_listing_without_it_is_an_entry_that_says_that_it_is_inferred(
    station: Station, bench: BenchDevice
) -> None:
    holding = await begun(station, bench)
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RELEASED
    told = await last_entry(station, holding)
    assert told["event"] == "released"
    assert told["inferred"]["listing"] == COMPLETE
    intention = await station.desk.read(lambda journal: journal.leaves.leaf(told["inferred"]["intention"]))
    assert b'"event":"release.intended"' in intention
    assert await station.desk.read(queries.intended) == []


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param({"complete": False}, id="a listing that may have missed something"),
        pytest.param({"complete": None}, id="a listing that does not say"),
        pytest.param({"device": "bench:cam-2"}, id="of another device"),
        pytest.param({"kind": "position"}, id="no listing at all"),
    ],
)
async def test_nothing_else_shows_it(station: Station, bench: BenchDevice, seen: dict[str, Any]) -> None:
    holding = await begun(station, bench)
    kind, device = seen.pop("kind", INDEX), seen.pop("device", bench.device.id)
    await station.observe(Observation(device, kind, datetime.now(UTC), {**COMPLETE, **seen}))
    assert await standing(station, holding) is Standing.RECEIPTED
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RELEASED


async def test_a_device_that_is_away_shows_nothing(station: Station, bench: BenchDevice) -> None:
    holding = await begun(station, bench)
    await station.restart()
    await station.restart(boot_id="another-boot")
    assert await standing(station, holding) is Standing.RECEIPTED


async def test_what_is_offered_in_this_look_is_there_and_is_released_as_ever(
    station: Station, bench: BenchDevice
) -> None:
    holding = await begun(station, bench)
    bench.record("a", some_bytes(1000))  # the deletion did not last
    bench.release_fails += [DeviceGone("pulled out")] * 2
    await station.dock(bench)
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RECEIPTED
    bench.plug_in()
    await station.dock(bench)
    assert await standing(station, holding) is Standing.RELEASED
    assert "inferred" not in await last_entry(station, holding)


BY: Final = {"actor": "user:anna(1000)", "why": "the court asked"}


@pytest.mark.parametrize("restarted", [False, True], ids=["in the same life", "in another one"])
async def test_what_was_sent_again_meanwhile_is_inferred_once_it_is_proven_anew(
    station: Station, bench: BenchDevice, *, restarted: bool
) -> None:
    holding = await begun(station, bench)
    await station.desk.write(lambda journal: journal.retry(holding.id, **BY))
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.HELD
    if restarted:
        await station.restart()
    await station.send()
    assert await standing(station, holding) is Standing.RECEIPTED
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RELEASED
    assert await station.desk.read(queries.intended) == []
    await station.verify()


async def test_what_a_person_kept_meanwhile_is_inferred_when_it_may_go(station: Station, bench: BenchDevice) -> None:
    holding = await begun(station, bench)
    await station.desk.write(lambda journal: journal.retain(holding.id, keep=True, **BY))
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RECEIPTED
    await station.desk.write(lambda journal: journal.retain(holding.id, keep=False, **BY))
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RELEASED


async def test_an_order_in_the_moment_in_which_the_device_forgets_costs_no_look(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its device has forgotten it, and nobody can ask that device again."""
    clip = bench.record("a", some_bytes(1000))
    station.connect(BenchUplink())
    await station.dock(bench)
    await station.send()
    (holding,) = await station.holdings()
    forget = bench.forget

    async def and_order(which: Exhibit) -> None:
        await forget(which)
        await station.desk.write(lambda journal: journal.retry(holding.id, **BY))

    monkeypatch.setattr(bench, "forget", and_order)
    await station.dock(bench)
    assert clip.key in bench.released
    assert await standing(station, holding) is Standing.HELD
    await station.send()
    await station.observe(listing(bench))
    assert await standing(station, holding) is Standing.RELEASED
    await station.verify()


async def test_a_capture_that_nobody_began_to_release_is_never_inferred(station: Station, bench: BenchDevice) -> None:
    await begun(station, bench)
    other = next(one for one in await station.holdings() if one.origin.key == "b")
    await station.observe(listing(bench))
    assert await standing(station, other) is Standing.RECEIPTED
