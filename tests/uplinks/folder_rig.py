"""A folder that is a medium, for tests of the uplink `folder`: writes to it can be made to fail, and it goes away."""

from __future__ import annotations

import errno
import hashlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent import cli, durable
from agent.capture import PART_LENGTH
from agent.errors import UplinkDown
from agent.testing.uplink_conformance import UplinkRig, sent
from agent.uplink.folder import FolderUplink, writing
from agent.uplink.folder.medium import prepare

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.testing.sendings import HeldSending
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


def evidock(*words: object) -> Any:  # noqa: ANN401 - typer's own type
    return CliRunner().invoke(cli.app, ["handover", *map(str, words)])


async def continued(rig: FolderRig, sending: HeldSending) -> None:
    """Pull it in the second part: what was whole of the capture is not written again."""
    await rig.cut(PART_LENGTH + 5 * MIB)
    with pytest.raises(UplinkDown, match="failed"):
        await sent(rig.uplink(), sending)
    before = rig.count
    await sent(rig.uplink(), sending)
    assert rig.count - before < sending.holding.digest.length - PART_LENGTH + MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
