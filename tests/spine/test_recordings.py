"""Clips of one recording: sent one after another, forgotten together, and told of where one of them is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.capture import Observation, Priority, Standing
from agent.driver import INDEX
from agent.errors import UplinkDown, UplinkRefused
from agent.journal import turns
from agent.journal.recordings import recording
from agent.release import recordings
from agent.testing.devices import BEGAN_AT, BenchDevice, some_bytes
from agent.testing.uplinks import BenchUplink
from tests.spine.docked import releasing
from tests.spine.test_turns import keys, sending, until

if TYPE_CHECKING:
    import pytest

    from agent.testing.station import Station


def pair(device: BenchDevice, name: str, clips: str = "ab", **fields: object) -> None:
    """One recording; the device counts its clips."""
    for clip in clips:
        device.record(f"{name}{clip}", some_bytes(100, f"{device.device.id}{name}{clip}"), group=name, **fields)  # type: ignore[arg-type]


def notices(station: Station, *here: str) -> list[str]:
    return [str(one["detail"]) for one in station.release.recordings.notices(set(here))]


async def docked(station: Station, *devices: BenchDevice) -> None:
    """Everything is taken in the order of recording: what is offered together is held in any order."""
    for device in devices:
        for key in list(device.clips):
            await station.take(device.offer(key))
        await station.dock(device)


async def looked(station: Station, device: BenchDevice) -> dict[Standing, int]:
    """One whole look, as a driver makes it."""
    found = await station.dock(device)
    await station.observe(Observation(device.device.id, INDEX, BEGAN_AT, {"complete": True}))
    return found


# --- sending ----------------------------------------------------------------------------------------------------------


async def test_a_turn_brings_a_whole_recording(station: Station) -> None:
    left, right = BenchDevice("bench:left"), BenchDevice("bench:right")
    for name in ("1", "2"):
        pair(left, f"l{name}", "abc")
        pair(right, f"r{name}")
    await docked(station, left, right)
    assert await keys(station) == ["l1a", "l1b", "l1c", "r1a", "r1b", "l2a", "l2b", "l2c", "r2a", "r2b"]


async def test_what_was_begun_is_finished_before_others_of_its_class(station: Station) -> None:
    left, right = BenchDevice("bench:left"), BenchDevice("bench:right")
    pair(left, "l1")
    pair(right, "r1", "abcd")
    right.record("flagged", some_bytes(10), priority=Priority.FLAGGED)
    await docked(station, left, right)
    begun = (turns.begun_of((await station.holdings())[-1]), (int(Priority.ROUTINE), "bench:right", "r1"))
    found = await keys(station, begun=begun[1:])
    assert found == ["flagged", "r1a", "r1b", "r1c", "r1d", "l1a", "l1b"]
    assert await station.desk.read(lambda journal: turns.unfinished(journal, [*begun, (0, "x", "y")])) == list(begun)


async def test_the_sender_finishes_what_it_began_also_when_more_comes(station: Station) -> None:
    """A clip that is held while its recording is on its way goes before another device's."""
    uplink = BenchUplink()
    left, right = BenchDevice("bench:left"), BenchDevice("bench:right")
    pair(left, "l1", "a")
    pair(right, "r1", "ab")
    true_send = uplink.send

    async def send(sending: object) -> object:
        if not uplink.order:
            pair(left, "l1", "ab")
            await docked(station, left)
        return await true_send(sending)  # type: ignore[arg-type]

    uplink.send = send  # type: ignore[method-assign, assignment]
    station.connect(uplink, in_flight=1)
    await docked(station, left)
    await docked(station, right)
    await station.send()
    assert uplink.order == ["l1a", "l1b", "r1a", "r1b"]


async def test_after_a_restart_it_goes_on_with_the_recording_that_was_begun(station: Station) -> None:
    uplink = BenchUplink()
    right, left = BenchDevice("bench:right"), BenchDevice("bench:left")
    pair(right, "r1", "abc")
    await docked(station, right)
    uplink.poison = {key: UplinkDown("later", alone=True) for key in ("r1b", "r1c")}
    station.connect(uplink, in_flight=1)
    async with sending(station):
        await until(lambda: len(uplink.order) >= 3 and not station.forward.departures)
    pair(left, "a1")
    await docked(station, left)
    assert await station.desk.read(turns.begun_last) == [(int(Priority.ROUTINE), "bench:right", "r1")]
    await station.restart()
    uplink.poison.clear()
    uplink.order.clear()
    await station.send()
    assert uplink.order == ["r1b", "r1c", "a1a", "a1b"]


async def test_copies_go_by_recordings_too(station: Station) -> None:
    left, right = BenchDevice("bench:left"), BenchDevice("bench:right")
    pair(left, "l1", "ab")
    pair(right, "r1", "ab")
    await docked(station, left, right)

    def owed(journal: object) -> None:
        sql = "INSERT INTO owed SELECT 'copy', priority, device, held_seq, held_at, row FROM capture"
        journal.connection.execute(sql)  # type: ignore[attr-defined]

    await station.desk.write(owed)
    order = turns.Order(classes=tuple(Priority))
    found = await station.desk.read(lambda j: turns.turns(j, order, skip=(), limit=9, owed_to="copy"))
    assert [turn.holding.origin.key for turn in found] == ["l1a", "l1b", "r1a", "r1b"]


# --- forgetting -------------------------------------------------------------------------------------------------------


