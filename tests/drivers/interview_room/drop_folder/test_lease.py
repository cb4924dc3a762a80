"""Two stations, one folder: one of them takes; crashes, sleep and clocks that differ change nothing about that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeviceGone, DeviceRefused
from agent.testing.probe import Probe
from agent.testing.rig import running, until
from drivers.interview_room.drop_folder.lease import Lease
from drivers.interview_room.drop_folder.looking import OURS
from drivers.interview_room.drop_folder.share import Share
from drivers.interview_room.drop_folder.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drivers.interview_room.drop_folder import DropFolder
    from drivers.interview_room.drop_folder.emulator import RecorderEmulator


class Bench:
    """Stations whose clocks have nothing in common but how fast they go."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        self.folder, self.now = folder, 0.0
        folder.mkdir(exist_ok=True)
        self.offsets = [1000.0 * number for number in range(count)]
        self.stations = [self.station(number) for number in range(count)]

    def station(self, number: int) -> Lease:
        share = Share(self.folder, None, Wire())
        share.look()
        return Lease(share, 60.0, lambda: self.now + self.offsets[number])


def has_it(lease: Lease) -> bool:
    try:
        lease.check()
    except DeviceGone:
        return False
    return True


def test_the_first_has_it_and_keeps_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "room")
    one, two = bench.stations
    for _ in range(20):
        assert one.turn()
        assert not two.turn()
        bench.now += 15
    assert len(list((tmp_path / "room" / OURS).iterdir())) == 1


def test_silence_hands_it_over_and_the_first_notices(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "room")
    one, two = bench.stations
    assert one.turn()
    assert not two.turn()
    bench.now += 59
    assert not two.turn()
    assert not has_it(one), "who has not renewed it for so long deletes nothing"
    bench.now += 2
    assert two.turn()
    assert not one.turn(), "it slept, and another has it now"
    assert has_it(two)
    assert not has_it(one)


def test_who_ends_well_gives_it_back_at_once(tmp_path: Path) -> None:
    one, two = Bench(tmp_path / "room").stations
    assert one.turn()
    assert not two.turn()
    one.give_back()
    assert two.turn()


def test_a_restart_waits_for_its_own_old_lease(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "room", 1)
    assert bench.stations[0].turn()
    again = bench.station(0)
    assert not again.turn()
    bench.now += 61
    assert again.turn()


def test_of_two_who_take_over_at_once_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path / "room", 3)
    one, two, three = bench.stations
    assert one.turn()
    two.turn()
    three.turn()
    bench.now += 61
    whole, won = Lease._take, list[bool]()

    def late(self: Lease, folder: int, number: int) -> bool:
        monkeypatch.setattr(Lease, "_take", whole)
        won.append(three.turn())  # between the other's decision and its act
        return whole(self, folder, number)

    monkeypatch.setattr(Lease, "_take", late)
    won.append(two.turn())
    assert won == [True, False]


@pytest.mark.parametrize("content", [b"", b"\xff" * 300, b"[" * 5000, b'{"host": 5, "ended": "yes"}', b"null"])
def test_whatever_stands_in_it(tmp_path: Path, content: bytes) -> None:
    bench = Bench(tmp_path / "room", 1)
    (tmp_path / "room" / OURS).mkdir()
    (tmp_path / "room" / OURS / "lease.0000000007").write_bytes(content)
    assert not bench.stations[0].turn()
    bench.now += 61
    assert bench.stations[0].turn()


def test_links_in_its_place_are_not_followed(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "room", 1)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "room" / OURS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceRefused):
        bench.stations[0].turn()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_numbers_that_are_used_up(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "room", 1)
    (tmp_path / "room" / OURS).mkdir()
    (tmp_path / "room" / OURS / "lease.9999999999").write_bytes(b'{"ended": true}')
    with pytest.raises(DeviceRefused, match="used up"):
        bench.stations[0].turn()


ACTS = st.lists(
    st.tuples(st.sampled_from(["turn", "crash", "end", "wait"]), st.integers(0, 2), st.floats(0, 70)), max_size=60
)


@given(acts=ACTS)
def test_never_two_who_may_delete(tmp_path_factory: Any, acts: list[tuple[str, int, float]]) -> None:  # noqa: ANN401
    """Whatever happens in whatever order: at no moment do two hold a lease that counts."""
    bench = Bench(tmp_path_factory.mktemp("lease") / "room", 3)
    for act, number, seconds in acts:
        if act == "turn":
            bench.stations[number].turn()
        elif act == "crash":
            bench.stations[number] = bench.station(number)
        elif act == "end":
            bench.stations[number].give_back()
        else:
            bench.now += seconds
        assert sum(has_it(one) for one in bench.stations) <= 1


# -- two whole drivers -------------------------------------------------------------------------------------------------


async def test_one_takes_the_other_stands_by_and_takes_over(
    recorder: RecorderEmulator, made: Callable[..., DropFolder]
) -> None:
    recorder.export("a.mp4", b"film")
    first, second = Probe(), Probe()
    drivers = [made(shared=True, lease=5, settle=0) for _ in range(2)]
    async with running(drivers[1], second):
        async with running(drivers[0], first):
            await until(lambda: bool(first.offered or second.offered))
            one, other = (first, second) if first.offered else (second, first)
            count = len(one.offered)
            await until(lambda: len(one.offered) > count + 2)
            assert not other.offered
            stands_by = drivers[0] if one is second else drivers[1]
            assert "stands by" in next(iter((await stands_by.health()).values()))
        if one is first:  # it ended, and gave the lease back
            await until(lambda: bool(second.offered))
    assert not {key for probe in (first, second) for key in probe.keys if OURS in key}
