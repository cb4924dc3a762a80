"""A receiver and one camera that pushes to it: for the conformance suite, and for the driver's own tests."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from agent.capture import Device
from agent.testing.conformance import Rig
from agent.testing.ports import free_port
from drivers.alpr.container import Container
from drivers.alpr.emulator import MESSAGES, Passage, Sender
from drivers.alpr.makers import MAKERS, generic, onvif
from drivers.alpr.makers.mapping import Mapping
from drivers.alpr.offer import key_of
from drivers.alpr.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from drivers.alpr.emulator import Sent
    from drivers.alpr.message import Message
    from drivers.alpr.read import Read

LONG = "EVIDOCK_ALPR_LONG" in os.environ
"""Everything with everything: `make alpr`. Else each fault with some maker, and each maker with some fault."""
SECRET = "0123456789abcdef"  # noqa: S105 - of a test
AUTOVU = {
    "encoding": "xml",
    "plate": "AutoVu/Plate",
    "issuer": "AutoVu/State",
    "captured_at": ["AutoVu/UTCDate", "AutoVu/UTCTime"],
    "captured_format": "%Y/%m/%d %H:%M:%S.%f",
    "captured_zone": "UTC",
    "device": "AutoVu/CameraName",
    "event": "AutoVu/Guid",
    "image": [{"path": "AutoVu/PlateImage", "role": "plate"}],
    "ok_body": "OK",
}
Fault = TypeVar("Fault")
CAMERA = Device("alpr:car42/front", "alpr", "car42")


def pairs(makers: Iterable[str], faults: Iterable[Fault]) -> list[tuple[str, Fault]]:
    """(maker, fault): each with each, or in the short form each fault with one maker and each maker with one fault."""
    some, all_of_them = list(makers), list(faults)
    if LONG:
        return [(maker, fault) for maker in some for fault in all_of_them]
    count = max(len(some), len(all_of_them))
    return [(some[number % len(some)], all_of_them[number % len(all_of_them)]) for number in range(count)]


def options(folder: Path, maker: str = "hikvision", **more: Any) -> Receiver.Options:  # noqa: ANN401
    """A receiver with one camera called `front`, whose secret stands in its path."""
    secret = folder / "front.secret"
    if not secret.exists():
        secret.write_text(SECRET)
    listen = {"address": "127.0.0.1", "port": free_port(), "plain": True, "grace": 0.2, **more.pop("listen", {})}
    camera = {"name": "front", "maker": maker, "secret_file": secret, **more.pop("camera", {})}
    camera |= {"mapping": AUTOVU} if maker == "generic" and "mapping" not in camera else {}
    camera = {name: value for name, value in camera.items() if value is not None}
    told = {"use": "alpr.receiver", "name": "car42", "rescan": 0.05, "listen": listen, "camera": [camera]}
    return Receiver.Options.model_validate({**told, "state": folder / "alpr", **more})


def sender(told: Receiver.Options, **more: Any) -> Sender:  # noqa: ANN401
    camera = told.camera[0]
    path = f"/alpr/{camera.maker}/{camera.name}" + (f"/{SECRET}" if camera.auth == "path" else "")
    return Sender("127.0.0.1", told.listen.port, path, **more)


def read_of(maker: str, sent: Sent, name: str = "front") -> tuple[Read, Message]:
    if maker == "onvif":
        return onvif.heard(sent.body, "", "car42").reads[0]
    heard = MAKERS[maker].heard
    if heard is None:
        mapping = Mapping.model_validate(AUTOVU)
        return generic.heard(mapping, sent.body, sent.content_type, name).reads[0]
    return heard(sent.body, sent.content_type, name).reads[0]


class PushRig(Rig):
    """One camera of a maker. It sends again until it is answered, and forgets then."""

    keeps = False
    screened = "alpr"
    way = "http"
    topic: str | None = None
    """How its messages come."""

    def __init__(self, tmp_path: Path, maker: str) -> None:
        self.maker = maker
        if maker in MAKERS:
            self.options = options(tmp_path, maker)
        self._waiting: dict[str, Sent] = {}
        self._ever: dict[str, Sent] = {}
        self._short: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        self._count = 0

    def driver(self) -> Receiver:
        return Receiver(self.options)

    def record(self, name: str, data: bytes) -> str:
        self._count += 1
        passage = Passage(identity=name, pictures={"overview": data} if data else {})
        sent = MESSAGES[self.maker](passage.later(sum(name.encode())), "")
        key = key_of(read_of(self.maker, sent)[0])
        self._waiting[key] = self._ever[key] = sent
        self._start()
        return key

    def content(self, key: str, data: bytes) -> bytes:  # noqa: ARG002 - it is in the message
        read, message = read_of(self.maker, self._ever[key])
        return Container(read, replace(message, way=self.way, topic=self.topic)).build()

    def holds(self, key: str) -> bool:
        return key in self._waiting

    def answered(self, key: str) -> bool:
        return key not in self._waiting

    def shorten(self, key: str) -> None:
        self._short.add(key)

    def plug_in(self) -> None:
        """A camera that comes back does not know which answers were on their way, and sends all of it again."""
        self._waiting |= self._ever
        self._start()

    def _start(self) -> None:
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    def unplug(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    async def _send(self) -> None:
        while True:
            for key, sent in list(self._waiting.items()):
                short = key in self._short
                one = sender(self.options, wire="l" if short else "", patience=0.2 if short else 5.0)
                if await one.once(sent) in range(200, 300) and self._waiting.get(key) is sent:
                    del self._waiting[key]
            await asyncio.sleep(0.02)

    def end(self) -> None:
        """Let nothing run any more."""
        self.unplug()
