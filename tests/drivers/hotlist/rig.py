"""A station with hotlists, a publisher of lists, and reads as the receivers offer them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import zipfile
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.capture import Device
from agent.testing.rig import running
from agent.testing.station import Station
from drivers.alpr.hotlist.driver import Hotlists
from drivers.alpr.hotlist.emulator import Publisher, public_pem
from drivers.alpr.message import Message
from drivers.alpr.offer import ReadOffer
from drivers.alpr.read import Candidate, Image, Plate, Read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping
    from pathlib import Path

    from agent.capture import Holding

AT = datetime(2026, 11, 22, 7, 41, 3, 120000, tzinfo=UTC)
PICTURE = b"\xff\xd8\xff\xe0" + b"picture of a car " * 400
CAMERA = Device(id="alpr:front", family="alpr", driver="front", maker="Bench", place="front")
LISTED = ("EVDK042", "EVDK31B", "EVDK701", "EVDK15")


def read_of(plate: str | None, number: int = 1, *, camera: Device = CAMERA, **more: Any) -> ReadOffer:  # noqa: ANN401 - handed through
    """One read of a camera, with a picture."""
    chars, candidates = more.pop("chars", ()), more.pop("candidates", ())
    shown = None
    if plate is not None:
        others = tuple(Candidate(*one) for one in candidates)
        shown = Plate(
            plate, more.pop("likelihood", 0.92), tuple(chars), region=more.pop("region", None), candidates=others
        )
    body = json.dumps({"plate": plate, "number": number, "pad": "x" * 500}).encode()
    read = Read(
        vendor="generic",
        device=camera.id,
        key=("generic", camera.id, f"message-{number}"),
        captured_at=AT,
        plate=shown,
        images=(Image("plate", PICTURE),),
        **more,
    )
    return ReadOffer(camera, read, Message(body, "application/json"))


class Bench:
    """A publisher and the options of a driver that knows its key."""

    def __init__(self, folder: Path, **more: Any) -> None:  # noqa: ANN401 - handed through
        self.folder = folder
        (folder / "published").mkdir(parents=True)
        (folder / "drop").mkdir()
        self.publisher = Publisher(folder / "published")
        (folder / "publisher.pem").write_bytes(public_pem(self.publisher.key))
        self.list: dict[str, Any] = {
            "name": "region",
            "layout": "ncic_fixed",
            "keys": [folder / "publisher.pem"],
            "folder": folder / "drop",
            **more.pop("list", {}),
        }
        self.more = more
        self.entries: list[dict[str, Any]] = []
        """What orders let stand in the custody log."""
        self.station = Station(folder / "station")

    def driver(self) -> Hotlists:
        """As after a restart."""
        return Hotlists(
            Hotlists.Options.model_validate(
                {
                    "use": "alpr.hotlist",
                    "name": "hotlists",
                    "folder": self.folder / "hotlists",
                    "rescan": 0.05,
                    "list": [self.list],
                    **self.more,
                }
            )
        )

    @asynccontextmanager
    async def open(self, plates: Iterable[str] = LISTED) -> AsyncIterator[Hotlists]:
        """A running driver, with a list in use where `plates` are given."""
        async with self.station as station:
            driver = self.driver()
            station.screens.append(driver)
            async with running(driver, station):
                if listed := tuple(plates):
                    await self.put_up(driver, *listed)
                yield driver
            station.screens.remove(driver)

    async def put_up(self, driver: Hotlists, *plates: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - handed through
        """A newer list, imported as a person would."""
        self.publisher.publish(iter(plates))
        return await self.order(driver, "import", file=str(self.publisher.file), why="a test", **more)

    async def order(self, driver: Hotlists, word: str, **arguments: Any) -> Any:  # noqa: ANN401 - handed through
        """Say something."""

        async def record(detail: Mapping[str, Any]) -> None:
            self.entries.append({"word": word, **detail})

        return await driver.order(word, arguments, actor="tester", record=record)

    def archive(self, held: Holding) -> zipfile.ZipFile:
        """What is kept of a hit."""
        return zipfile.ZipFile(io.BytesIO(b"".join(self.station.spool.read(held.digest.sha256))))


async def until(true: Callable[[], bool], within: float = 30.0) -> None:
    """Wait for something that a busy machine may take its time for."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)


def trace(folder: Path, *words: str) -> list[str]:
    """Files below a folder that hold one of these words, or bear it."""
    wanted = [word.encode() for word in words]
    return [
        str(path)
        for path in sorted(folder.rglob("*"))
        if any(word in os.fsencode(path.name) for word in wanted)
        or (path.is_file() and any(word in path.read_bytes() for word in wanted))
    ]
