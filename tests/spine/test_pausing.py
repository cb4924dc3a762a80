"""The pauses of one destination by a clock of the test's own: what is forgotten when, and what never is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agent.errors import UplinkDown
from agent.forward import pausing
from agent.forward.pausing import FIRST_PAUSE, STABLE, Pausing
from agent.forward.watched import Link

if TYPE_CHECKING:
    from collections.abc import Callable

DOWN = UplinkDown("nobody answers")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(pausing, "monotonic", made)
    return made


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> tuple[Pausing, Callable[[], int]]:
    """A destination, and a function that lets it fail and says as which try in a row that counts."""
    counted: list[int] = []
    monkeypatch.setattr(pausing, "jitter", lambda tries: counted.append(tries) or 0.0)
    made = Pausing(Link("dems"), on_change=lambda: None)

    def fails(error: UplinkDown = DOWN, *, advanced: bool = False) -> int:
        made.failed(error, made.round, advanced=advanced)
        return counted[-1]

    return made, fails


def test_a_destination_that_serves_for_less_than_a_minute_has_its_failures_remembered(
    tried: tuple[Pausing, Callable[[], int]], clock: Clock
) -> None:
    pauses, fails = tried
    assert STABLE == 60.0, "a minute, as docs/uplinks.md says"
    assert FIRST_PAUSE == 4, "eight seconds at most: stations that lost a DEMS together come back spread out"
    assert [fails() for _ in range(3)] == [FIRST_PAUSE, FIRST_PAUSE + 1, FIRST_PAUSE + 2]
    for more in range(3, 10):
        pauses.served()
        clock.now += STABLE - 0.1
        pauses.served()
        assert fails() == FIRST_PAUSE + more, "as if it had not served"
        clock.now += 10 * STABLE  # that it is down for long is no minute without a failure
    assert pauses.failures == 10


def test_after_a_minute_that_held_the_next_failure_is_a_first_one(
    tried: tuple[Pausing, Callable[[], int]], clock: Clock
) -> None:
    pauses, fails = tried
    for _ in range(2):
        assert fails() == FIRST_PAUSE
        assert fails() == FIRST_PAUSE + 1
        pauses.served()
        clock.now += STABLE
        pauses.served()
    assert pauses.failures == 0


def test_a_minute_in_which_nothing_had_to_go_is_one_too(tried: tuple[Pausing, Callable[[], int]], clock: Clock) -> None:
    pauses, fails = tried
    assert [fails() for _ in range(3)][-1] == FIRST_PAUSE + 2
    pauses.served()
    clock.now += STABLE
    assert fails() == FIRST_PAUSE


def test_a_way_that_breaks_under_what_came_further_is_no_failure_and_forgives_none(
    tried: tuple[Pausing, Callable[..., int]], clock: Clock
) -> None:
    pauses, fails = tried
    broke = UplinkDown("the link broke", way=True)
    assert [fails() for _ in range(3)][-1] == FIRST_PAUSE + 2
    for _ in range(4):
        pauses.served()
        clock.now += STABLE / 2
        assert fails(broke, advanced=True) == 1
    assert fails() == 4, "nothing came through after it: the fourth failure, as far as it is one"
    pauses.served()
    assert fails(DOWN, advanced=True) == FIRST_PAUSE + 4, "it answered, and with a failure"
    pauses.served()
    assert fails(broke) == FIRST_PAUSE + 5, "nothing came further"


def test_a_link_that_breaks_every_few_seconds_is_waited_for_no_longer_each_time(
    tried: tuple[Pausing, Callable[..., int]], clock: Clock
) -> None:
    """As in a car: it is back after a second or two, so the first try meets nobody, and has no minute that holds."""
    pauses, fails = tried
    broke, nobody = UplinkDown("the link broke", way=True), UplinkDown("cannot be reached", way=True)
    for _ in range(30):
        assert [fails(broke, advanced=True), fails(nobody), fails(nobody)] == [1, 2, 3]
        pauses.served()
        clock.now += 8.0
    away = [fails(broke, advanced=True), *(fails(nobody) for _ in range(9))]
    assert away == list(range(1, 11)), "one that stays away"


def test_the_minute_begins_anew_with_each_outage(tried: tuple[Pausing, Callable[[], int]], clock: Clock) -> None:
    pauses, fails = tried
    fails()
    pauses.served()
    clock.now += STABLE / 2
    fails()
    pauses.served()
    clock.now += STABLE / 2
    pauses.served()
    assert fails() == FIRST_PAUSE + 2


def test_stations_that_were_asked_to_wait_for_as_long_do_not_come_back_together(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """A proxy says `Retry-After: 30` to all of them: each waits as long, and then a time of its own."""
    monkeypatch.setattr(pausing, "jitter", float)
    asked = UplinkDown("come back later", retry_after=30.0)
    pauses = Pausing(Link("dems"), on_change=lambda: None)
    for pause in (30.0 + FIRST_PAUSE, 30.0 + FIRST_PAUSE + 1):
        pauses.failed(asked, pauses.round, advanced=False)
        assert pauses.link.again_at == clock.now + pause
    pauses.failed(UplinkDown("come back next year", retry_after=1e9), pauses.round, advanced=False)
    assert pauses.link.again_at == clock.now + 3600.0 + FIRST_PAUSE + 2


def test_whoever_asks_for_more_time_in_the_same_outage_is_given_it(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Several were on their way when it went down: the first found nobody, the second was told when to come back."""
    monkeypatch.setattr(pausing, "jitter", float)
    pauses = Pausing(Link("dems"), on_change=lambda: None)
    began = pauses.round
    pauses.failed(DOWN, began, advanced=False)
    assert pauses.link.again_at == clock.now + FIRST_PAUSE
    asked = UplinkDown("come back later", retry_after=1800.0)
    pauses.failed(asked, began, advanced=False)
    assert pauses.link.again_at == clock.now + 1800.0 + FIRST_PAUSE
    for less in (asked, DOWN, UplinkDown("come back soon", retry_after=1.0)):
        pauses.failed(less, began, advanced=False)
    assert pauses.link.again_at == clock.now + 1800.0 + FIRST_PAUSE
    assert pauses.failures == 1, "one outage"
    pauses.served()
    pauses.failed(UplinkDown("come back next year", retry_after=1e9), began, advanced=False)
    assert pauses.link.again_at == clock.now + 1800.0 + FIRST_PAUSE, "it is back"


