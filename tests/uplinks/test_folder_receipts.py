"""The uplink `folder`: who receives a disk signs for what lies on it, and the receipts come back."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import bagit
import pytest
from structlog.testing import capture_logs

from agent import durable
from agent.capture import Standing, Strength
from agent.custody.receipt import open_receipt
from agent.errors import BadReceipt, Refusal, UplinkDown
from agent.forward.late import came_late
from agent.journal import copies
from agent.journal.owing import Destinations
from agent.note import Verifier
from agent.testing.cameras import CameraFolder
from agent.testing.devices import some_bytes
from agent.testing.process import DaemonProcess
from agent.testing.sendings import HeldSending, held_sending
from agent.testing.station import Station
from agent.testing.uplink_conformance import sent
from agent.uplink import folder
from agent.uplink.folder import receipts_in, writing
from agent.uplink.folder.medium import MARK, prepare, read_plain
from agent.uplink.folder.writing import place_of
from tests.uplinks.folder_rig import OTHER, FolderRig, evidock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderRig:
    return FolderRig(tmp_path / "folder", monkeypatch)


async def test_each_station_that_took_a_capture_gets_a_receipt_for_its_own_entry(
    rig: FolderRig, tmp_path: Path
) -> None:
    """The bag lies there once; what its first station said of it fits no other's log."""
    async with Station(tmp_path / "one") as one, Station(tmp_path / "two", log=OTHER) as two:
        sendings = [await held_sending(place, some_bytes(1000)) for place in (one, two)]
        assert len({sending.holding.id for sending in sendings}) == 1
        for sending in (*sendings, *sendings):
            await sent(rig.uplink(), sending)
        entries = {(sending.holding.log, sending.holding.index) for sending in sendings}
        assert len(entries) == 2
        assert await signed_for(rig, tmp_path) == entries
        bagit.Bag(str(place_of(rig.medium, sendings[0].holding.id))).validate()


