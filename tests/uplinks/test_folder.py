"""The uplink `folder`: bags that others verify, and a medium that comes and goes."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import subprocess
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import bagit
import pytest

from agent import durable
from agent.capture import PART_LENGTH, Standing, Strength
from agent.errors import BadReceipt, Refusal, UplinkDown
from agent.testing.devices import some_bytes
from agent.testing.sendings import HeldSending, held_sending
from agent.testing.station import Station
from agent.testing.uplink_conformance import UplinkConformance, sent
from agent.traffic import LinkClass, Traffic
from agent.uplink.folder import writing
from agent.uplink.folder.bag import payload_name
from agent.uplink.folder.medium import MARK, Medium, below, prepare
from agent.uplink.folder.writing import place_of
from tests.uplinks.folder_rig import MIB, OTHER, FolderRig, continued, evidock, writes_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


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
    await continued(rig, sending)


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
    true_room = Medium.room

    def room(medium: Medium, root: int | None = None) -> int:
        found = true_room(medium, root)
        rig.path.rename(rig.path.with_name("first"))
        rig.path.mkdir()
        if other == "prepared":
            prepare(rig.path)
        monkeypatch.setattr(Medium, "room", true_room)
        return found

    monkeypatch.setattr(Medium, "room", room)
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


@pytest.mark.parametrize("hangs", ["ftruncate", "rename"])
async def test_a_try_that_still_hangs_in_the_medium_keeps_the_next_one_away(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch, hangs: str
) -> None:
    """It was given up, and its thread was not: it would name the draft, or cut it, while the next one writes it."""
    inside, goes_on, true = threading.Event(), threading.Event(), getattr(os, hangs)

    def hang(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        inside.set()
        goes_on.wait(20)
        true(*args, **kwargs)

    monkeypatch.setattr("agent.opened.CLOSE_SECONDS", 0.1)
    sending = await held_sending(station, some_bytes(3 * MIB))
    monkeypatch.setattr(writing, "os", SimpleNamespace(**{**vars(os), hangs: hang}))
    first = asyncio.create_task(sent(rig.uplink(), sending))
    await asyncio.to_thread(inside.wait, 20)
    first.cancel()
    await asyncio.wait({first})
    monkeypatch.setattr(writing, "os", os)
    with pytest.raises(UplinkDown, match="earlier try"):
        await sent(rig.uplink(), sending)
    goes_on.set()
    async with asyncio.timeout(10):
        while not all(one.closed for files in writing._AT_WORK.values() for one in files):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await sent(rig.uplink(), sending)).strength is Strength.DIGEST
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


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


def test_a_folder_that_an_earlier_try_made_and_could_not_force_is_forced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[str] = []
    broken = [True]

    def force(folder: int) -> None:
        if broken.pop() if broken else False:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        forced.append(Path(f"/proc/self/fd/{folder}").readlink().name)

    monkeypatch.setattr(durable, "force_folder", force)
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match="Input/output"), below(root, "captures", "ab", make=True):
            pass
        assert (tmp_path / "captures").is_dir()
        with below(root, "captures", "ab", make=True):
            assert forced == [tmp_path.name, "captures"]
    finally:
        os.close(root)