def test_the_first_pause_ends_with_the_outage_and_what_was_asked_for_is_kept(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """What had been on its way all the time came through."""
    monkeypatch.setattr(pausing, "jitter", float)
    pauses = Pausing(Link("dems"), on_change=lambda: None)
    pauses.failed(DOWN, pauses.round, advanced=False)
    assert pauses.link.again_at > clock.now
    pauses.served()
    assert pauses.link.again_at <= clock.now, "all that waits goes at once"
    pauses.failed(DOWN, pauses.round, advanced=False)
    pauses.served()
    assert pauses.link.again_at == clock.now + FIRST_PAUSE + 1, "it takes one and fails at the next"
    clock.now += STABLE
    pauses.failed(UplinkDown("come back later", retry_after=30.0), pauses.round, advanced=False)
    pauses.served()
    assert pauses.link.again_at == clock.now + 30.0 + FIRST_PAUSE


def test_on_another_network_it_is_tried_soon_and_what_it_asked_for_is_kept(
    tried: tuple[Pausing, Callable[[], int]], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses, fails = tried
    for _ in range(9):
        fails()
    monkeypatch.setattr(pausing, "jitter", lambda tries: 2.0 ** (tries - 1))
    pauses.failed(DOWN, pauses.round, advanced=False)
    assert pauses.link.again_at > clock.now + 300
    assert not pauses.elsewhere(None), "the network is the one that it was"
    assert pauses.link.again_at > clock.now + 300
    assert pauses.elsewhere("station_wifi")
    assert pauses.link.again_at == clock.now + 8, "as after a first failure: others came to it in the same moment"
    clock.now += 8
    pauses.failed(DOWN, pauses.round, advanced=False)
    assert pauses.link.again_at == clock.now + 8, "and the failures on the other one are forgotten"
    pauses.failed(UplinkDown("busy", retry_after=100.0), pauses.round, advanced=False)
    asked = pauses.link.again_at
    assert pauses.elsewhere("lte")
    assert pauses.link.again_at == asked
