"""The uplink `folder`: bags that others verify, a medium that comes and goes, and receipts that come back on it."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import bagit
import pytest
from typer.testing import CliRunner

from agent import cli, durable
from agent.capture import PART_LENGTH, Standing, Strength
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
from agent.testing.uplink_conformance import UplinkConformance, UplinkRig, sent
from agent.traffic import LinkClass, Traffic
from agent.uplink.folder import FolderUplink, receipts_in, writing
from agent.uplink.folder.bag import payload_name
from agent.uplink.folder.medium import MARK, Medium, prepare
from agent.uplink.folder.writing import place_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.testing.uplinks import Arrived

MIB = 1 << 20
OTHER = "edge.example.org/bench-2/log1"


def writes_with(monkeypatch: pytest.MonkeyPatch, write_all: Callable[..., object]) -> None:
    """Only what is written to the medium: the spool's disk is well."""
    monkeypatch.setattr(writing, "durable", SimpleNamespace(**{**vars(durable), "write_all": write_all}))


class FolderRig(UplinkRig):
    """A folder of this machine; writes to it can be made to fail."""

    request = PART_LENGTH

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = folder / "medium"
        self.path.mkdir(parents=True)
        self.medium = prepare(self.path)
        self.count = 0
        self.cut_after: int | None = None
        true_write = durable.write_all

        def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
            self.count += len(data)
            if self.cut_after is not None and self.count > self.cut_after:
                self.cut_after = None
                raise OSError(errno.EIO, "pulled")
            true_write(fd, data, offset)

        writes_with(monkeypatch, write_all)

    def uplink(self, **more: Any) -> FolderUplink:  # noqa: ANN401 - options
        words = {"use": "folder", "name": "disk", "path": self.path, "archive": True, "watermark": 0, "look": 0.1}
        return FolderUplink(FolderUplink.Options.model_validate({**words, **more}))

    async def arrived(self) -> Arrived:
        found: Arrived = {}
        for place in (self.path / "captures").glob("??/*"):
            if not place.name.startswith("."):
                (file,) = (place / "data").iterdir()
                found[place.name] = [hashlib.sha256(file.read_bytes()).digest()]
        return found

    async def cut(self, after: int) -> None:
        self.cut_after = self.count + after

    async def down(self) -> None:
        self.path.rename(self.path.with_name("away"))
        self.path.mkdir()  # the mount point, with nothing mounted on it

    async def up(self) -> None:
        assert list(self.path.iterdir()) == [], "an empty mount point was written to"
        self.path.rmdir()
        self.path.with_name("away").rename(self.path)