async def test_a_capture_with_another_entry_than_its_bag_speaks_of_gets_a_receipt_for_it(
    rig: FolderRig, station: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its station lost its journal and took it once more. Power fails meanwhile."""
    first = await held_sending(station, b"x")
    later = HeldSending(station, replace(first.holding, index=first.holding.index + 7))
    await sent(rig.uplink(), first)
    with monkeypatch.context() as patched:
        true_replace, left = durable.replace_below, [None] * 2

        def replace_below(*what: Any) -> None:  # noqa: ANN401 - as it is
            if not left:
                raise OSError(errno.EIO, "pulled")
            left.pop()
            true_replace(*what)

        patched.setattr(writing, "durable", SimpleNamespace(**{**vars(durable), "replace_below": replace_below}))
        with pytest.raises(UplinkDown, match="failed"):
            await sent(rig.uplink(), later)
    await sent(rig.uplink(), later)
    assert await signed_for(rig, tmp_path) == {(later.holding.log, later.holding.index)}
    bagit.Bag(str(place_of(rig.medium, later.holding.id))).validate()


async def test_what_no_station_wrote_beside_a_bag_is_not_signed_for(
    rig: FolderRig, station: Station, tmp_path: Path
) -> None:
    sending = await held_sending(station, b"x")
    await sent(rig.uplink(), sending)
    place = place_of(rig.medium, sending.holding.id)
    about = json.loads((place / "capture.json").read_text())
    (place / "capture-1.json").write_text(json.dumps({**about, "sha256": "00" * 32}))
    (place / "capture-2.json").write_text("{")
    (place / "capture-3.json").mkdir()
    (place / "capture-4.json").symlink_to("/dev/zero")
    assert await signed_for(rig, tmp_path) == {(sending.holding.log, sending.holding.index)}


async def signed_for(rig: FolderRig, folder: Path) -> set[tuple[str, int]]:
    """Log and index of each receipt that whoever receives the medium puts there."""
    key = folder / "receipt.key"
    told = await asyncio.to_thread(evidock, "sign", rig.path, "--key", key, "--name", "dems.example.org/r", "--json")
    assert told.exit_code == 0, told.output
    (file,) = (rig.path / "receipts").iterdir()
    keys = [Verifier.parse(json.loads(told.stdout)["vkey"])]
    notes = [open_receipt(note, keys) for note in receipts_in(file.read_bytes())]
    return {(note.log, note.index) for note in notes}


# --- receipts that come back ------------------------------------------------------------------------------------------


async def test_a_disk_on_its_way_proves_a_length_until_its_receipts_are_back(
    rig: FolderRig, station: Station, tmp_path: Path
) -> None:
    uplink = rig.uplink(archive=False)
    sendings = [await held_sending(station, some_bytes(1000, n), f"{n}") for n in range(3)]
    station.connect(uplink)
    await station.send()
    assert {one.receipt.strength for one in await station.holdings() if one.receipt} == {Strength.LENGTH}

    told = evidock("sign", rig.path, "--key", tmp_path / "receipt.key", "--name", "dems.example.org/r", "--json")
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)
    assert sorted(said["signed"]) == sorted(one.holding.id for one in sendings)
    keys = [Verifier.parse(said["vkey"])]
    notes = uplink.later()
    for _ in sendings:
        note = await anext(notes)
        assert await came_late(station.desk, note, keys, "disk", over="disk") is not None
        assert await came_late(station.desk, note, keys, "disk", over="disk") is None, "told twice it is one"
    await notes.aclose()
    held = await station.holdings()
    assert {one.standing for one in held} == {Standing.RECEIPTED}
    assert {one.receipt.strength for one in held if one.receipt} == {Strength.SIGNED}
    with pytest.raises(BadReceipt):
        await came_late(station.desk, note, [], "disk", over="disk")
    await station.hang_up()


async def test_a_receipt_for_a_copy_says_that_it_is_there_and_keeps_nobody_else_from_getting_the_capture(
    rig: FolderRig, station: Station, tmp_path: Path
) -> None:
    """The disk came back before the primary did: what it is owed it must still be sent, and be waited for."""
    uplink, place = rig.uplink(archive=False, role="copy"), Destinations(("dems", "disk"), ("disk",), ("dems", "disk"))
    await station.desk.write(lambda journal: copies.settle(journal, place))
    sending = await held_sending(station, some_bytes(1000))
    copying = asyncio.create_task(station.beside(uplink, uplink._options).run())
    try:
        async with asyncio.timeout(20):
            while not await station.desk.read(lambda j: copies.received(j, sending.holding.id)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        copying.cancel()
        await asyncio.wait({copying})
    told = evidock("sign", rig.path, "--key", tmp_path / "receipt.key", "--name", "dems.example.org/r", "--json")
    keys = [Verifier.parse(json.loads(told.stdout)["vkey"])]
    notes = uplink.later()
    note = await anext(notes)
    await notes.aclose()
    assert await came_late(station.desk, note, keys, "disk", over="disk") == sending.holding.id
    assert (await station.only()).standing is Standing.HELD, "the primary has not got it"
    assert await station.desk.read(lambda j: copies.received(j, sending.holding.id)) == {"disk": Strength.SIGNED}
    assert await station.desk.read(lambda j: copies.lacking(j, sending.holding.id, Strength.SIGNED)) == ("dems",)
    assert await came_late(station.desk, note, keys, "disk", over="disk") is None, "told twice it is one"
    assert (await station.events(sending.holding.id)).count("copied") == 2  # of its length, and signed


async def test_a_camera_forgets_once_the_disk_came_back(tmp_path: Path, rig: FolderRig) -> None:
    """The real daemon, the real command, no network at all."""
    key = tmp_path / "receipt.key"
    first = json.loads(evidock("sign", rig.path, "--key", key, "--name", "dems.example.org/r", "--json").stdout)
    camera = CameraFolder(tmp_path / "camera")
    for number in range(3):
        camera.record(some_bytes(100_000, number))
    uplink = {"use": "folder", "name": "disk", "path": str(rig.path), "look": 0.2, "watermark": 0}
    async with DaemonProcess(
        tmp_path / "station",
        drivers=[camera.driver()],
        uplink={**uplink, "receipt_keys": [first["vkey"]]},
        policy={"device": "release"},
    ) as daemon:
        async with asyncio.timeout(60):
            while len(await rig.arrived()) < 3:  # noqa: ASYNC110 - a disk tells nobody
                await asyncio.sleep(0.05)
        assert len(list(camera.root.rglob("*.MP4"))) == 3, "nothing is forgotten for a disk that is on its way"
        done = await asyncio.to_thread(evidock, "sign", rig.path, "--key", key, "--name", "dems.example.org/r")
        assert done.exit_code == 0, done.output
        async with asyncio.timeout(60):
            while list(camera.root.rglob("*.MP4")):  # noqa: ASYNC110 - a disk tells nobody
                await asyncio.sleep(0.05)
        assert await daemon.stop() == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema": "other", "receipts": []}', b'{"schema": "receipt/1", "receipts": 7}']
)
def test_a_file_of_receipts_that_is_none(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        receipts_in(content)


async def test_a_bad_file_of_receipts_hides_no_good_one(rig: FolderRig) -> None:
    folder = rig.path / "receipts"
    (folder / "0.json").write_bytes(b"\xff\xfe")
    (folder / "1.json").write_text(json.dumps({"schema": "receipt/1", "receipts": ["not a note"]}))
    notes = rig.uplink().later()
    assert await anext(notes) == b"not a note"
    await notes.aclose()


@pytest.mark.parametrize("hostile", ["pipe", "zeros", "folder", "nowhere", "deep", "mark"])
async def test_what_a_stranger_puts_there_in_place_of_receipts_holds_up_and_ends_nothing(
    rig: FolderRig, station: Station, hostile: str
) -> None:
    """The daemon would wait for a pipe for ever, read zeros until its memory is gone, or end at what is nested."""
    place, deep = rig.path / "receipts" / "0.json", b"[" * 200_000
    match hostile:
        case "pipe":
            os.mkfifo(place)
        case "zeros":
            place.symlink_to("/dev/zero")
        case "folder":
            place.mkdir()
        case "nowhere":
            place.symlink_to("nowhere")
        case "deep":
            place.write_bytes(deep)
        case "mark":
            (rig.path / MARK).write_bytes(deep)
    (rig.path / "receipts" / "1.json").write_text(json.dumps({"schema": "receipt/1", "receipts": ["a note", 7]}))
    notes = rig.uplink().later()
    if hostile == "mark":
        with pytest.raises(UplinkDown, match="is damaged"):
            await sent(rig.uplink(), await held_sending(station, b"x"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(notes), 0.5)
    else:
        async with asyncio.timeout(10):
            assert await anext(notes) == b"a note"
    await notes.aclose()


async def test_receipts_that_were_read_before_the_disk_was_pulled_are_told_when_it_is_back(
    rig: FolderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        said = json.dumps({"schema": "receipt/1", "receipts": [f"{number}"]})
        (rig.path / "receipts" / f"{number}.json").write_text(said)
    pulled = [True]

    def read(name: str, *more: Any) -> bytes:  # noqa: ANN401 - as it is
        if pulled and name == "1.json":
            pulled.clear()
            raise OSError(errno.EIO, "pulled")
        return read_plain(name, *more)

    monkeypatch.setattr(folder, "read_plain", read)
    notes = rig.uplink().later()
    async with asyncio.timeout(10):
        assert {await anext(notes) for _ in range(3)} == {b"0", b"1", b"2"}
    await notes.aclose()


async def test_another_medium_with_a_file_of_the_same_name_length_and_time_is_read_too(rig: FolderRig) -> None:
    def receipts(note: str) -> None:
        (rig.path / "receipts" / "0.json").write_text(json.dumps({"schema": "receipt/1", "receipts": [note]}))
        os.utime(rig.path / "receipts" / "0.json", ns=(7, 7))

    receipts("first")
    uplink = rig.uplink()
    notes = uplink.later()
    assert await anext(notes) == b"first"
    rig.path.rename(rig.path.with_name("first"))
    rig.path.mkdir()
    prepare(rig.path)
    receipts("other")
    async with asyncio.timeout(10):
        assert await anext(notes) == b"other"
    await notes.aclose()


async def test_receipts_behind_a_link_are_not_those_of_the_medium(
    rig: FolderRig, station: Station, tmp_path: Path
) -> None:
    """A medium that leads its reader elsewhere is told of; nothing is read or written there."""
    await sent(rig.uplink(), await held_sending(station, b"x"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "0.json").write_text(json.dumps({"schema": "receipt/1", "receipts": ["a note"]}))
    (rig.path / "receipts").rmdir()
    (rig.path / "receipts").symlink_to(elsewhere)
    notes = rig.uplink().later()
    with capture_logs() as logs, pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(notes), 0.5)
    await notes.aclose()
    assert {(one["event"], one["file"]) for one in logs} == {("receipts_unreadable", str(rig.path / "receipts"))}
    told = evidock("sign", rig.path, "--key", tmp_path / "k", "--name", "dems.example.org/r", "--json")
    assert "cannot be written" in str(told.exception)
    assert [one.name for one in elsewhere.iterdir()] == ["0.json"]


@pytest.mark.parametrize("link", ["captures", "shelf", "bag", "data"])
async def test_whoever_signs_reads_what_lies_on_the_medium_and_follows_no_link_off_it(
    rig: FolderRig, station: Station, tmp_path: Path, link: str
) -> None:
    """Else bytes that nobody brought would be signed for."""
    sending = await held_sending(station, b"x")
    await sent(rig.uplink(), sending)
    bag = place_of(rig.medium, sending.holding.id)
    place = {"captures": bag.parent.parent, "shelf": bag.parent, "bag": bag, "data": bag / "data"}[link]
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    told = evidock("sign", rig.path, "--key", tmp_path / "k", "--name", "dems.example.org/r", "--json")
    assert not list((rig.path / "receipts").iterdir())
    if link == "captures":
        assert "no folder is where one belongs" in str(told.exception)
    else:
        assert json.loads(told.stdout)["signed"] == []


@pytest.mark.parametrize("wrong", ["{", "[]", '{"capture": "x"}', '{"capture": 7, "origin": "x"}'])
async def test_what_lies_on_a_disk_is_not_trusted_by_who_signs(
    rig: FolderRig, station: Station, tmp_path: Path, wrong: str
) -> None:
    sending = await held_sending(station, b"x")
    await sent(rig.uplink(), sending)
    (place_of(rig.medium, sending.holding.id) / "capture.json").write_text(wrong)
    told = evidock("sign", rig.path, "--key", tmp_path / "k", "--name", "dems.example.org/r", "--json")
    assert isinstance(told.exception, Refusal)
    assert json.loads(told.stdout)["signed"] == []
    assert list((rig.path / "receipts").iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"index": -1},
        {"index": 1 << 70},
        {"log": "a name with spaces"},
        {"log": "\ud800"},
        {"length": -1},
        {"length": 10**400},
        {"origin": "x"},
        {"origin": "x", "two": True},
        "[" * 100_000,
    ],
    ids=lambda wrong: str(wrong)[:24],
)
async def test_one_bag_that_no_receipt_could_speak_of_keeps_no_other_from_being_signed_for(
    rig: FolderRig, station: Station, tmp_path: Path, wrong: dict[str, Any] | str
) -> None:
    good, bad = [await held_sending(station, some_bytes(100, n), f"{n}") for n in range(2)]
    for sending in (good, bad):
        await sent(rig.uplink(), sending)
    place = place_of(rig.medium, bad.holding.id)
    if isinstance(wrong, dict):
        if wrong.pop("two", False):
            (place / "data" / "more").touch()
        wrong = json.dumps({**json.loads((place / "capture.json").read_text()), **wrong})
    (place / "capture.json").write_text(wrong)
    assert isinstance(evidock("check", rig.path).exception, Refusal)
    told = evidock("sign", rig.path, "--key", tmp_path / "k", "--name", "dems.example.org/r", "--json")
    assert isinstance(told.exception, Refusal)
    assert json.loads(told.stdout)["signed"] == [good.holding.id]
    assert len(list((rig.path / "receipts").iterdir())) == 1