@releasing()
async def test_a_device_forgets_a_recording_as_a_whole_and_in_one_look(station: Station, bench: BenchDevice) -> None:
    uplink = BenchUplink()
    station.connect(uplink)
    pair(bench, "r1", "abc")
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RELEASED: 3}
    assert bench.released == ["r1a", "r1b", "r1c"]


@releasing()
async def test_nothing_is_forgotten_while_one_is_not_receipted(station: Station, bench: BenchDevice) -> None:
    station.connect(BenchUplink())
    pair(bench, "r1", "a", members=-1)
    await station.dock(bench)
    await station.send()
    pair(bench, "r1", "b", members=-1)
    await station.hang_up()
    assert await looked(station, bench) == {Standing.RECEIPTED: 1, Standing.HELD: 1}
    assert await looked(station, bench) == {Standing.RECEIPTED: 1, Standing.HELD: 1}
    assert bench.released == []
    assert notices(station, "bench:cam-1") == []  # it is on its way: nobody has to be told


@releasing()
async def test_nothing_is_forgotten_while_the_device_lists_one_that_is_not_here(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not settled, or cannot be read: the device counts it all the same."""
    station.connect(BenchUplink())
    pair(bench, "r1", "ab", members=3)
    await looked(station, bench)
    await station.send()
    for _ in range(2):
        assert await looked(station, bench) == {Standing.RECEIPTED: 2}
    assert notices(station, "bench:cam-1") == []
    monkeypatch.setattr(recordings, "monotonic", lambda: 1e9)
    (told,) = notices(station, "bench:cam-1")
    assert "lists 3 captures of one recording, and 2 are here" in told
    assert notices(station) == []  # nobody knows what a device holds that is away
    pair(bench, "r1", "c")
    for clip in bench.clips.values():
        clip.members = -1
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RELEASED: 3}
    assert notices(station, "bench:cam-1") == []


@releasing()
async def test_one_that_the_dems_refuses_keeps_the_others_on_the_device_and_is_told(
    station: Station, bench: BenchDevice
) -> None:
    uplink = BenchUplink()
    uplink.poison["r1b"] = UplinkRefused("no")
    station.connect(uplink)
    pair(bench, "r1")
    pair(bench, "r2")
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RECEIPTED: 1, Standing.REFUSED: 1, Standing.RELEASED: 2}
    assert bench.released == ["r2a", "r2b"]
    await station.release.sweep()
    (told,) = notices(station, "bench:cam-1")
    assert "r1b stands refused, of 2 captures" in told
    uplink.poison.clear()
    (refused,) = [one for one in await station.holdings() if one.standing is Standing.REFUSED]
    await station.desk.write(lambda journal: journal.retry(refused.id, actor="anna", why="it takes them now"))
    await station.send()
    assert await looked(station, bench) == {Standing.RELEASED: 2}
    await station.release.sweep()
    assert notices(station, "bench:cam-1") == []


@releasing(recordings="clips")
async def test_the_policy_may_let_each_go_by_itself(station: Station, bench: BenchDevice) -> None:
    uplink = BenchUplink()
    uplink.poison["r1b"] = UplinkRefused("no")
    station.connect(uplink)
    pair(bench, "r1")
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RELEASED: 1, Standing.REFUSED: 1}


@releasing()
async def test_a_name_that_is_used_again_does_not_pass_for_the_old_recording(
    station: Station, bench: BenchDevice
) -> None:
    """The camera was emptied and counts from the beginning: what was released long ago makes nothing whole."""
    station.connect(BenchUplink())
    pair(bench, "r1")
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RELEASED: 2}
    bench.record("r1a", b"another film", group="r1", members=2)
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RECEIPTED: 1}
    bench.record("r1b", b"its other half", group="r1", members=2)
    await looked(station, bench)
    await station.send()
    assert await looked(station, bench) == {Standing.RELEASED: 2}


@releasing()
async def test_what_a_device_pushed_is_let_go_once_the_device_has_said_how_many_there_were(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushing = BenchDevice("bench:push", volatile=True)
    station.connect(BenchUplink())
    pair(pushing, "r1", "ab", members=0)
    await station.dock(pushing)
    await station.send()
    await station.release.sweep()
    assert await station.count(Standing.RECEIPTED) == 2
    monkeypatch.setattr(recordings, "monotonic", lambda: 1e9)
    assert "has not said that the recording is finished" in notices(station)[0]
    pair(pushing, "r1", "z", members=4)
    await station.dock(pushing)
    await station.send()
    await station.release.sweep()
    assert await station.count(Standing.RECEIPTED) == 3
    pair(pushing, "r1", "c", members=0)
    await station.dock(pushing)
    await station.send()
    await station.release.sweep()
    assert await station.count(Standing.RELEASED) == 4
    assert notices(station) == []
    found = await station.desk.read(lambda journal: recording(journal, "bench:push", "r1"))
    assert (found.known, found.safe, found.stated, found.aside) == (4, 4, 4, None)


@releasing()
async def test_a_sweep_ends_however_many_have_to_wait(station: Station) -> None:
    pushing = BenchDevice("bench:push", volatile=True)
    for number in range(600):
        pushing.record(f"{number}", b"x", group="r1", members=0)
    pushing.record("alone", b"y")
    await station.dock(pushing)
    station.connect(BenchUplink())
    await station.send()
    await station.release.sweep()
    assert await station.count(Standing.RELEASED) == 1
    assert await station.count(Standing.RECEIPTED) == 600
