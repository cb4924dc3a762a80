"""Room on a medium of the uplink `folder`: what is not begun, what is continued, and what no file there can hold."""

from __future__ import annotations

import asyncio
import errno
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from agent.capture import PART_LENGTH
from agent.errors import UplinkDown
from agent.testing.devices import some_bytes
from agent.testing.sendings import held_sending
from agent.testing.uplink_conformance import sent
from agent.uplink.folder import writing
from agent.uplink.folder.medium import Medium
from tests.uplinks.folder_rig import MIB, FolderRig, continued

if TYPE_CHECKING:
    from pathlib import Path

    from agent.testing.station import Station


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderRig:
    return FolderRig(tmp_path / "folder", monkeypatch)


async def test_what_would_take_the_room_that_is_to_be_left_is_not_begun(rig: FolderRig, station: Station) -> None:
    sending = await held_sending(station, b"x")
    with pytest.raises(UplinkDown, match="is full") as down:
        await sent(rig.uplink(watermark=1 << 50), sending)
    assert "another one" in down.value.what_to_do
    assert list((rig.path / "captures").iterdir()) == []


def as_large_as(length: int, rig: FolderRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A medium on which so many bytes have room, what lies on it included."""

    def room(*_: object) -> int:
        return length - sum(one.stat().st_blocks * 512 for one in rig.path.rglob("data/*"))

    monkeypatch.setattr(Medium, "room", room)


async def test_what_a_draft_takes_is_room_for_its_own_capture(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one that was pulled when it was half full would be full for the one capture that it holds half of."""
    data = some_bytes(2 * PART_LENGTH + 77)
    as_large_as(len(data) + MIB, rig, monkeypatch)
    sending = await held_sending(station, data)
    await continued(rig, sending)


async def test_two_that_do_not_fit_together_are_not_both_begun(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither would be whole on that medium, and both halves would stay there."""
    datas = [some_bytes(3 * MIB, name) for name in ("one", "two")]
    as_large_as(5 * MIB, rig, monkeypatch)
    sendings = [await held_sending(station, data, key=str(at)) for at, data in enumerate(datas)]
    told = await asyncio.gather(*(sent(rig.uplink(), one) for one in sendings), return_exceptions=True)
    (waits,) = [one for one in told if isinstance(one, BaseException)]
    assert isinstance(waits, UplinkDown)
    assert waits.alone, "a medium that is being written to is not called full: somebody would take it out"
    assert len(await rig.arrived()) == 1
    assert list(rig.path.glob("captures/??/.*")) == []


async def test_a_file_system_that_has_no_files_of_this_length_gets_no_byte_of_one(
    rig: FolderRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT32 would take 4 GiB of it, which lie there from then on. `lseek` tells where no file is as long."""

    def lseek(*_: object) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(writing, "os", SimpleNamespace(**{**vars(os), "lseek": lseek}))
    with pytest.raises(UplinkDown, match="no file of this length") as down:
        await sent(rig.uplink(), await held_sending(station, some_bytes(MIB)))
    assert "exFAT" in down.value.what_to_do
    assert rig.count == 0
