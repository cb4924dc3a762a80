"""A GoPro camera on loopback, as its maker's client asks it, over a card that a test fills, with faults in its wire.

A wire is one letter for each file that is fetched: `r` whole, `k` the connection breaks half-way, `b` busy (503), `n`
ranges are not known.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from agent.testing.audit import Exhibit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

__all__ = ["SERIAL", "GoPro"]

SERIAL: Final = "C3461324500051"
_RANGE: Final = re.compile(r"bytes=(\d+)-")
_PORTION: Final = 256 * 1024


class GoPro:
    """A camera. What it was asked stands in `asked`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        """By path: `100GOPRO/GX010001.MP4`."""
        self.groups: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        """First, last and missing members of a group, by the path of its first file."""
        self.encoding = self.busy = False
        self.wire = ""
        self.shortened: set[str] = set()
        self.asked: list[str] = []
        self.port = 0
        self._created: dict[str, int] = {}
        self._ever: list[Exhibit] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.plug_in()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.unplug()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def record(self, path: str, data: bytes, *, created: int = 1_656_931_398) -> str:
        """A file on its card; its key."""
        if path in self.files:
            self._ever.remove(self._exhibit(path))
        self.files[path] = data
        self._created[path] = created + len(self._created) if path not in self._created else self._created[path]
        self._ever.append(self._exhibit(path))
        return f"DCIM/{path}"

    def ever(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return self._ever

    def still(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return [self._exhibit(path) for path in self.files]

    def _exhibit(self, path: str) -> Exhibit:
        return Exhibit(f"gopro:{SERIAL}", f"DCIM/{path}", hashlib.sha256(self.files[path]).digest())

    async def plug_in(self) -> None:
        """Start its server, at the port that it had before."""
        if self._runner is not None:
            return
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def unplug(self) -> None:
        """It is switched off: connections end in the middle."""
        runner, self._runner = self._runner, None
        if runner is not None:
            for connection in list(runner.server.connections if runner.server else ()):
                connection.force_close()
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if request.path.startswith("/videos/DCIM/"):
            return await self._file(request, request.path.removeprefix("/videos/DCIM/"))
        told = self._told(request.path)
        return web.Response(status=404) if told is None else web.json_response(told)

    def _told(self, path: str) -> dict[str, Any] | None:
        now = datetime.now()  # noqa: DTZ005 - a camera knows no zone
        answers: dict[str, dict[str, Any]] = {
            "/gopro/version": {"version": "2.0"},
            "/gopro/camera/keep_alive": {},
            "/gopro/camera/control/wired_usb": {},
            "/gopro/camera/analytics/set_client_info": {},
            "/gopro/camera/state": {
                "status": {"8": int(self.busy), "10": int(self.encoding), "54": 31_000_000, "70": 87},
                "settings": {},
            },
            "/gopro/camera/info": {
                "model_number": 62,
                "model_name": "HERO12 Black",
                "firmware_version": "H23.01.02.32.00",
                "serial_number": SERIAL,
                "ap_mac_addr": "2674f7f65f38",
                "ap_ssid": "GP24500051",
            },
            "/gopro/camera/get_date_time": {
                "date": f"{now.year}_{now.month:02}_{now.day:02}",
                "time": f"{now.hour:02}_{now.minute:02}_{now.second:02}",
                "dst": 0,
                "tzone": 0,
            },
            "/gopro/media/list": {"id": "1554375628411872255", "media": self._media()},
        }
        return answers.get(path)

    def _media(self) -> list[dict[str, Any]]:
        folders: dict[str, list[dict[str, Any]]] = {}
        members = {
            f"{first[:-8]}{number:04}{first[-4:]}"
            for first, (begin, end, _) in self.groups.items()
            for number in range(begin, end + 1)
        }
        for path, data in self.files.items():
            folder, name = path.split("/")
            told: dict[str, Any] = {"n": name, "cre": str(self._created[path]), "mod": str(self._created[path])}
            if path in self.groups:
                begin, end, missing = self.groups[path]
                gone = [str(number) for number in missing]
                told |= {"g": "1", "b": str(begin), "l": str(end), "m": gone, "t": "b", "s": str(len(data) * 3)}
            elif path in members:
                continue
            else:
                told |= {"glrv": "1000", "ls": "-1", "s": str(len(data))}
            folders.setdefault(folder, []).append(told)
        return [{"d": folder, "fs": files} for folder, files in folders.items()]

    async def _file(self, request: web.Request, path: str) -> web.StreamResponse:
        if path not in self.files:
            return web.Response(status=404)
        data = self.files[path]
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(data))})
        letter, self.wire = self.wire[:1] or "r", self.wire[1:]
        if letter == "b" or self.busy:
            return web.Response(status=503, text=json.dumps({"error": 1}))
        if path in self.shortened:
            data = data[: len(data) // 2]
        asked = _RANGE.fullmatch(request.headers.get("Range", ""))
        begin = int(asked[1]) if asked and letter != "n" else 0
        if begin and begin >= len(data):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
        answer = web.StreamResponse(status=206 if begin else 200)
        answer.content_length = len(data) - begin
        if begin:
            answer.headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        await answer.prepare(request)
        end = begin + (len(data) - begin) // 2 if letter == "k" else len(data)
        for at in range(begin, end, _PORTION):
            await answer.write(data[at : min(end, at + _PORTION)])
        if letter == "k":
            if request.transport is not None:
                request.transport.abort()
            return answer
        await answer.write_eof()
        return answer
