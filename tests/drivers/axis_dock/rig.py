"""A destination and the controller that sends to it: for the conformance suite, and for the driver's own tests."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agent.testing.conformance import Rig
from agent.testing.devices import some_bytes
from agent.testing.ports import free_port
from drivers.body_worn.axis_dock import AxisDock
from drivers.body_worn.axis_dock.emulator import Controller, Recording

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Recording().container


def recording(**more: object) -> Recording:
    clips = [("20261122_101112_7CF7.mkv", some_bytes(2 << 20, 1)), ("20261122_101612_8D08.mkv", some_bytes(70_000, 2))]
    return Recording(**{"clips": clips, **more})  # type: ignore[arg-type]


def options(folder: Path, **more: Any) -> AxisDock.Options:  # noqa: ANN401
    """Options of a destination below a folder, over TLS with a certificate that `enrol` makes."""
    listen = {"address": "127.0.0.1", "port": free_port(), "certificate": folder / "tls.pem", "key": folder / "tls.key"}
    listen |= {"grace": 0.2} | more.pop("listen", {})
    return AxisDock.Options.model_validate(
        {
            "use": "body_worn.axis_dock",
            "name": "axis-1",
            "rescan": 0.05,
            "listen": listen,
            "state": folder / "axis",
            "password_file": folder / "password",
            "categories": {"5": "Traffic"},
            **more,
        }
    )


class AxisRig(Rig):
    keeps = False

    def __init__(self, tmp_path: Path) -> None:
        self.options = options(tmp_path)
        self.connection = json.loads(AxisDock.enrol(self.options).content)
        self._waiting: dict[str, bytes] = {}
        self._ever: dict[str, bytes] = {}
        self._short: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def driver(self) -> AxisDock:
        return AxisDock(self.options)

    def record(self, name: str, data: bytes) -> str:
        self._waiting[name] = self._ever[name] = data
        self._start()
        return f"{PLACE}/{name}"

    def holds(self, key: str) -> bool:
        return key.removeprefix(f"{PLACE}/") in self._waiting

    def shorten(self, key: str) -> None:
        self._short.add(key.removeprefix(f"{PLACE}/"))

    def plug_in(self) -> None:
        """A controller that comes back does not know which answers were on their way, and sends all of it again."""
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
        async with Controller(self.connection, pause=0.02) as controller:
            while True:
                for name, data in list(self._waiting.items()):
                    controller.wire = "s" * 1000 if name in self._short else ""
                    await controller.say("PUT", PLACE, {**Recording().about, "Status": "Transferring"})
                    putting = controller.put(f"{PLACE}/{name}", {"StartTimeISO": "2026-11-22T10:11:12Z"}, data)
                    try:
                        await asyncio.wait_for(putting, 0.2 if name in self._short else None)
                    except TimeoutError:
                        continue
                    if self._waiting.get(name) is data:
                        del self._waiting[name]
                await asyncio.sleep(0.01)
