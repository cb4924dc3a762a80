"""Several destinations: a primary, one that serves while it is down, one that gets a copy of everything."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent import forward, gate
from agent.capture import Priority, Standing, Strength
from agent.config import Policy, parse
from agent.errors import BadReceipt, ConfigError, UplinkDown, UplinkRefused
from agent.forward import declined, pausing
from agent.journal import copies
from agent.journal.owing import Destinations
from agent.registry import equip
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink
from agent.traffic import Bucket, LinkClass
from agent.uplink import UplinkOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.capture import Receipt
    from agent.errors import UplinkError
    from agent.uplink import Sending

FALLBACK = UplinkOptions(use="bench", name="cloud", role="fallback", after=0.0)


class Carried(UplinkOptions):
    """Of a destination to which no network leads."""

    network = False


COPY = UplinkOptions(use="bench", name="archive", role="copy")


@asynccontextmanager
async def sending(station: Station) -> AsyncIterator[None]:
    running = [asyncio.create_task(one.run()) for one in (station.forward, *station.others) if one is not None]
    yield
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def until(condition: object, within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 - another task makes it true
            await asyncio.sleep(0.005)


async def filled(station: Station, bench: BenchDevice, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        bench.record(f"{number}", some_bytes(100, number))
    await station.dock(bench)


async def destined(station: Station, **names: tuple[str, ...]) -> None:
    told = Destinations(all=("dems", "cloud", "archive"), **names)
    await station.desk.write(lambda journal: copies.settle(journal, told))


async def until_counted(station: Station, count: object) -> None:
    async with asyncio.timeout(30):
        while await count(station):  # type: ignore[operator]  # noqa: ASYNC110 - another task makes it none
            await asyncio.sleep(0.005)


async def held(station: Station) -> int:
    return await station.count(Standing.HELD)


async def owed(station: Station) -> int:
    return await station.desk.read(lambda journal: journal.connection.execute("SELECT count(*) FROM owed").get)


async def test_the_fallback_serves_while_the_primary_is_down_and_no_longer(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "_IDLE", 0.05)
    primary, cloud = BenchUplink("dems"), BenchUplink("cloud")
    station.connect(primary)
    station.beside(cloud, FALLBACK)
    await filled(station, bench, 5)
    async with sending(station):
        await until(lambda: len(primary.stored) == 5)
        assert not cloud.stored
        primary.fails.extend([UplinkDown("nobody answers")] * 10_000)
        await filled(station, bench, 5, first=5)
        await until(lambda: len(cloud.stored) == 5)
        await until_counted(station, held)
        assert await station.count(Standing.RECEIPTED) == 10
        primary.fails.clear()
        await filled(station, bench, 1, first=10)
        await until(lambda: len(primary.stored) + len(cloud.stored) == 11)
        await until(lambda: not station.others[0].link.serves or len(primary.stored) == 5)
    told = {one.origin.key: one.receipt.destination for one in await station.holdings() if one.receipt}
    assert [told[f"{number}"] for number in (0, 5)] == ["dems", "cloud"]
    await station.verify()


async def test_a_fallback_that_needs_no_network_serves_where_there_is_none(
    station: Station, bench: BenchDevice
) -> None:
    primary, disk, cloud = BenchUplink("dems"), BenchUplink("disk"), BenchUplink("cloud")
    station.connect(primary)
    station.beside(disk, Carried(use="bench", name="disk", role="fallback", after=0.0))
    station.beside(cloud, FALLBACK)
    async with sending(station):
        await filled(station, bench, 1)
        await until(lambda: len(primary.stored) == 1)
        station.gate.move(LinkClass.OFFLINE)
        await filled(station, bench, 4, first=1)
        await until(lambda: len(disk.stored) == 4)
        assert [one.link.serves for one in station.others] == [True, False]
        station.gate.move(LinkClass.WIRED)
        await until(lambda: not station.others[0].link.serves)
        await filled(station, bench, 1, first=5)
        await until(lambda: len(primary.stored) == 2)
    assert (len(disk.stored), len(cloud.stored)) == (4, 0)
    await station.verify()


async def test_without_a_network_a_fallback_waits_for_as_long_as_after_says(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    for room in (forward, gate, pausing):
        monkeypatch.setattr(room, "monotonic", lambda: now[0])
    primary, disk = BenchUplink("dems"), BenchUplink("disk")
    station.connect(primary)
    fallback = station.beside(disk, Carried(use="bench", name="disk", role="fallback", after=600.0))
    station.gate.move(LinkClass.OFFLINE)
    await filled(station, bench, 1)
    async with sending(station):
        for at in (1000.0, 1599.0):
            now[0] = at
            fallback.nudge()
            with pytest.raises(TimeoutError):
                await until(lambda: disk.stored, within=0.2)
        now[0] = 1600.0
        fallback.nudge()
        await until(lambda: disk.stored)
    assert not primary.order


async def test_what_the_fallback_took_goes_to_the_primary_too_where_the_policy_waits_for_that(tmp_path: Path) -> None:
    policy = Policy(
        device="release", receipt="digest", receipts_from=("dems",), spool="receipted", spool_keep=timedelta(0)
    )
    async with Station(tmp_path / "station", policy=policy) as station:
        bench, primary, cloud = BenchDevice(), BenchUplink("dems"), BenchUplink("cloud")
        station.connect(primary)
        station.beside(cloud, FALLBACK)
        await destined(station, needed=("dems",))
        primary.fails.extend([UplinkDown("nobody answers")] * 10_000)
        await filled(station, bench, 3)
        async with sending(station):
            await until(lambda: len(cloud.stored) == 3)
            await station.dock(bench)
            await station.release.sweep()
            assert await station.count(Standing.RELEASED) == 0
            assert all(one.spooled for one in await station.holdings())  # the primary has still to get it
            primary.fails.clear()
            station.forward.forgive("")
            await until(lambda: len(primary.stored) == 3)
            await until_counted(station, owed)
        await station.dock(bench)
        assert await station.count(Standing.RELEASED) == 3
        await station.release.sweep()
        assert not any(one.spooled for one in await station.holdings())


@pytest.mark.parametrize(("needed", "released"), [((), 3), (("dems", "archive"), 0)])
async def test_a_copy_goes_beside_and_the_policy_says_whether_a_release_waits_for_it(
    tmp_path: Path, needed: tuple[str, ...], released: int
) -> None:
    policy = Policy(device="release", receipt="digest", receipts_from=needed, spool="released", spool_keep=timedelta(0))
    async with Station(tmp_path / str(released), policy=policy) as station:
        bench, primary, archive = BenchDevice(), BenchUplink("dems"), BenchUplink("archive")
        station.connect(primary)
        station.beside(archive, COPY)
        await destined(station, copies=("archive",), needed=needed)
        archive.fails.extend([UplinkDown("the cable is out")] * 10_000)
        await filled(station, bench, 3)
        async with sending(station):
            await until(lambda: len(primary.stored) == 3)
            await until_counted(station, held)
            await station.dock(bench)
            await station.release.sweep()
            assert await station.count(Standing.RELEASED) == released
            assert all(one.spooled for one in await station.holdings())
            archive.fails.clear()
            station.others[0].forgive("")
            await until(lambda: len(archive.stored) == 3)
            await until_counted(station, owed)
        await station.dock(bench)
        await station.release.sweep()
        assert await station.count(Standing.PURGED) == 3
        (one, *_) = await station.holdings()
        assert "copied" in await station.events(one.id)
        assert await station.desk.read(lambda j, name=one.id: copies.received(j, name)) == {
            "dems": Strength.DIGEST,
            "archive": Strength.DIGEST,
        }
        await station.verify()


class Paced(BenchUplink):
    """Takes its bytes at the pace that the policy allows, as every uplink does."""

    async def send(self, sending: Sending, /) -> Receipt:
        async for _ in sending.outgoing(0, sending.holding.digest.length):
            pass
        return await super().send(sending)


async def test_every_destination_takes_its_bytes_from_the_same_bucket(station: Station, bench: BenchDevice) -> None:
    """So a cap holds for all of them together."""

    class Counting(Bucket):
        taken = 0

        async def take(self, length: int) -> None:
            self.taken += length
            await super().take(length)

    station.gate.bucket = counting = Counting()
    station.connect(Paced("dems"))
    station.beside(Paced("archive"), COPY)
    await destined(station, copies=("archive",))
    await filled(station, bench, 3)
    async with sending(station):
        await until_counted(station, held)
        await until_counted(station, owed)
    assert counting.taken == 2 * 3 * 100


@pytest.mark.parametrize(
    ("poison", "tries", "says"),
    [(UplinkRefused("not of this kind"), 1, "not of this kind"), (BadReceipt("another digest"), 3, "bad 3 times")],
)
async def test_a_copy_that_is_not_taken_leaves_the_capture_as_it_stands_and_is_offered_once_a_day(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch, poison: UplinkError, tries: int, says: str
) -> None:
    now = [1000.0]
    for room in (forward, declined, pausing):
        monkeypatch.setattr(room, "monotonic", lambda: now[0], raising=False)
    monkeypatch.setattr(pausing, "jitter", lambda _: 0.0)
    primary, archive = BenchUplink("dems"), BenchUplink("archive")
    station.connect(primary)
    to_archive = station.beside(archive, COPY)
    await destined(station, copies=("archive",))
    archive.poison["1"] = poison
    await filled(station, bench, 3)

    async def owed_others(station: Station) -> int:
        return await owed(station) - 1

    async with sending(station):
        await until_counted(station, held)
        await until_counted(station, owed_others)
        await until(lambda: list(to_archive.notices()))
        assert archive.order.count("1") == tries
        for later, more in ((86_399.0, 0), (86_400.0, 1)):
            now[0] = 1000.0 + later
            to_archive.nudge()
            with pytest.raises(TimeoutError):
                await until(lambda more=more: archive.order.count("1") > tries + more, within=0.3)
            assert archive.order.count("1") == tries + more, "a whole capture is what each try may cost"
        (notice,) = to_archive.notices()
        assert (notice["id"], notice["state"], says in str(notice["detail"])) == ("copies.not_taken", "warning", True)
        assert "once a day" in str(notice["todo"])
        assert (len(primary.stored), len(archive.stored), await owed(station)) == (3, 2, 1)
        assert await station.count(Standing.RECEIPTED) == 3
        archive.poison.clear()
        now[0] += 86_400.0
        to_archive.nudge()
        await until_counted(station, owed)
        await until(lambda: not list(to_archive.notices()))


async def test_a_copy_that_is_not_taken_is_not_offered_again_for_a_restart(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it remembers of the upload stays, the notice too; and a person may have it offered at once."""
    archive = BenchUplink("archive")
    station.connect(BenchUplink())
    archive.poison["0"] = UplinkRefused("not of this kind")
    states: list[str | None] = []
    true_send = archive.send

    async def send(going: Sending) -> Receipt:
        states.append(going.recall())
        await going.remember("where its bytes went")
        return await true_send(going)

    monkeypatch.setattr(archive, "send", send)
    to_archive = station.beside(archive, COPY)
    await destined(station, copies=("archive",))
    await filled(station, bench, 1)
    async with sending(station):
        await until_counted(station, held)
        await until(lambda: list(to_archive.notices()))
    name = (await station.only()).id
    for forgiven in (False, True):
        await station.restart()
        station.others.clear()
        to_archive = station.beside(archive, COPY)
        await destined(station, copies=("archive",))
        tries = len(archive.order)
        async with sending(station):
            await until(lambda to=to_archive: list(to.notices()))
            assert len(archive.order) == tries, "a whole capture is what each try may cost"
            (notice,) = to_archive.notices()
            assert (notice["id"], "not of this kind" in str(notice["detail"])) == ("copies.not_taken", True)
            if forgiven:
                archive.poison.clear()
                to_archive.forgive(name)
                await until_counted(station, owed)
    assert states == [None, "where its bytes went"]


