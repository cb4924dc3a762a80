"""Journal -> uplink -> receipt -> journal: who waits, who steps aside, and what is never believed."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from agent import forward
from agent.capture import Priority, Receipt, Standing
from agent.errors import SpoolDamaged, UplinkDown, UplinkError, UplinkRefused
from agent.forward import pausing
from agent.testing.devices import BenchDevice, some_bytes
from tests.spine.docked import filled, sent

if TYPE_CHECKING:
    from agent.journal import Journal
    from agent.testing.station import Station
    from agent.testing.uplinks import BenchUplink
    from agent.uplink import Sending


async def down(station: Station) -> bool:
    return not station.forward.link.up


async def test_everything_that_is_held_is_sent_and_receipted(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    await filled(station, bench, 200)
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 200
    assert len(uplink.order) == 200


async def test_a_restart_sends_what_is_held_and_only_that(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    await filled(station, bench, 20)
    await station.restart()
    await station.send()
    await station.restart()
    await station.send()
    assert len(uplink.order) == 20


async def test_the_order_is_that_of_the_queue(station: Station, bench: BenchDevice, uplink: BenchUplink) -> None:
    station.connect(uplink, in_flight=1)
    for number, priority in enumerate([Priority.BULK, Priority.ROUTINE, Priority.FIRST, Priority.ROUTINE]):
        bench.record(f"{number}", some_bytes(10, number), priority=priority)
        await station.dock(bench)  # one by one: within a class the order is that in which they were held
    await station.send()
    assert uplink.order == ["2", "1", "3", "0"]


async def test_que_2_one_that_always_fails_keeps_no_other_waiting(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    uplink.poison["7"] = UplinkRefused("the DEMS does not take this type of file")
    await filled(station, bench, 100)
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 99
    (refused,) = [one for one in await station.holdings() if one.standing is Standing.REFUSED]
    assert refused.reason == "the DEMS does not take this type of file"
    assert uplink.order.count("7") == 1
    await station.restart()
    await station.send()
    assert uplink.order.count("7") == 1  # it waits for a person
    uplink.poison.clear()
    await station.desk.write(lambda journal: journal.retry(refused.id, actor="anna", why="the type is permitted now"))
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 100


@pytest.mark.parametrize(
    "poison", [UplinkError("odd"), SpoolDamaged("odd"), ValueError("a bug"), TypeError("a bug"), KeyError("a bug")]
)
async def test_que_2_nothing_that_an_uplink_raises_for_one_keeps_the_others(
    station: Station, bench: BenchDevice, uplink: BenchUplink, poison: Exception
) -> None:
    uplink.poison["3"] = poison
    await filled(station, bench, 30)

    async def the_others_went() -> bool:
        return await station.count(Standing.RECEIPTED) == 29 and uplink.order.count("3") > 1

    await station.send(until=the_others_went)  # it is tried again and again, and never dropped
    assert await station.count(Standing.HELD) == 1
    uplink.poison.clear()
    await station.send()


async def test_hundreds_aside_do_not_hide_the_one_behind_them(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pausing, "jitter", lambda _: 60.0)
    for number in range(200):
        bench.record(f"{number}", some_bytes(10, number))
        uplink.poison[f"{number}"] = UplinkError("not this one")
    bench.record("good", some_bytes(20))
    await station.dock(bench)
    await station.send(until=partial(sent, station, 1), within=30)  # before the first of them comes again
    assert await station.count(Standing.HELD) == 200


async def test_a_destination_that_is_down_is_left_alone_and_then_everything_drains(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    uplink.fails.extend([UplinkDown("nobody answers")] * 20)
    await filled(station, bench, 40)
    sending = asyncio.create_task(station.send())
    async with asyncio.timeout(30):
        while station.forward.link.up:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert station.forward.link.problem == "nobody answers"
    await sending
    assert station.forward.link.up
    assert await station.count(Standing.RECEIPTED) == 40


async def test_the_wait_that_the_dems_asks_for_is_kept(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    for room in (forward, pausing):
        monkeypatch.setattr(room, "monotonic", lambda: now[0])
    uplink.fails.append(UplinkDown("busy", retry_after=100))
    await filled(station, bench, 1)
    await station.send(until=partial(down, station))
    assert station.forward.link.again_at == pytest.approx(100.01), "and the jitter comes after it"
    with pytest.raises(TimeoutError):
        await station.send(within=0.3)
    assert len(uplink.order) == 1
    now[0] = 101.0
    await station.send()


async def test_a_capture_that_has_to_wait_alone_keeps_no_other_waiting(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    for room in (forward, pausing):
        monkeypatch.setattr(room, "monotonic", lambda: now[0])
    uplink.poison["3"] = UplinkDown("an earlier request still holds the upload", retry_after=50, alone=True)
    await filled(station, bench, 20)
    await station.send(until=partial(sent, station, 19))
    assert station.forward.link.up
    assert uplink.order.count("3") == 1
    now[0] = 49.0
    with pytest.raises(TimeoutError):
        await station.send(within=0.3)
    assert uplink.order.count("3") == 1, "it is not tried before the DEMS says so"
    uplink.poison.clear()
    now[0] = 51.0
    await station.send()


async def test_one_that_has_to_wait_alone_for_an_hour_is_told_of_until_it_is_sent(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else would show it: the destination is up, and takes all others."""
    now = [0.0]
    for room in (forward, pausing):
        monkeypatch.setattr(room, "monotonic", lambda: now[0])
    uplink.poison["3"] = UplinkDown("it is not locked", retry_after=1800, alone=True, hint="Lock it.")
    await filled(station, bench, 5)
    await station.send(until=partial(sent, station, 4))
    for later in (0.0, 1801.0, 3602.0):
        now[0] = later
        with pytest.raises(TimeoutError):
            await station.send(within=0.3)
        assert bool(list(station.forward.notices())) == (later > 3600.0)
    (notice,) = station.forward.notices()
    assert (notice["id"], notice["todo"], "not locked" in str(notice["detail"])) == (
        "captures.not_sent",
        "Lock it.",
        True,
    )
    uplink.poison.clear()
    now[0] = 9000.0
    await station.send()
    assert not list(station.forward.notices())


