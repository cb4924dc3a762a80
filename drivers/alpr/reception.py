"""One camera's request: who sent it, and the answer that the camera needs after its message was heard.

Success is answered when `take` returned for every read of the message: then each is held, or by the screen's word not
to be kept. What cannot be kept is answered as the maker's cameras understand it: with 503, or by closing the
connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, hdrs, web
from multidict import CIMultiDict

from agent.errors import AgentError, DeviceError, JournalError, SpoolDamaged, SpoolError
from agent.listening import admit, hang_up
from drivers.alpr.door import Door
from drivers.alpr.hearing import Hearing, is_fault
from drivers.alpr.makers import MAKERS, generic
from drivers.alpr.pacing import Memory, Pace

if TYPE_CHECKING:
    from agent.driver import Intake
    from drivers.alpr.makers.heard import Heard
    from drivers.alpr.options import CameraOptions

__all__ = ["Camera", "Reception"]

_COPIES: Final = 3
"""How often a message is in memory at most: as it came, as what it says, and its pictures."""
_SLOW: Final = 0.5
"""Seconds by which an answer to a stranger is late."""


class Camera:
    """One camera of the configuration, while the driver runs."""

    def __init__(self, driver: str, options: CameraOptions) -> None:
        self.options, maker = options, MAKERS[options.maker]
        mapping = options.mapping

        def mapped(body: bytes, content_type: str, camera: str) -> Heard:
            if mapping is None:  # pragma: no cover - the options see to it
                raise RuntimeError("a camera without a mapping")
            return generic.heard(mapping, body, content_type, camera)

        self.hearing = Hearing(driver, options, maker.heard or mapped, title=maker.title, spec=maker.spec)
        self.watch = self.hearing.watch
        self.door = Door(options)
        self.pace = Pace(options.rate, options.burst, options.at_once)
        self.closes = (maker.cannot if mapping is None else mapping.cannot) == "close"
        """Whether a closed connection, and not 503, makes it send again."""


class Reception:
    """Where all cameras of one driver knock."""

    def __init__(self, cameras: dict[str, Camera], intake: Intake, memory: int) -> None:
        self._cameras, self._intake = cameras, intake
        self._memory = Memory(memory)

    def application(self) -> web.Application:
        """Return a new application; each start of the listener needs one."""
        app = web.Application()
        admit(app, self._answer, self._refusal)
        return app

    # -- who -----------------------------------------------------------------------------------------------------------

    def _who(self, request: web.Request) -> tuple[Camera | None, str]:
        """(the camera that the path names, what stands behind its name)."""
        match request.path.split("/", 4):
            case ["", "alpr", maker, name, *rest]:
                camera = self._cameras.get(name)
                if camera is not None and camera.options.maker == maker:
                    return camera, "".join(rest).rstrip("/")
        return None, ""

    async def _refusal(self, request: web.Request) -> web.Response | None:
        camera, shown = self._who(request)
        if camera is None:
            await asyncio.sleep(_SLOW)
            return web.Response(status=404, text="No camera of this station has this address.\n")
        challenges = camera.door.refuses(request, shown)
        if challenges is not None:
            asks = camera.options.auth in ("basic", "digest") and hdrs.AUTHORIZATION not in request.headers
            if not asks:  # who is to be challenged comes without anything first
                camera.watch.count("refused")
                camera.hearing.trouble("refused", peer=request.remote or "?")
                await asyncio.sleep(_SLOW)
            headers = CIMultiDict((hdrs.WWW_AUTHENTICATE, one) for one in challenges)
            return web.Response(status=401, headers=headers, text="This station does not know who sends this.\n")
        if request.method not in (hdrs.METH_POST, hdrs.METH_PUT):
            return web.Response(status=405, headers={hdrs.ALLOW: "POST"}, text="Reads are posted here.\n")
        return None

    # -- what ----------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        camera, _ = self._who(request)
        if camera is None:  # pragma: no cover - the refusal above
            return web.Response(status=404)
        most = camera.options.body_max
        stated = request.content_length
        length = most if stated is None else min(stated, most)
        async with camera.pace.turn(), self._memory.room(camera.options.name, _COPIES * length):
            try:
                body, cut = await _body(request, most)
            except (ClientError, ConnectionError, TimeoutError, web.HTTPException):
                camera.watch.count("cut_off")
                return hang_up(request)
            try:
                kind = request.headers.get(hdrs.CONTENT_TYPE, "")
                read = await camera.hearing.hear(self._intake, body, kind, cut=cut)
            except (JournalError, SpoolDamaged):
                raise  # the listener closes the connection and ends the driver: nothing may be promised any more
            except (DeviceError, SpoolError) as error:
                if await self._steps_aside(camera, body, error):
                    return _done(camera)
                camera.hearing.not_kept(error)
                return hang_up(request) if camera.closes else _later()
            return web.Response(status=413) if cut and not read else _done(camera)

    async def _steps_aside(self, camera: Camera, body: bytes, error: AgentError) -> bool:
        """A message that meets a fault of ours would come again for ever, or never: it is kept for a person."""
        if not is_fault(error) or not (camera.hearing.failed_before(body) or camera.closes):
            return False
        return await camera.hearing.step_aside(self._intake, body, error)


async def _body(request: web.Request, most: int) -> tuple[bytes, bool]:
    """(the body, whether it was longer than `most` and its rest was thrown away)."""
    gathered, length = list[bytes](), 0
    while part := await request.content.readany():
        if length < most:
            gathered.append(part[: most - length])
        length += len(part)
    if request.content_length is not None and length != request.content_length:
        raise ConnectionError("the body ended too early")
    return b"".join(gathered), length > most


def _done(camera: Camera) -> web.Response:
    mapping = camera.options.mapping
    if mapping is None:
        return web.Response(status=200)
    return web.Response(status=mapping.ok_status, text=mapping.ok_body or None)


def _later() -> web.Response:
    return web.Response(status=503, headers={hdrs.RETRY_AFTER: "10"}, text="Not kept. Send it again.\n")
