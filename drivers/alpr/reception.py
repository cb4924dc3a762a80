"""One camera's message: who sent it, what it says, what is offered of it, and the answer that the camera needs.

Success is answered when `take` returned for every read of the message: then each is held, or by the screen's word not
to be kept. What cannot be kept is answered as the maker's cameras understand it: with 503, or by closing the
connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import ClientError, hdrs, web
from multidict import CIMultiDict

from agent.capture import Device, Observation
from agent.errors import DeviceError, JournalError, SpoolDamaged, SpoolError
from agent.listening import hang_up
from drivers.alpr.door import Door
from drivers.alpr.makers import MAKERS, axis, generic
from drivers.alpr.message import Message, Removed
from drivers.alpr.offer import ReadOffer
from drivers.alpr.pacing import Memory, Pace
from drivers.alpr.read import Position, Read
from drivers.alpr.unparsed import Unparsed, skeleton
from drivers.alpr.watching import Watch
from firmware_specs import SpecError

if TYPE_CHECKING:
    from agent.capture import Json
    from agent.driver import Intake
    from drivers.alpr.makers.heard import Heard
    from drivers.alpr.options import CameraOptions

__all__ = ["Camera", "Reception"]

_SLOW: Final = 0.5
"""Seconds by which an answer to a stranger is late."""
_TOLD_EVERY: Final = 3600.0
"""Seconds between two entries about messages that cannot be read."""
NOT_PARSED: Final = "alpr.not_parsed"


class Camera:
    """One camera of the configuration, while the driver runs."""

    def __init__(self, driver: str, options: CameraOptions) -> None:
        self.options, self.maker = options, MAKERS[options.maker]
        self.door = Door(options)
        self.watch = Watch(options.name, clock_off=options.clock_off, absent=options.absent)
        self.device = Device(
            id=f"alpr:{driver}/{options.name}", family="alpr", driver=driver, maker=self.maker.title, spec=options.maker
        )
        self.pace = Pace(options.rate, options.burst, options.at_once)
        self.passages = axis.Passages()
        self.names: dict[str, str] = {}
        """Names of its channels, as its heartbeats tell them."""
        self.told_at: float | None = None
        """When an unread message was made an entry last."""

    def heard(self, body: bytes, content_type: str) -> Heard:
        """What a message says. Raises `SpecError`."""
        if self.options.mapping is not None:
            return generic.heard(self.options.mapping, body, content_type, self.options.name)
        if self.maker.heard is None:  # pragma: no cover - the options see to it
            raise SpecError("a camera without a mapping")
        return self.maker.heard(body, content_type, self.options.name)

    @property
    def closes(self) -> bool:
        """Whether a closed connection, and not 503, makes it send again."""
        mapping = self.options.mapping
        return (self.maker.cannot if mapping is None else mapping.cannot) == "close"


class Reception:
    """Where all cameras of one driver knock."""

    def __init__(self, driver: str, cameras: dict[str, Camera], intake: Intake, memory: int) -> None:
        self._cameras, self._intake = cameras, intake
        self._memory = Memory(memory)
        self._log = structlog.get_logger("driver").bind(driver=driver)
        self._said: set[tuple[str, str]] = set()

    def application(self) -> web.Application:
        """Return a new application; each start of the listener needs one."""
        app = web.Application()
        app.router.add_route("*", r"/{rest:[\s\S]*}", self._answer, expect_handler=self._expected)
        return app

    # -- who -----------------------------------------------------------------------------------------------------------

    def _who(self, request: web.Request) -> tuple[Camera | None, str]:
        """(the camera that the path names, what stands behind its name)."""
        steps = request.path.split("/", 4)
        camera = self._cameras.get(steps[3]) if len(steps) > 3 and steps[1] == "alpr" else None  # noqa: PLR2004 - /alpr/maker/name
        if camera is None or steps[2] != camera.options.maker:
            return None, ""
        return camera, steps[4].rstrip("/") if len(steps) > 4 else ""  # noqa: PLR2004 - what follows

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
                self._trouble(camera, "refused", peer=request.remote or "?")
                await asyncio.sleep(_SLOW)
            headers = CIMultiDict((hdrs.WWW_AUTHENTICATE, one) for one in challenges)
            return web.Response(status=401, headers=headers, text="This station does not know who sends this.\n")
        if request.method not in (hdrs.METH_POST, hdrs.METH_PUT):
            return web.Response(status=405, headers={hdrs.ALLOW: "POST"}, text="Reads are posted here.\n")
        return None

    async def _expected(self, request: web.Request) -> web.StreamResponse | None:
        """Ask for the body only of who may send it."""
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
        return None

    # -- what ----------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._refusal(request)) is not None:
            return refusal
        camera, _ = self._who(request)
        if camera is None:  # pragma: no cover - the refusal above
            return web.Response(status=404)
        most = camera.options.body_max
        stated = request.content_length
        async with camera.pace.turn(), self._memory.room(most if stated is None else min(stated, most)):
            try:
                body, cut = await _body(request, most)
            except (ClientError, ConnectionError, TimeoutError, web.HTTPException):
                camera.watch.count("cut_off")
                return hang_up(request)
            camera.watch.heard()
            camera.watch.count("messages")
            await self._intake.sight(camera.device)
            try:
                return await self._taken(camera, body, cut=cut, content_type=request.headers.get(hdrs.CONTENT_TYPE, ""))
            except (JournalError, SpoolDamaged):
                raise  # the listener closes the connection and ends the driver: nothing may be promised any more
            except (DeviceError, SpoolError) as error:
                # Its text may name a capture, and no line of ours is to say when which one came.
                camera.watch.count("not_kept")
                self._trouble(camera, "not_kept", error=type(error).__name__, todo=error.what_to_do)
                return hang_up(request) if camera.closes else _later()

    async def _taken(self, camera: Camera, body: bytes, *, cut: bool, content_type: str) -> web.Response:
        if cut:
            camera.watch.count("too_large")
        try:
            heard = camera.heard(body, content_type)
        except SpecError as error:
            return await self._not_parsed(camera, body, content_type, str(error), cut=cut)
        if heard.ignored is not None:
            camera.watch.count("other")
            camera.names.update(heard.names)
            self._named(camera)
        if heard.occupants:
            camera.watch.count("occupants", heard.occupants)
        for read, message in heard.reads:
            await self.offer(camera, *(_shortened(read, message) if cut else (read, message)))
        return _done(camera)

    async def offer(self, camera: Camera, read: Read, message: Message) -> None:
        """Return when the read is held, or by a screen's word not to be kept."""
        camera.watch.read(read)
        if camera.options.maker == "axis":
            before = camera.passages.missing
            read = camera.passages.follow(read, monotonic())
            if camera.passages.missing > before:
                camera.watch.count("missing", camera.passages.missing - before)
        await self._intake.take(ReadOffer(camera.device, _placed(read, camera.options), message))
        if message.way != "poll":
            camera.watch.bring(read)

    # -- what is wrong -------------------------------------------------------------------------------------------------

    async def _not_parsed(self, camera: Camera, body: bytes, content_type: str, why: str, *, cut: bool) -> web.Response:
        """Counted and told, and answered as success: what cannot be read now cannot be read when it is sent again."""
        camera.watch.count("not_parsed")
        self._trouble(camera, "not_parsed", why=why)
        until = camera.options.keep_unparsed_until
        if until is not None and datetime.now(UTC).date() <= until:
            await self._intake.take(Unparsed(camera.device, body))
        elif camera.told_at is None or monotonic() - camera.told_at > _TOLD_EVERY:
            camera.told_at = monotonic()
            detail: dict[str, Json] = {"why": why, "message": skeleton(body, content_type)}
            await self._intake.observe(Observation(camera.device.id, NOT_PARSED, datetime.now(UTC), detail))
        return web.Response(status=413) if cut else _done(camera)

    def _trouble(self, camera: Camera, event: str, **more: object) -> None:
        """Say it once for each camera; how often it was so, the notice says."""
        if (camera.options.name, event) not in self._said:
            self._said.add((camera.options.name, event))
            self._log.warning("alpr_trouble", camera=camera.options.name, trouble=event, **more)

    def _named(self, camera: Camera) -> None:
        while len(camera.names) > 256:  # noqa: PLR2004 - channels of one device
            del camera.names[next(iter(camera.names))]


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


def _shortened(read: Read, message: Message) -> tuple[Read, Message]:
    """Of a message that was cut at the limit: without the picture that the cut went through."""
    whole = len(message.body)
    lost = {part for part, _, end in message.pictures if end == whole}
    pieces = [Removed(start, end, "picture over the limit") for part, start, end in message.pictures if part in lost]
    kept = tuple(one for one in read.images if one.part is None or one.part not in lost)
    return replace(read, images=kept).flagged("picture_over_limit"), message.without(*pieces)


def _placed(read: Read, options: CameraOptions) -> Read:
    """With the place of a camera that stands for good, where the message tells none."""
    if read.position is not None or options.place is None:
        return read
    return replace(read, position=Position(options.place.lat, options.place.lon, "configured at the station"))


def _done(camera: Camera) -> web.Response:
    mapping = camera.options.mapping
    if mapping is None:
        return web.Response(status=200)
    return web.Response(status=mapping.ok_status, text=mapping.ok_body or None)


def _later() -> web.Response:
    return web.Response(status=503, headers={hdrs.RETRY_AFTER: "10"}, text="Not kept. Send it again.\n")
