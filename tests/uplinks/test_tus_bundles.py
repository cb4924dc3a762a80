"""Several small captures in one request: each with its own receipt, and whatever breaks hurts nobody else."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from yarl import URL

from agent.capture import Priority, Standing
from agent.errors import NotNow
from agent.forward.bundling import Bundling
from agent.note import Verifier
from agent.testing.dems import EmulatedDems
from agent.testing.dems.faults import Fault, Faults
from agent.testing.devices import BenchDevice
from agent.testing.station import Station
from agent.traffic import Bucket, Traffic
from agent.uplink.http import Answer
from agent.uplink.tus import TusUplink
from agent.uplink.tus.bundle import CAPTURES, LENGTH
from tests.spine.docked import sent
from tests.uplinks.memory import MIB, some_bytes
from tests.uplinks.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from agent.forward.watched import Departure
    from agent.gate import Charge

TYPE = "application/vnd.evidock.bundle"


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each POST that any DEMS was asked."""
    seen: list[str] = []
    real = Faults.next

    def next_(faults: Faults, method: str) -> Fault | None:
        if method == "POST":
            seen.append(method)
        return real(faults, method)

    monkeypatch.setattr(Faults, "next", next_)
    return seen


@asynccontextmanager
async def docked(tmp_path: Path, dems: EmulatedDems, count: int, **options: Any) -> AsyncIterator[Station]:  # noqa: ANN401
    """A station that holds so many small captures, with its uplink."""
    keys = [Verifier.parse(dems.receipt_vkey)]
    async with Station(tmp_path / "station") as station:
        device = BenchDevice()
        for number in range(count):
            device.record(f"{number:04}", some_bytes(1000 + number, number))
        await station.dock(device)
        uplink = TusUplink(TusUplink.Options(use="tus", name="dems", **({"url": dems.url} | options)))
        station.connect(uplink, dems, keys=keys)
        await uplink.door.abilities()
        try:
            yield station
        finally:
            await uplink.aclose()


async def test_many_small_ones_go_in_few_requests(tmp_path: Path, dems: EmulatedDems, posts: list[str]) -> None:
    async with docked(tmp_path, dems, 400) as station:
        await station.send()
        assert await station.count(Standing.RECEIPTED) == 400
        await station.verify()
        assert len(posts) <= 8  # 400 by themselves
        # The order is that of the queue; two requests are on their way at once, so one may come before the other.
        place = {entry.capture: number for number, entry in enumerate(await dems.index())}
        held = sorted(await station.holdings(), key=lambda one: one.index)
        assert all(abs(place[one.id] - number) <= 2 * CAPTURES for number, one in enumerate(held))


