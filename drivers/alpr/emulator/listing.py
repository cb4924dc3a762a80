"""A Hikvision camera's own list of plates, behind digest: what it saw since then, in no order."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from drivers.alpr.emulator.passages import Passage

__all__ = ["PlateList"]

_TORONTO: Final = timezone(timedelta(hours=-5))


@dataclass(slots=True)
class PlateList:
    """One camera. `faults`: a letter for each answer: `5` an error, `c` cut, `x` no XML, `h` what is no list."""

    user: str = "admin"
    password: str = "pass-word-1"  # noqa: S105 - of an emulated camera
    faults: str = ""
    most: int = 10_000
    """Plates that it gives in one answer, the oldest first."""
    asked: list[str] = field(default_factory=list)
    """The `picTime` of each question."""
    _seen: list[tuple[int, str]] = field(default_factory=list)
    _nonces: set[str] = field(default_factory=set)

    def saw(self, passage: Passage) -> str:
        """Put a passage into the list; its `picName`."""
        local = passage.at.astimezone(_TORONTO)
        name = f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03}{len(self._seen) % 10}"
        told = (
            f"<Plate><captureTime>{local:%Y%m%dT%H%M%S}0000</captureTime>"
            f"<plateNumber>{passage.plate or ''}</plateNumber>"
            f"<picName>{name}</picName><country>CAN</country><laneNo>1</laneNo><direction>forward</direction></Plate>"
        )
        self._seen.append((int(name), told))
        return name

    def application(self) -> web.Application:
        """To be served by a test."""
        app = web.Application()
        app.router.add_post("/ISAPI/Traffic/channels/1/vehicleDetect/plates", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self._knows(request):
            nonce = secrets.token_hex(8)
            self._nonces.add(nonce)
            challenge = f'Digest realm="camera", qop="auth", nonce="{nonce}"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        body = await request.text()
        found = re.search(r"<picTime>(\d+)</picTime>", body)
        after = int(found[1]) if found else 0
        self.asked.append(str(after))
        fault, self.faults = self.faults[:1], self.faults[1:]
        if fault == "5":
            return web.Response(status=503)
        newer = [told for _, told in sorted(one for one in self._seen if one[0] > after)[: self.most]]
        random.Random(len(self.asked)).shuffle(newer)
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Plates version="2.0">{"".join(newer)}</Plates>'
        if fault == "c":
            text = text[: len(text) // 2]
        if fault == "x":
            text = "no list"
        if fault == "h":
            text = "<html><body>Log in</body></html>"
        await asyncio.sleep(0)
        return web.Response(text=text, content_type="application/xml")

    def _knows(self, request: web.Request) -> bool:
        said = dict(re.findall(r'(\w+)="?([^",]*)"?', request.headers.get("Authorization", "")))
        if said.get("nonce") not in self._nonces:
            return False

        def digest(*words: str) -> str:
            return hashlib.md5(":".join(words).encode(), usedforsecurity=False).hexdigest()

        who, what = digest(self.user, "camera", self.password), digest("POST", said.get("uri", ""))
        made = digest(who, said["nonce"], said.get("nc", ""), said.get("cnonce", ""), "auth", what)
        return said.get("response") == made