class TestFolder(UplinkConformance):
    @pytest.fixture(autouse=True)
    def _patching(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch

    @asynccontextmanager
    async def rig(self, tmp_path: Path) -> AsyncIterator[FolderRig]:
        yield FolderRig(tmp_path / "folder", self.monkeypatch)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderRig:
    return FolderRig(tmp_path / "folder", monkeypatch)


def evidock(*words: object) -> Any:  # noqa: ANN401 - typer's own type
    return CliRunner().invoke(cli.app, ["handover", *map(str, words)])


# --- what others make of it -------------------------------------------------------------------------------------------


async def test_bagit_and_sha256sum_find_every_bag_right(rig: FolderRig, station: Station) -> None:
    for number, key in enumerate(["DCIM/100MEDIA/CLIP0001.MP4", "Übung — Tür.MP4", "..", "x" * 1024, "a/b/.hidden"]):
        sending = await held_sending(station, some_bytes(1000 * number, number), key)
        await sent(rig.uplink(), sending)
        place = place_of(rig.medium, sending.holding.id)
        bagit.Bag(str(place)).validate()
        for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
            words = ["sha256sum", "--check", "--strict", manifest]
            done = await asyncio.to_thread(subprocess.run, words, cwd=place, capture_output=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        said = json.loads((place / "capture.json").read_text())
        assert said["origin"] == sending.holding.origin.claims
        assert payload_name(sending.holding).isascii()


async def test_a_changed_byte_is_found_by_everybody(rig: FolderRig, station: Station) -> None:
    sending = await held_sending(station, some_bytes(1000))
    await sent(rig.uplink(), sending)
    (file,) = (place_of(rig.medium, sending.holding.id) / "data").iterdir()
    data = bytearray(file.read_bytes())
    data[500] ^= 1
    file.write_bytes(data)
    with pytest.raises(bagit.BagValidationError):
        bagit.Bag(str(file.parents[1])).validate()
    with pytest.raises(BadReceipt, match="other bytes"):
        await sent(rig.uplink(), sending)
    told = evidock("check", rig.path, "--json")
    assert isinstance(told.exception, Refusal)
    (one,) = json.loads(told.stdout)["captures"]
    assert "not those that its station took" in one["wrong"]


# --- the medium -------------------------------------------------------------------------------------------------------


async def test_what_nobody_prepared_is_not_written_to(rig: FolderRig, station: Station) -> None:
    (rig.path / MARK).unlink()
    shutil.rmtree(rig.path / "captures")
    sending = await held_sending(station, b"x")
    with pytest.raises(UplinkDown, match="prepared") as down:
        await sent(rig.uplink(), sending)
    assert "evidock handover prepare" in down.value.what_to_do
    assert not (rig.path / "captures").exists()
    assert evidock("prepare", rig.path).exit_code == 0
    await sent(rig.uplink(), sending)
    mark = (rig.path / MARK).read_text()
    assert evidock("prepare", rig.path).exit_code == 0
    assert (rig.path / MARK).read_text() == mark, "prepared twice it is the same medium"


async def test_pulled_in_the_middle_it_continues_with_whole_parts(rig: FolderRig, station: Station) -> None:
    data = some_bytes(2 * PART_LENGTH + 77)
    sending = await held_sending(station, data)
    await rig.cut(PART_LENGTH + 5 * MIB)
    with pytest.raises(UplinkDown, match="failed"):
        await sent(rig.uplink(), sending)
    before = rig.count
    await sent(rig.uplink(), sending)
    assert rig.count - before < len(data) - PART_LENGTH + MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


class Swapped:
    """A medium that is taken out before a request, and another one put in."""

    def __init__(self, sending: HeldSending, at: int, act: Callable[[], None]) -> None:
        self._sending, self._left, self._act = sending, at, act

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the sending has
        return getattr(self._sending, name)

    async def turn(self, length: int, /) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()
        await self._sending.turn(length)


@pytest.mark.parametrize("other", ["prepared", "a bare mount point"])
@pytest.mark.parametrize("request_", [1, 2])
async def test_a_medium_that_is_changed_for_another_gets_no_receipt_for_what_went_to_the_first(
    rig: FolderRig, station: Station, other: str, request_: int
) -> None:
    sending = await held_sending(station, some_bytes(PART_LENGTH + 77))

    def swap() -> None:
        rig.path.rename(rig.path.with_name("first"))
        rig.path.mkdir()
        if other == "prepared":
            prepare(rig.path)

    with pytest.raises(UplinkDown):
        await sent(rig.uplink(), Swapped(sending, request_, swap))  # type: ignore[arg-type]
    assert await rig.arrived() == {}
    assert list(rig.path.with_name("first").glob("captures/??/*")), "it went to the one that it was begun on"
    if other == "prepared":
        await sent(rig.uplink(), sending)
        assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


@pytest.mark.parametrize("other", ["prepared", "a bare mount point"])
async def test_a_medium_that_goes_before_its_first_folder_is_made_gets_no_receipt(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """In that moment everything would go to whatever lies at the mount point: this machine's own disk."""
    true_require = Medium.require

    def require(medium: Medium, *more: Any) -> None:  # noqa: ANN401 - as it is
        true_require(medium, *more)
        rig.path.rename(rig.path.with_name("first"))
        rig.path.mkdir()
        if other == "prepared":
            prepare(rig.path)
        monkeypatch.setattr(Medium, "require", true_require)

    monkeypatch.setattr(Medium, "require", require)
    with pytest.raises(UplinkDown, match=r"another one|prepared"):
        await sent(rig.uplink(), await held_sending(station, b"x"))
    assert list(rig.path.rglob("*.part")) == [*rig.path.glob("captures/*")] == [], "nothing was made there"
    assert (rig.path / "captures").exists() == (other == "prepared")


@pytest.mark.parametrize("where", ["captures", "shelf", "draft", "bag"])
async def test_no_link_on_a_medium_leads_what_is_written_elsewhere(
    rig: FolderRig, station: Station, tmp_path: Path, where: str
) -> None:
    sending, elsewhere = await held_sending(station, b"x"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = place_of(rig.medium, sending.holding.id)
    draft = place.with_name(f".{place.name}.{hashlib.sha256(sending.holding.log.encode()).hexdigest()[:8]}.part")
    link = {"captures": rig.path / "captures", "shelf": place.parent, "draft": draft, "bag": place}[where]
    if where == "captures":
        link.rmdir()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UplinkDown, match="no folder is where one belongs") as down:
        await sent(rig.uplink(), sending)
    assert down.value.alone, "others go there"
    assert list(elsewhere.iterdir()) == []


async def test_a_draft_that_is_not_ours_is_not_built_upon(rig: FolderRig, station: Station) -> None:
    sending = await held_sending(station, some_bytes(PART_LENGTH + 77))
    await rig.cut(PART_LENGTH + 1)
    with pytest.raises(UplinkDown):
        await sent(rig.uplink(), sending)
    (draft,) = rig.path.glob("captures/??/.*.part/data/*")
    draft.write_bytes(bytes(PART_LENGTH))
    await sent(rig.uplink(), sending)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


@pytest.mark.parametrize(
    ("code", "says"),
    [(errno.ENOSPC, "full"), (errno.EFBIG, "this length"), (errno.EROFS, "may not be written"), (errno.EIO, "failed")],
)
async def test_what_the_file_system_says_is_told_with_what_to_do(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch, code: int, says: str
) -> None:
    def fails(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    writes_with(monkeypatch, fails)
    with pytest.raises(UplinkDown, match=says) as down:
        await sent(rig.uplink(), await held_sending(station, b"x"))
    assert down.value.what_to_do
    assert await rig.arrived() == {}


async def test_a_medium_that_lies_is_found_out_at_once(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counterfeit stick says that everything was written."""
    writes_with(monkeypatch, lambda fd, data, offset: os.pwrite(fd, bytes(len(data)), offset))
    with pytest.raises(UplinkDown, match="other bytes than were written"):
        await sent(rig.uplink(), await held_sending(station, some_bytes(100_000)))
    assert await rig.arrived() == {}


async def test_a_copy_is_forced_and_read_back_past_the_cache_before_it_has_its_name(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page cache gives back proves nothing of the medium; and a name is there only with what it names."""
    sending = await held_sending(station, some_bytes(100_000))
    place, done = place_of(rig.medium, sending.holding.id), list[tuple[str, str, bool]]()

    def seen(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def call(fd: int, *more: Any) -> Any:  # noqa: ANN401 - whatever it takes and gives
            path = Path(f"/proc/self/fd/{fd}").readlink()
            done.append((name, os.path.relpath(path, place.parent), place.exists()))
            return act(fd, *more)

        return call

    acts = {name: seen(name, getattr(durable, name)) for name in ("write_all", "force", "drop_cache", "force_folder")}
    monkeypatch.setattr(writing, "durable", SimpleNamespace(**{**vars(durable), **acts}))
    monkeypatch.setattr(writing, "_sha256_of", seen("read", writing._sha256_of))
    await sent(rig.uplink(), sending)
    (draft,) = {path.partition("/")[0] for name, path, _ in done if name == "write_all"}
    file = f"{draft}/data/{payload_name(sending.holding)}"
    assert [one for one in done if one[1] == file] == [
        (name, file, False) for name in ("write_all", "force", "drop_cache", "drop_cache", "read")
    ]
    assert [one for one in done if one[0] == "force_folder"] == [
        ("force_folder", f"{draft}/data", False),
        ("force_folder", draft, False),
        ("force_folder", ".", True),
    ]


async def test_a_name_that_was_given_and_not_forced_is_forced_before_it_counts(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes the name of what a device was told to forget."""
    sending, fails = await held_sending(station, some_bytes(1000)), [True]
    place, forced = place_of(rig.medium, sending.holding.id), list[str]()

    def force_folder(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        forced.append(os.path.relpath(path, place.parent))
        if place.exists() and path == place.parent and fails:
            raise durable.ForceFailed(errno.EIO, "it failed")
        durable.force_folder(fd)

    monkeypatch.setattr(writing, "durable", SimpleNamespace(**{**vars(durable), "force_folder": force_folder}))
    for _ in range(2):
        with pytest.raises(UplinkDown, match="failed"):
            await sent(rig.uplink(), sending)
        assert place.is_dir()
    fails.clear()
    forced.clear()
    assert (await sent(rig.uplink(), sending)).strength is Strength.DIGEST
    assert forced == [f"{sending.holding.id}/data", sending.holding.id, "."]


async def test_what_would_take_the_room_that_is_to_be_left_is_not_begun(rig: FolderRig, station: Station) -> None:
    sending = await held_sending(station, b"x")
    with pytest.raises(UplinkDown, match="is full") as down:
        await sent(rig.uplink(watermark=1 << 50), sending)
    assert "another one" in down.value.what_to_do
    assert list((rig.path / "captures").iterdir()) == []


async def test_without_a_network_a_disk_is_written_all_the_same(rig: FolderRig, station: Station) -> None:
    """For such stations it is there: `link = "offline"`, or NetworkManager says that there is none."""
    station.gate.configure(Traffic(link=LinkClass.OFFLINE))
    await held_sending(station, some_bytes(1000))
    uplink = rig.uplink()
    running = asyncio.create_task(station.beside(uplink, uplink._options).run())
    try:
        async with asyncio.timeout(10):
            while await station.count(Standing.RECEIPTED) < 1:  # noqa: ASYNC110 - another task makes it true
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait({running})
    (holding,) = await station.holdings()
    assert await rig.arrived() == {holding.id: [holding.digest.sha256]}


async def test_a_check_names_what_is_missing(rig: FolderRig) -> None:
    assert [one.state for one in await rig.uplink().check()] == ["ok", "ok", "ok"]
    full = await rig.uplink(watermark=1 << 50).check()
    assert [one.state for one in full] == ["ok", "problem"]
    await rig.down()
    (gone,) = await rig.uplink().check()
    assert gone.state == "problem"
    assert gone.todo


async def test_two_stations_on_one_drive(rig: FolderRig, tmp_path: Path) -> None:
    """The same recording of the same device was taken on two docks: it is one capture, and lies there once."""
    async with Station(tmp_path / "one") as one, Station(tmp_path / "two", log=OTHER) as two:
        sendings = [await held_sending(place, some_bytes(3 * MIB)) for place in (one, two)]
        assert sendings[0].holding.id == sendings[1].holding.id
        await asyncio.gather(*(sent(rig.uplink(), sending, tries=2) for sending in sendings))
        assert len(await rig.arrived()) == 1


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
    pulled, true_stat = [True], Path.stat

    def stat(path: Path, **more: Any) -> os.stat_result:  # noqa: ANN401 - as it is
        if pulled and path.name == "1.json":
            pulled.clear()
            raise OSError(errno.EIO, "pulled")
        return true_stat(path, **more)

    monkeypatch.setattr(Path, "stat", stat)
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