@pytest.mark.parametrize(
    "fault",
    ["POST:1:cut@20000", "POST:1:drop", "POST:1:drop-answer", "POST:1:500", "POST:1:503:retry=0", "POST:1:423",
     "POST:1-3:drop-answer", "POST:1:stall@100:for=1", "POST:1:404", "POST:1:413", "receipt:late=5"],
)  # fmt: skip
async def test_one_fault_and_all_arrive_all_the_same(
    tmp_path: Path, dems: EmulatedDems, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.forward.pausing.jitter", lambda _: 0.01)
    async with docked(tmp_path, dems, 60, stall=0.5) as station:
        await dems.add_fault(fault)
        await station.send()
        assert await station.count(Standing.RECEIPTED) == 60
        await station.verify()
        assert len(await dems.index()) == 60  # nothing is there twice


@pytest.mark.parametrize("twist", ["wrong-digest", "wrong-length", "wrong-signature", "other-capture", "other-log"])
async def test_a_wrong_receipt_is_believed_of_none(tmp_path: Path, dems: EmulatedDems, twist: str) -> None:
    async with docked(tmp_path, dems, 20) as station:
        await dems.add_fault(f"receipt:{twist}")
        with pytest.raises(TimeoutError):
            await station.send(within=1.0)
        assert await station.count(Standing.RECEIPTED) == 0
        await dems.clear_faults()
        await station.restart()  # what was doubted is tried again at once, unless it was doubted three times by then
        await station.send()
        assert await station.count(Standing.RECEIPTED) + await station.count(Standing.QUARANTINED) == 20
        await station.verify()


async def test_one_that_rotted_in_the_spool_keeps_no_other_from_going(tmp_path: Path, dems: EmulatedDems) -> None:
    async with docked(tmp_path, dems, 30) as station:
        rotten, missing = (await station.holdings())[3:5]
        path = station.spool.path(rotten.digest.sha256)
        data = bytearray(path.read_bytes())
        data[5] ^= 1
        path.write_bytes(data)
        station.spool.path(missing.digest.sha256).unlink()
        await station.send()
        standings = {one.id: one.standing for one in await station.holdings()}
        assert standings.pop(rotten.id) is standings.pop(missing.id) is Standing.QUARANTINED
        assert set(standings.values()) == {Standing.RECEIPTED}
        assert {entry.capture for entry in await dems.index()} == set(standings)


async def test_one_that_the_dems_refuses_is_refused_alone(tmp_path: Path, dems: EmulatedDems) -> None:
    async with docked(tmp_path, dems, 30) as station:
        one = (await station.holdings())[7]
        async with aiohttp.ClientSession() as session:
            metadata = _metadata(capture=one.id, sha256="0" * 64, log="edge.example.org/other/log1 1")
            headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", "Upload-Metadata": metadata}
            async with session.post(dems.url, headers=headers) as answer:
                assert answer.status == 201
        await station.send()
        refused = [known.id for known in await station.holdings() if known.standing is Standing.REFUSED]
        assert refused == [one.id]
        assert await station.count(Standing.RECEIPTED) == 29


@pytest.mark.parametrize(("count", "poison"), [(40, 0), (400, 7)])
async def test_one_that_breaks_every_request_takes_no_other_with_it_for_ever(
    tmp_path: Path, dems: EmulatedDems, count: int, poison: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.forward.pausing.jitter", lambda _: 0.01)
    bundles: list[set[str]] = []
    brought = Bundling.brought

    async def told(bundling: Bundling, departures: Sequence[Departure]) -> set[str]:
        bundles.append({one.holding.origin.key for one in departures})
        return await brought(bundling, departures)

    monkeypatch.setattr(Bundling, "brought", told)
    url = URL(dems.url)
    async with (
        Wire("ok", url.port or 0, scans=some_bytes(1000 + poison, poison)[:100]) as way,
        docked(tmp_path, dems, count, url=str(url.with_port(way.port)), other_origins=[str(url.origin())]) as station,
    ):
        await station.send(until=partial(sent, station, count - 1))
        held = [one.origin.key for one in await station.holdings() if one.standing is Standing.HELD]
        assert held == [f"{poison:04}"]
        device, later = BenchDevice("bench:other"), 0
        for wave in range(3):
            bundles.clear()
            for _ in range(20):
                device.record(f"later-{later}", some_bytes(500, 1000 + later))
                later += 1
            await station.dock(device)
            await station.send(until=partial(sent, station, count - 1 + later))
            assert bundles, "they went together"
            # While nothing else got through, nobody could know whose fault it was: so the first wave may meet it.
            assert not wave or not any(f"{poison:04}" in one for one in bundles), "and it with none of them"


async def test_a_dems_without_bundles_gets_each_by_itself(tmp_path: Path) -> None:
    async with EmulatedDems(tmp_path / "dems", bundles=False) as dems, docked(tmp_path, dems, 20) as station:
        await station.send()
        assert await station.count(Standing.RECEIPTED) == 20
        await station.verify()


@pytest.mark.parametrize(("status", "spoken"), [(403, False), (406, False), (409, True), (422, True), (204, True)])
async def test_whatever_refuses_several_in_one_request_gets_each_by_itself(
    tmp_path: Path, dems: EmulatedDems, status: int, *, spoken: bool
) -> None:
    """A filter before the DEMS that knows no such body; and no outage is made of it."""
    async with docked(tmp_path, dems, 20) as station:
        assert station._uplink is not None
        uplink = station._uplink[0]
        assert isinstance(uplink, TusUplink)
        ask, together = uplink.door.ask, list[str]()

        async def filtered(method: str, url: URL, headers: Any = None, *words: Any, **more: Any) -> Answer:  # noqa: ANN401
            if (headers or {}).get("Content-Type") != TYPE:
                return await ask(method, url, headers, *words, **more)
            together.append(method)
            return Answer(method, url, status, {}, b"", spoken)

        uplink.door.ask = filtered  # type: ignore[method-assign]
        with capture_logs() as logs:
            await station.send()
        assert together == ["POST"], "and it is not tried again and again"
        assert [one["event"] for one in logs if one["log_level"] == "warning"] == ["bundle_refused"]
        await station.verify()


async def test_what_is_urgent_or_large_is_not_kept_waiting(tmp_path: Path, dems: EmulatedDems) -> None:
    async with docked(tmp_path, dems, 300) as station:
        device = BenchDevice("bench:other")
        device.record("large", some_bytes(MIB, 1), priority=Priority.FIRST)
        device.record("small", some_bytes(10, 2), priority=Priority.FIRST)
        await station.dock(device)
        await station.send()
        first = {one.id for one in await station.holdings() if one.priority is Priority.FIRST}
        # What stands before them are captures of the first bundle at most, which was on its way at the same time.
        places = [number for number, entry in enumerate(await dems.index()) if entry.capture in first]
        assert max(places) <= CAPTURES + 1
        await station.verify()


async def test_a_bundle_whose_place_somebody_else_needs_brings_nothing_and_goes_together_afterwards(
    tmp_path: Path, dems: EmulatedDems, posts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of it was asked for its place before the request began: it is a request of all of them."""
    real, asked = Bundling.brought, list[int]()

    async def brought(bundling: Bundling, departures: Sequence[Departure]) -> set[str]:
        if not asked:
            asked.append(len(departures))
            departures[-1].give_way = True
            with pytest.raises(NotNow, match="another capture goes first"):
                await real(bundling, departures)
            assert posts == []
            raise NotNow("another capture goes first")
        return await real(bundling, departures)

    monkeypatch.setattr(Bundling, "brought", brought)
    async with docked(tmp_path, dems, 40) as station:
        await station.send()
        assert asked[0] > 1
        assert await station.count(Standing.RECEIPTED) == 40
        assert len(posts) < 10, "none goes by itself for that"


async def test_a_budget_counts_what_goes_together(tmp_path: Path, dems: EmulatedDems) -> None:
    async with docked(tmp_path, dems, 40) as station:
        held = sum(one.digest.length for one in await station.holdings())
        budget = held // 2
        station.gate.configure(Traffic.model_validate({"on": {"wired": {"budget": f"{budget} B"}}}))

        async def something_went() -> bool:
            return await station.count(Standing.RECEIPTED) > 0

        await station.send(until=something_went)
        with pytest.raises(TimeoutError):
            await station.send(within=1.0)
        gone = sum(one.digest.length for one in await station.holdings() if one.standing is Standing.RECEIPTED)
        assert 0 < gone <= budget


@pytest.mark.parametrize("count", [1, 5])
async def test_what_never_left_costs_no_budget(tmp_path: Path, count: int) -> None:
    """Short bodies are read before there is a connection."""

    async def spent() -> int:
        sql = "SELECT sum(bytes) FROM spent"
        return int(await station.desk.read(lambda journal: journal.connection.execute(sql).get) or 0)

    async def down() -> bool:
        return not station.forward.link.up

    charged: list[int] = []
    async with AsyncExitStack() as running:
        dems = await running.enter_async_context(EmulatedDems(tmp_path / "dems"))
        async with docked(tmp_path, dems, count) as station:
            station.gate.configure(Traffic.model_validate({"on": {"wired": {"budget": "1 MB"}}}))
            admit = station.gate.admit

            async def admitted(priority: Priority, length: int, **more: bool) -> Charge | None:
                charged.append(length)
                return await admit(priority, length, **more)

            station.gate.admit = admitted
            await running.aclose()  # it is gone
            await station.send(until=down)
            assert len(charged) == 1
            assert await spent() == 0
            assert "refuses connections" in str(station.forward.link.problem)


async def test_a_cap_holds_for_what_goes_together_too(
    tmp_path: Path, dems: EmulatedDems, posts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte of their request goes through the one bucket of the station."""

    taken, true_take = list[int](), Bucket.take

    async def take(bucket: Bucket, length: int) -> None:
        taken.append(length)
        await true_take(bucket, length)

    monkeypatch.setattr(Bucket, "take", take)
    async with docked(tmp_path, dems, 40) as station:
        await station.send()
        assert await station.count(Standing.RECEIPTED) == 40
        assert len(posts) < 40, "they went together"
        assert sum(taken) >= sum(one.digest.length for one in await station.holdings())


async def test_a_kill_between_commit_and_answer_doubles_nothing(tmp_path: Path, dems: EmulatedDems) -> None:
    async with docked(tmp_path, dems, 50) as station:
        await dems.add_fault("POST:*:drop-answer")
        with pytest.raises(TimeoutError):
            await station.send(within=1.5)
        assert await station.count(Standing.HELD) == 50
        await dems.clear_faults()
        await station.restart()
        await station.send()
        assert await station.count(Standing.RECEIPTED) == 50
        assert len(await dems.index()) == 50
        await station.verify()


# --- at the DEMS ------------------------------------------------------------------------------------------------------


def _metadata(**pairs: str) -> str:
    return ",".join(f"{key} {b64encode(value.encode()).decode()}" for key, value in pairs.items())


def named(data: bytes, number: int, **other: str) -> dict[str, Any]:
    told = {"capture": f"00000000-0000-4000-8000-{number:012}", "sha256": sha256(data).hexdigest(), "log": "a/b 1"}
    return {"length": len(data), "metadata": _metadata(**(told | other))}


async def asked(dems: EmulatedDems, body: bytes | io.BytesIO, **headers: str) -> tuple[int, Any]:
    head = {"Tus-Resumable": "1.0.0", "Content-Type": TYPE, **headers}
    async with aiohttp.ClientSession() as session, session.post(dems.url, data=body, headers=head) as answer:
        return answer.status, await answer.json(content_type=None) if answer.status == 200 else await answer.text()


def body_of(*captures: tuple[dict[str, Any], bytes]) -> bytes:
    line = json.dumps({"captures": [told for told, _ in captures]}).encode() + b"\n"
    return line + b"".join(data for _, data in captures)


async def test_each_is_judged_by_itself(dems: EmulatedDems) -> None:
    good, wrong, nameless = (
        (named(b"good", 1), b"good"),
        (named(b"right", 2), b"wrong"),
        ({"length": 1, "metadata": ""}, b"x"),
    )
    status, told = await asked(dems, body_of(good, wrong, nameless, good))
    assert status == 200
    assert [one["status"] for one in told["captures"]] == [201, 460, 400, 423]
    assert "receipt" in told["captures"][0]
    again = await asked(dems, body_of(good))
    assert again[1]["captures"] == told["captures"][:1]  # an entry has one receipt
    (entry,) = await dems.index()
    assert dems.stored(entry).read_bytes() == b"good"
    assert len(list((dems.options.folder / "files").iterdir())) == 1
    assert await dems.violations() == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\n", b"{}", b"[]\n", b'{"captures": []}\n', b'{"captures": 5}\n', b'{"captures": [5]}\n', b"\xff\xfe\n",
        b'{"captures": [{"length": -1, "metadata": ""}]}\n', b'{"captures": [{"length": true, "metadata": ""}]}\n',
        b'{"captures": [{"length": 5, "metadata": ""}]}\nabc', b'{"captures": [{"length": 1, "metadata": ""}]}\nabc',
        b'{"captures": [{"length": 1, "metadata": 7}]}\na', b"[" * 100_000 + b"\n",
        b'{"captures": [' + b",".join([b'{"length": 0, "metadata": ""}'] * 257) + b"]}\n",
        b'{"captures": [{"length": %d, "metadata": ""}]}\n' % (1 << 60),
    ],
)  # fmt: skip
async def test_what_is_no_bundle_is_refused_and_leaves_nothing(dems: EmulatedDems, body: bytes) -> None:
    status, _ = await asked(dems, body)
    assert status == 400
    assert await dems.index() == []
    assert list((dems.options.folder / "files").iterdir()) == []


async def test_one_that_is_too_long_is_not_read(dems: EmulatedDems) -> None:
    status, _ = await asked(dems, io.BytesIO(bytes((16 << 20) + 1)))
    assert status == 413
    assert LENGTH <= 8 << 20
