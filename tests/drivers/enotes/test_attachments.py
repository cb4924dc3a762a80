"""Attachments over tus: resumed from the agent's own stage file, held before the last answer, set aside where wrong."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from agent.errors import Refusal
from agent.journal import queries
from agent.testing.devices import some_bytes
from drivers.enotes import arriving
from drivers.enotes.emulator.notebook import File
from drivers.enotes.emulator.tablet import Torn
from drivers.enotes.reading import from_index
from tests.drivers.enotes.test_receiving import told

if TYPE_CHECKING:
    from drivers.enotes.emulator import Tablet
    from tests.drivers.enotes.conftest import Desk

MIB = 1 << 20
PHOTO = some_bytes(5 * MIB + 123, "photo")
TUS = {"Tus-Resumable": "1.0.0"}


async def attached(tablet: Tablet, *files: bytes) -> list[File]:
    """Entries that name these files are held; the files wait."""
    note = tablet.notebook.create("text")
    made = tablet.notebook.attach(note, *((f"file-{n}.jpg", data) for n, data in enumerate(files)))
    tablet.notebook.files = []
    await tablet.sync()
    return made


async def offset_of(tablet: Tablet, place: str) -> int:
    async with tablet.request("HEAD", place, None, TUS) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Cache-Control"] == "no-store"
        return int(answer.headers["Upload-Offset"])


async def append(tablet: Tablet, place: str, offset: int, data: bytes) -> tuple[int, dict[str, str]]:
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
    async with tablet.request("PATCH", place, data, headers) as answer:
        return answer.status, dict(answer.headers)


@pytest.mark.parametrize("part", [1 << 30, 700_000])
async def test_in_one_request_and_in_many(desk: Desk, part: int) -> None:
    async with desk.open(), desk.tablet() as tablet:
        tablet.part = part
        files = await attached(tablet, PHOTO, b"", b"x")
        for file in files:
            await tablet.upload(file)
        held = {desk.bytes_of(one) for one in await desk.station.holdings()}
        assert {PHOTO, b"", b"x"} <= held
        await tablet.upload(files[0])
        assert tablet.sent == len(PHOTO) + 1, "what is held was sent again"
        receipt = tablet.opened(
            (await tablet._ask("GET", f"/enotes/v1/receipts?notebook={tablet.notebook.urn}", None, {}))["receipt"]
        )
        assert {one["sha-256"] for one in receipt["attachments"]} == {file.told["sha256"] for file in files}


async def test_a_torn_upload_goes_on_where_it_stopped(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        (file,) = await attached(tablet, PHOTO)
        tablet.wire = "..t"
        with pytest.raises(Torn):
            await tablet.upload(file)
        place = await tablet.announce(file)
        at = await offset_of(tablet, place)
        assert at == len(PHOTO) // 2
        status, headers = await append(tablet, place, at + 1, b"x")
        assert (status, headers["Upload-Offset"]) == (409, str(at))
        await tablet.upload(file)
        assert tablet.sent == len(PHOTO) - at


async def test_an_upload_goes_on_after_a_restart_of_the_station(desk: Desk) -> None:
    """Up to 1 MiB of what arrived is asked for once more, to see that it is the same; the rest is not."""
    async with desk.open(), desk.tablet() as tablet:
        (file,) = await attached(tablet, PHOTO)
        place = await tablet.announce(file)
        status, _ = await append(tablet, place, await offset_of(tablet, place), PHOTO[: 4 * MIB])
        assert status == 204
    await tablet.hang_up()
    await desk.station.restart()
    async with desk.open():
        at = await offset_of(tablet, place)
        assert 2 * MIB <= at <= 4 * MIB
        await tablet.upload(file)
        assert tablet.sent == len(PHOTO) - at
        await tablet.hang_up()
    assert PHOTO in {desk.bytes_of(one) for one in await desk.station.holdings()}


async def test_other_bytes_after_a_restart_are_noticed(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        (file,) = await attached(tablet, PHOTO)
        place = await tablet.announce(file)
        await append(tablet, place, await offset_of(tablet, place), PHOTO[: 4 * MIB])
    await tablet.hang_up()
    await desk.station.restart()
    async with desk.open():
        at = await offset_of(tablet, place)
        status, _ = await append(tablet, place, at, b"\0" * (len(PHOTO) - at))
        assert status in (409, 460)
        await tablet.hang_up()
    (part,) = await desk.station.desk.read(queries.parts)
    assert part[1] >= 4 * MIB, "what arrived was not kept"


@pytest.mark.parametrize("length", [10, 3 * MIB])
async def test_bytes_of_another_digest_are_set_aside(desk: Desk, length: int) -> None:
    async with desk.open(), desk.tablet() as tablet:
        right, wrong = some_bytes(length, "right"), some_bytes(length, "wrong")
        (file,) = await attached(tablet, right)
        place = await tablet.announce(file)
        status, _ = await append(tablet, place, await offset_of(tablet, place), wrong)
        assert status == 460
        ((part, _, reason),) = await desk.station.desk.read(queries.parts)
        assert part == sha256(wrong).hexdigest()
        assert "SHA-256" in reason
        async with tablet.request("HEAD", place, None, TUS) as answer:
            assert answer.status == 503, "what was wrong a moment ago is not read again at once"
            assert answer.headers["Retry-After"]
        desk.station.ingest._bad.forgive()
        await tablet.upload(file)
        assert right in {desk.bytes_of(one) for one in await desk.station.holdings()}


async def test_a_second_request_takes_over_from_one_that_hangs(desk: Desk) -> None:
    async with desk.open() as driver, desk.tablet() as tablet:
        (file,) = await attached(tablet, PHOTO)
        place = await tablet.announce(file)
        first = asyncio.get_running_loop().create_future()

        async def slow() -> object:
            yield PHOTO[:MIB]
            await first
            yield b""

        headers = {**TUS, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        session = tablet._connected()
        hanging = asyncio.ensure_future(session.patch(tablet._url + place, data=slow(), headers=headers))
        async with asyncio.timeout(10):
            while await offset_of(tablet, place) < MIB:  # noqa: ASYNC110 - it is asked for over the wire
                await asyncio.sleep(0.01)
        status, _ = await append(tablet, place, MIB, PHOTO[MIB:])
        assert status == 204
        first.cancel()
        await asyncio.gather(hanging, return_exceptions=True)
        assert driver.bound is not None
        assert PHOTO in {desk.bytes_of(one) for one in await desk.station.holdings()}


async def test_who_pauses_too_long_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arriving, "PATIENCE", 0.5)
    monkeypatch.setattr(arriving.Arriving.__init__, "__kwdefaults__", {"patience": 0.5})
    async with desk.open(), desk.tablet() as tablet:
        (file,) = await attached(tablet, PHOTO)
        place = await tablet.announce(file)
        await append(tablet, place, await offset_of(tablet, place), PHOTO[: 2 * MIB])
        async with asyncio.timeout(30):
            while desk.station.ingest.arrivals:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        monkeypatch.setattr(arriving.Arriving.__init__, "__kwdefaults__", {"patience": 60.0})
        at = await offset_of(tablet, place)
        assert MIB <= at <= 2 * MIB
        await tablet.upload(file)


@pytest.mark.parametrize("desk", [{"more": {"attachments_at_once": 1, "attachment_max": 10 * MIB}}], indirect=True)
async def test_limits_of_attachments(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, desk.tablet("TAB-0200") as other:
        one, two = await attached(tablet, PHOTO, b"second")
        place, second = await tablet.announce(one), await tablet.announce(two)
        assert await offset_of(tablet, place) == 0
        async with tablet.request("HEAD", second, None, TUS) as answer:
            assert answer.status == 503
        for announced, status in (
            ({"Upload-Length": str(11 * MIB)}, 413),
            ({"Upload-Length": "-1"}, 400),
            ({"Upload-Length": "9" * 30}, 400),
            ({"Upload-Metadata": "sha256 !!"}, 400),
            ({"Upload-Metadata": ""}, 400),
            ({"Tus-Resumable": "0.2.2"}, 412),
        ):
            async with tablet.request(
                "POST", "/enotes/v1/attachments", b"", {**TUS, "Upload-Length": "1", **announced}
            ) as answer:
                assert answer.status == status, announced
        async with other.request("HEAD", place, None, TUS) as answer:
            assert answer.status == 404, "a tablet sees what another one announced"
        async with tablet.request("DELETE", place, None, TUS) as answer:
            assert answer.status == 405
        async with tablet.request("OPTIONS", place, None, {}) as answer:
            assert (answer.status, answer.headers["Tus-Extension"]) == (204, "creation")
        async with tablet.request("PATCH", place, b"x", {**TUS, "Upload-Offset": "0"}) as answer:
            assert answer.status == 415
        status, _ = await append(tablet, place, 0, PHOTO + b"more than was announced")
        assert status == 413
        async with tablet.request(
            "POST", place, PHOTO[:1], {**TUS, "X-HTTP-Method-Override": "PATCH", "Upload-Offset": "x",
                                       "Content-Type": "application/offset+octet-stream"}
        ) as answer:  # fmt: skip
            assert answer.status == 400


async def test_an_attachment_that_does_not_come_is_told(desk: Desk) -> None:
    async with desk.open() as driver, desk.tablet() as tablet:
        (file,) = await attached(tablet, b"photo")
        driver._standings._options = desk.options.model_copy(update={"attachment_patience": 1e-9})
        await asyncio.sleep(0.01)
        shelf = driver._orders._shelf
        await driver._standings.look(shelf)
        assert [notice.id for notice in driver.notices()] == ["enotes.attachment_missing"]
        await tablet.upload(file)
        await driver._standings.look(shelf)
        assert driver.notices() == []


async def test_an_attachment_that_will_not_come_is_given_up(desk: Desk) -> None:
    """Its tablet is lost. The log names it; another of the same notebook is told of; what comes after all is held."""
    async with desk.open() as driver, desk.tablet() as tablet:
        (file,) = await attached(tablet, b"photo")
        driver._standings._options = desk.options.model_copy(update={"attachment_patience": 1e-9})
        await asyncio.sleep(0.01)
        shelf, urn = driver._orders._shelf, tablet.notebook.urn
        answer, entries = await told(driver, "give-up", notebook=urn, why="it lies in the river")
        digest = sha256(file.data).hexdigest()
        assert answer == {"given_up": 1}
        assert entries == [
            {
                "attachments": [{"seq": file.seq, "sha256": digest}],
                "count": 1,
                "notebook": urn,
                "why": "it lies in the river",
            }
        ]
        await driver._standings.look(shelf)
        assert driver.notices() == []
        assert driver._standings.health["attachments awaited"] == "0"
        listed, _ = await told(driver, "list")
        assert [one["attachments_missing"] for one in listed["notebooks"]] == [0]
        with from_index(desk.options.state, urn, late_after=timedelta(1)) as found:
            assert list(found.source.awaited()) == [(file.seq, digest)]
        with pytest.raises(Refusal, match="no attachment"):
            await told(driver, "give-up", notebook=urn, why="once more")
        await tablet.upload(file)
        assert file.data in {desk.bytes_of(one) for one in await desk.station.holdings()}
        await attached(tablet, b"another")
        await asyncio.sleep(0.01)
        await driver._standings.look(shelf)
        assert [notice.id for notice in driver.notices()] == ["enotes.attachment_missing"]


async def test_an_attachment_before_its_entry(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet:
        await tablet.upload(File(tablet.notebook.urn, 2, "early.jpg", b"early"))
        note = tablet.notebook.create("text")
        tablet.notebook.attach(note, ("early.jpg", b"early"))
        await tablet.sync()
        assert tablet.sent == len(b"early")
        assert len(await desk.station.holdings()) == 3


async def test_a_length_that_was_announced_wrongly_gives_way_to_that_of_the_entry(desk: Desk) -> None:
    async with desk.open(), desk.tablet() as tablet, desk.tablet("TAB-0200") as other:
        file = File(tablet.notebook.urn, 2, "photo.jpg", b"a photograph")
        said = {"notebook": file.notebook, "seq": "2", "sha256": sha256(file.data).hexdigest()}
        metadata = ",".join(f"{name} {b64encode(value.encode()).decode()}" for name, value in said.items())
        wrong = {**TUS, "Upload-Length": "5", "Upload-Metadata": metadata}
        async with other.request("POST", "/enotes/v1/attachments", b"", wrong) as answer:
            assert answer.status == 201
            place = answer.headers["Location"]
        note = tablet.notebook.create("text")
        tablet.notebook.attach(note, (file.name, file.data))
        await tablet.sync()
        assert file.data in {desk.bytes_of(one) for one in await desk.station.holdings()}
        async with other.request("HEAD", place, None, TUS) as answer:
            assert answer.status == 404
