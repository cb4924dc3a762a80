"""What changes at the dock, as Server-Sent Events: a full picture on connecting, then what is different.

Each listener has a short queue of its own; whoever does not read loses the connection, and gets a full picture when
it comes back. Events carry an id: a listener that names the last one it saw gets what it missed, where it is known.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent.station.views import View

__all__ = ["LISTENERS", "QUEUE", "News"]

LISTENERS: Final = 32
"""Listeners at once."""

QUEUE: Final = 32
"""Events that wait for one listener: some seconds of a busy dock."""

PACE: Final = 0.25
"""Seconds between two looks: a volume is writable for half a second at least, and that must be seen."""

HEARTBEAT: Final = 5.0
"""Seconds after which a listener hears at least that we are alive: the page calls itself stale after three of them."""

SLOW: Final = 10.0
"""Seconds in which one event must be taken."""

_KEPT: Final = 128
_KEPT_BYTES: Final = 1 << 20
_VOLATILE: Final = frozenset({"at", "uptime"})
"""What is another at each look, and news to nobody."""
_STEP: Final = 100_000_000

_HEADERS: Final = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}


class _Listener:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE)
        self.dropped = asyncio.Event()

    def tell(self, event: bytes) -> bool:
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped.set()
            return False
        return True


class News:
    """Looks while somebody listens. `picture` has `status`, `bays` (each with a name of its own) and `others`."""

    def __init__(self, picture: Callable[[], Awaitable[View]], headers: Mapping[str, str]) -> None:
        self._picture = picture
        self._headers = {**headers, **_HEADERS}
        self._run = secrets.token_hex(4)
        self._number = 0
        self._seen: View | None = None
        self._kept: deque[tuple[int, bytes]] = deque()
        self._turn = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._listeners: set[_Listener] = set()
        self._coming = 0
        self.dropped = 0
        """Listeners that were too slow."""

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def full(self) -> bool:
        """No further listener is taken."""
        return len(self._listeners) + self._coming >= LISTENERS

    async def run(self) -> None:
        """Look and tell, until cancelled."""
        log, failing, heard_at = structlog.get_logger("station"), False, 0.0
        while True:
            await self._wanted.wait()
            try:
                told = await self._look()
            except Exception as error:  # noqa: BLE001 - a picture that fails ends no daemon; listeners hear nothing
                if not failing:
                    log.warning("screen_failed", error=repr(error), todo="evidock status tells more")
                failing = True
            else:
                failing = False
                if told:
                    heard_at = monotonic()
                elif monotonic() - heard_at >= HEARTBEAT:
                    heard_at = monotonic()
                    self._tell(self._heartbeat())
            await asyncio.sleep(PACE)

    async def stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one listener for as long as it listens."""
        response = web.StreamResponse(headers=self._headers)
        self._coming += 1
        try:
            async with asyncio.timeout(SLOW):
                await response.prepare(request)
                if request.method == "HEAD":
                    return response
                await self._look()
        finally:
            self._coming -= 1
        # Between here and the queue nothing is awaited: no event is lost, and none is told twice.
        listener = _Listener()
        first = self._since(request.headers.get("Last-Event-ID", ""))
        self._listeners.add(listener)
        self._wanted.set()
        try:
            await self._serve(response, first, listener)
        except TimeoutError:
            listener.dropped.set()
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._wanted.clear()
        if listener.dropped.is_set():
            self.dropped += 1
            if request.transport is not None:
                request.transport.abort()  # what waits in its buffer is old by now
        return response

    async def _serve(self, response: web.StreamResponse, first: bytes, listener: _Listener) -> None:
        event = b"retry: 2000\n\n" + first
        while not listener.dropped.is_set():
            async with asyncio.timeout(SLOW):
                await response.write(event)
            event = await listener.queue.get()

    # -- what is told -------------------------------------------------------------------------------------------------

    async def _look(self) -> bool:
        """Tell what changed since the last look; whether anything did."""
        async with self._turn:
            picture = await self._picture()
            seen, self._seen = self._seen, picture
            if seen is None:
                return False
            changes = _difference(seen, picture)
            if changes is None:
                return False
            self._number += 1
            kind, told = changes
            event = self._written(kind, told, number=self._number)
            self._kept.append((self._number, event))
            while len(self._kept) > _KEPT or sum(len(kept) for _, kept in self._kept) > _KEPT_BYTES:
                self._kept.popleft()
            self._tell(event)
            return True

    def _tell(self, event: bytes) -> None:
        for listener in list(self._listeners):
            if not listener.tell(event):
                self._listeners.discard(listener)

    def _since(self, last: str) -> bytes:
        """What a listener missed, or everything."""
        run, _, number = last.partition("-")
        if run == self._run and number.isascii() and number.isdigit() and len(number) < 16:  # noqa: PLR2004 - digits
            first = self._kept[0][0] if self._kept else self._number + 1
            if first - 1 <= int(number) <= self._number:
                return b"".join(event for told, event in self._kept if told > int(number)) + self._heartbeat()
        return self._written("state", self._seen or {}, number=self._number)

    def _heartbeat(self) -> bytes:
        status = (self._seen or {}).get("status", {})
        return self._written("alive", {name: status.get(name) for name in ("at", "uptime")})

    def _written(self, kind: str, told: View, *, number: int | None = None) -> bytes:
        name = b"" if number is None else f"id: {self._run}-{number}\n".encode()
        return name + f"event: {kind}\ndata: ".encode() + json.dumps(told, separators=(",", ":")).encode() + b"\n\n"


def _difference(before: View, now: View) -> tuple[str, View] | None:
    """(`change`, what is different), (`state`, everything) where bays came or went, None where nothing is different."""
    if [bay["name"] for bay in before["bays"]] != [bay["name"] for bay in now["bays"]]:
        return "state", now
    told: View = {}
    if _lasting(before["status"]) != _lasting(now["status"]):
        told["status"] = now["status"]
    if bays := [bay for old, bay in zip(before["bays"], now["bays"], strict=True) if old != bay]:
        told["bays"] = bays
    if before["others"] != now["others"]:
        told["others"] = now["others"]
    return ("change", {"at": now["status"]["at"], **told}) if told else None


def _lasting(status: View) -> View:
    """Without what is another at each look; room counts where it changed as much as a person would see."""
    room = {name: value // _STEP for name, value in status["room"].items() if name in ("total", "free", "usable")}
    return {name: value for name, value in status.items() if name not in _VOLATILE} | {"room": room}