async def test_a_copy_that_was_not_taken_a_day_ago_is_offered_at_the_start(
    station: Station, bench: BenchDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = BenchUplink("archive")
    station.connect(BenchUplink())
    archive.poison["0"] = UplinkRefused("not of this kind")
    to_archive = station.beside(archive, COPY)
    await destined(station, copies=("archive",))
    await filled(station, bench, 1)
    async with sending(station):
        await until(lambda: list(to_archive.notices()))
    await station.restart()
    archive.poison.clear()
    now = declined.time() + 86_400.0
    monkeypatch.setattr(declined, "time", lambda: now)
    station.others.clear()
    station.beside(archive, COPY)
    await destined(station, copies=("archive",))
    async with sending(station):
        await until_counted(station, owed)


async def test_a_destination_that_is_new_gets_what_is_still_here_and_one_that_went_is_owed_nothing(
    station: Station, bench: BenchDevice
) -> None:
    await filled(station, bench, 4)
    await destined(station, copies=("archive",))
    assert await owed(station) == 4
    one = (await station.holdings())[0]
    await station.desk.write(lambda j: j.prioritise(one.id, Priority.FIRST, actor="anna", why="the court asks"))
    first = await station.desk.read(lambda j: j.connection.execute("SELECT min(priority) FROM owed").get)
    assert first == Priority.FIRST
    await destined(station)
    assert await owed(station) == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[[uplink]]\nuse = "tus"\nname = "a"\nurl = "http://localhost/"\nrole = "copy"', "uplink"),
        ('[[uplink]]\nuse = "tus"\nname = "a"\nurl = "http://localhost/"\nrole = "best"', "uplink[0].role"),
        (
            '[[uplink]]\nuse = "tus"\nname = "a"\nurl = "http://localhost/"\n[policy]\nreceipts_from = ["b"]',
            "policy.receipts_from",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(text: str, place: str) -> None:
    with pytest.raises(ConfigError) as error:
        equip(parse(f'[station]\nname = "d"\nagency = "example.org"\n{text}'))
    assert [problem.path for problem in error.value.problems] == [place]


async def test_a_copy_that_the_spool_lost_is_an_entry_once(station: Station, bench: BenchDevice) -> None:
    """Its destination asks for it again and again, for its device may bring it back."""
    archive = BenchUplink("archive")
    station.connect(BenchUplink())
    station.beside(archive, COPY)
    await destined(station, copies=("archive",))
    archive.fails.extend([UplinkDown("nobody answers")] * 10_000)
    await filled(station, bench, 1)
    async with sending(station):
        await until_counted(station, held)
        lost = await station.only()
        station.spool.path(lost.digest.sha256).unlink()
        archive.fails.clear()
        tries = len(archive.order)
        await until(lambda: len(archive.order) > tries + 5)
    assert (await station.events(lost.id)).count("quarantined") == 1
    assert await owed(station) == 1
