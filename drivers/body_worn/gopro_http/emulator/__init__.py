"""A GoPro camera on loopback, as its maker's client asks it, over a card that a test fills.

Faults in its wire are those of `agent.testing.card_server`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from aiohttp import web

from agent.testing.card_server import CardServer, none

__all__ = ["SERIAL", "GoPro"]

SERIAL: Final = "C3461324500051"


class GoPro(CardServer):
    """A camera; files by their path, `100GOPRO/GX010001.MP4`. What it was asked stands in `asked`."""

    def __init__(self) -> None:
        super().__init__(f"gopro:{SERIAL}", "DCIM/")
        self.groups: dict[str, tuple[int, int, tuple[int, ...]]] = {}
        """First, last and missing members of a group, by the path of its first file."""
        self.encoding = self.busy = False
        self.serial = SERIAL
        self.asked: list[str] = []
        self._created: dict[str, int] = {}

    def record(self, name: str, data: bytes, *, created: int = 1_656_931_398) -> str:
        """A file on its card; its key."""
        self._created[name] = self._created.get(name, created + len(self._created))
        return super().record(name, data)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """See `CardServer`."""
        self.asked.append(request.path_qs)
        if request.path.startswith("/videos/DCIM/"):
            if self.busy and request.method == "GET":
                return web.Response(status=503, text=json.dumps({"error": 1}))
            return await self.give(request, request.path.removeprefix("/videos/DCIM/"))
        told = self._told(request.path)
        return none() if told is None else web.json_response(told)

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
                "serial_number": self.serial,
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