async def test_one_that_fails_by_itself_waits_longer_each_time_and_says_so(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []

    async def the_others_went() -> bool:
        return len(waits) == 4 and await station.count(Standing.RECEIPTED) == 4

    monkeypatch.setattr(pausing, "jitter", lambda tries: waits.append(tries) or (0.001 if tries < 4 else 1000.0))
    for poison, says in (
        (UplinkDown("not this one", alone=True), []),
        (ValueError("a bug of ours"), [("not_sent", True)]),
    ):
        waits.clear()
        uplink.poison = {"3": poison}
        await filled(station, bench, 5)
        with capture_logs() as logs:
            await station.send(until=the_others_went)
            with pytest.raises(TimeoutError):
                await station.send(within=0.3)
        assert waits == [1, 2, 3, 4], "as many tries, and no more"
        assert station.forward.link.up
        (held,) = [one for one in await station.holdings() if one.standing is Standing.HELD]
        told = [(one["event"], bool(one["todo"])) for one in logs if one["log_level"] == "error"]
        assert told == says
        assert not says or [one["capture"] for one in logs if one["event"] == "not_sent"] == [held.id]
        await station.restart()


async def test_while_a_destination_is_down_one_capture_tries_whether_it_is_back(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pausing, "jitter", lambda _: 0.001)
    most, busy, left, true_send = 0, 0, 60, uplink.send

    async def send(sending: Sending) -> Receipt:
        nonlocal most, busy, left
        if not left:
            return await true_send(sending)
        left, busy, was_up = left - 1, busy + 1, station.forward.link.up
        most = most if was_up else max(most, busy)
        await asyncio.sleep(0.002)
        busy -= 1
        raise UplinkDown("nobody answers")

    uplink.send = send
    await filled(station, bench, 20)
    await station.send()
    assert most == 1


async def test_one_that_is_slow_to_tell_whether_a_destination_is_back_keeps_no_other_from_trying(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be a long part on a slow link, or wait for an upload that a dead request holds."""
    monkeypatch.setattr(pausing, "jitter", lambda _: 0.001)
    monkeypatch.setattr(forward, "TRY", 0.05)
    true_send, slow, calls = uplink.send, asyncio.Event(), itertools.count()

    async def send(sending: Sending) -> Receipt:
        call = next(calls)
        if call < 4:
            raise UplinkDown("nobody answers")
        if call == 4:
            await slow.wait()
        return await true_send(sending)

    uplink.send = send
    monkeypatch.setattr(station.forward, "_in_flight", 4)
    await filled(station, bench, 20)
    sending = asyncio.create_task(station.send())
    async with asyncio.timeout(30):
        while await station.count(Standing.RECEIPTED) < 19:  # noqa: ASYNC110 - the journal sets no event
            await asyncio.sleep(0.005)
    assert station.forward.link.up
    slow.set()
    await sending


async def test_what_was_on_its_way_when_a_destination_went_down_keeps_none_from_trying(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections that were there outlast a gap in which no new one comes about."""
    monkeypatch.setattr(pausing, "jitter", lambda _: 0.001)
    monkeypatch.setattr(forward, "TRY", 0.05)
    true_send, slow, going = uplink.send, asyncio.Event(), list[str]()

    async def send(sending: Sending) -> Receipt:
        going.append(sending.holding.origin.key)
        if len(going) <= 4:
            await slow.wait()
        elif len(going) == 5:
            raise UplinkDown("does not answer")
        return await true_send(sending)

    uplink.send = send
    await filled(station, bench, 5)
    monkeypatch.setattr(station.forward, "_in_flight", 5)
    sending = asyncio.create_task(station.send())
    async with asyncio.timeout(30):
        while not await station.count(Standing.RECEIPTED):  # noqa: ASYNC110 - the journal sets no event
            await asyncio.sleep(0.005)
    assert len(going) >= 6, "the fifth tried whether it is back"
    slow.set()
    await sending


async def test_what_waits_goes_with_the_first_bytes_that_are_confirmed_and_not_with_the_end_of_their_capture(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that found it back may be on its way for hours."""
    monkeypatch.setattr(pausing, "jitter", lambda _: 0.2)
    true_send, long, calls = uplink.send, asyncio.Event(), itertools.count()

    async def send(sending: Sending) -> Receipt:
        call = next(calls)
        if call < 4:
            raise UplinkDown("nobody answers")
        if call == 4:
            sending.progress(0)
            await asyncio.sleep(0.05)
            sending.progress(1)
            await long.wait()
        return await true_send(sending)

    uplink.send = send
    monkeypatch.setattr(station.forward, "_in_flight", 4)
    await filled(station, bench, 4)
    sending = asyncio.create_task(station.send())
    async with asyncio.timeout(5):
        while await station.count(Standing.RECEIPTED) < 3:  # noqa: ASYNC110 - the journal sets no event
            await asyncio.sleep(0.005)
    long.set()
    await sending


async def test_an_absurd_wait_is_cut_to_an_hour(station: Station, bench: BenchDevice, uplink: BenchUplink) -> None:
    uplink.fails.append(UplinkDown("busy", retry_after=1e9))
    await filled(station, bench, 1)
    await station.send(until=partial(down, station))
    assert 3500 < station.forward.link.again_at - forward.monotonic() <= 3600 + 0.01
    station.forward.forgive((await station.only()).id)
    await station.send()


async def test_failures_that_come_together_count_once(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    uplink.fails.extend([UplinkDown("nobody answers")] * 8)
    await filled(station, bench, 8)
    failures = []
    pauses = station.forward._pausing
    failed = pauses.failed
    pauses.failed = lambda *args, **words: (failed(*args, **words), failures.append(pauses.failures))
    await station.send()
    assert max(failures) <= 3


def test_the_jitter_is_full_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    from agent.forward.pausing import PAUSE_MAX  # noqa: PLC0415
    from tests.spine.test_forward import true_jitter  # noqa: PLC0415

    for tries in (1, 5, 10, 1000, 10**6):
        found = [true_jitter(tries) for _ in range(200)]
        most = min(PAUSE_MAX, 2.0 ** min(tries - 1, 10))
        assert all(0 <= one <= most for one in found)
        # Of 200 by chance none is in a given quarter once in 10^25 times.
        assert min(found) < most / 4, "some come back at once"
        assert max(found) > most * 3 / 4


true_jitter = pausing.jitter


# --- beside each other ------------------------------------------------------------------------------------------------


async def test_what_a_person_decided_meanwhile_stands(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    """It is refused by the DEMS, and a person has quarantined it while it was sent."""
    await filled(station, bench, 2)
    names = {one.origin.key: one.id for one in await station.holdings()}
    uplink.poison["0"] = UplinkRefused("no")
    true_send = uplink.send

    def decided(journal: Journal) -> None:
        journal.quarantine(names["0"], "a person doubts it")
        journal.retry(names["0"], actor="anna", why="sure")
        journal.refuse(names["0"], "a person refuses it")
        journal.quarantine(names["0"], "a person doubts it")

    async def send(sending: Sending) -> Receipt:
        if sending.holding.origin.key == "0":
            await station.desk.write(decided)  # in one step: nobody sees what lies between
        return await true_send(sending)

    uplink.send = send
    await station.send()
    standings = {one.origin.key: one.standing for one in await station.holdings()}
    assert standings == {"0": Standing.QUARANTINED, "1": Standing.RECEIPTED}


async def test_cancelled_at_any_moment_it_continues(station: Station, bench: BenchDevice, uplink: BenchUplink) -> None:
    await filled(station, bench, 50)
    for pause in range(20):
        running = asyncio.create_task(station.forward.run())
        for _ in range(pause * 3):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 50


async def test_what_arrives_while_it_waits_is_sent_at_once(
    station: Station, bench: BenchDevice, uplink: BenchUplink
) -> None:
    running = asyncio.create_task(station.forward.run())
    await asyncio.sleep(0.05)
    await filled(station, bench, 5)
    async with asyncio.timeout(30):
        while await station.count(Standing.RECEIPTED) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()


async def test_a_capture_that_comes_further_each_time_never_waits_longer_each_time(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(pausing, "jitter", lambda tries: waits.append(tries) or 0.001)
    cuts = iter(range(12))
    true_send = uplink.send

    async def send(sending: Sending) -> Receipt:
        sending.progress(0)
        if (cut := next(cuts, None)) is not None:
            sending.progress(cut + 1)
            raise UplinkDown("the link broke", way=True)
        return await true_send(sending)

    uplink.send = send
    await filled(station, bench, 1)
    await station.send()
    assert set(waits) == {1}, "of the destination and of the capture"


async def test_a_destination_that_cannot_be_reached_at_all_is_left_alone_for_longer(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(pausing, "jitter", lambda tries: waits.append(tries) or 0.001)
    uplink.fails.extend([UplinkDown("nobody answers")] * 5)
    await filled(station, bench, 1)
    await station.send()
    of_the_capture, of_the_destination = waits[::2], waits[1::2]
    assert of_the_capture == [1, 2, 3, 4, 5]
    assert of_the_destination == [pausing.FIRST_PAUSE + tries for tries in range(5)]


async def test_where_nothing_comes_through_after_a_break_each_pause_is_longer(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(pausing, "jitter", lambda tries: waits.append(tries) or 0.001)
    true_send, tries = uplink.send, iter(range(5))

    async def send(sending: Sending) -> Receipt:
        sending.progress(0)
        match next(tries, None):
            case None:
                return await true_send(sending)
            case 0:
                sending.progress(1)
        raise UplinkDown("the link broke", way=True)

    uplink.send = send
    await filled(station, bench, 1)
    await station.send()
    assert waits[1::2] == [1, 2, 3, 4, 5]


async def test_a_destination_that_takes_one_and_fails_the_next_is_left_alone_for_longer_each_time(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it takes, it is given at once; how often it failed is not forgotten for that."""
    waits: list[int] = []
    failed = station.forward._pausing.failed
    true_send, calls = uplink.send, itertools.count()

    def noted(*words: object, **more: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pausing, "jitter", lambda tries: waits.append(tries) or 0.001)
            failed(*words, **more)

    async def send(sending: Sending) -> Receipt:
        if next(calls) % 2 == 0:
            raise UplinkDown("500")
        return await true_send(sending)

    monkeypatch.setattr(station.forward._pausing, "failed", noted)
    monkeypatch.setattr(station.forward, "_in_flight", 1)
    uplink.send = send
    await filled(station, bench, 12)
    await station.send()
    assert waits == [pausing.FIRST_PAUSE + tries for tries in range(len(waits))]
    assert len(waits) >= 5


async def test_a_capture_that_is_never_taken_while_others_are_keeps_no_other_waiting(
    station: Station, bench: BenchDevice, uplink: BenchUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice it may have been the destination that failed; after that others have got through, and it has not."""
    down: list[bool] = []
    failed = station.forward._pausing.failed
    monkeypatch.setattr(
        station.forward._pausing, "failed", lambda *words, **more: down.append(True) or failed(*words, **more)
    )
    uplink.poison["0"] = UplinkDown("500 for this one")
    true_send, while_others_came = uplink.send, []

    async def send(sending: Sending) -> Receipt:
        receipt = await true_send(sending)
        await asyncio.sleep(0.02)
        while_others_came.append(len(down))
        station.forward.nudge()  # as whatever comes in does: the order is asked for anew, and this one is its first
        return receipt

    uplink.send = send
    monkeypatch.setattr(station.forward, "_in_flight", 1)
    await filled(station, bench, 60)

    async def the_others_went() -> bool:
        return await station.count(Standing.RECEIPTED) == 59 and uplink.order.count("0") > 4

    await station.send(until=the_others_went)  # and it is never dropped
    assert while_others_came[-1] == 2
