"""The room's button, of whatever kind: an HTTP request, a message of a broker, an input that others observe."""

from __future__ import annotations

import asyncio
import hmac
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from agent.errors import AgentError, ConfigError, DeviceRefused, Problem, in_words
from agent.listening import check_certificates, listening
from agent.mqtt import Session, Subscription

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent.capture import Observation
    from agent.mqtt import Message
    from drivers.interview_room.live.options import HttpOptions, LiveOptions

__all__ = ["Buttons"]

_WORDS: Final = ("start", "stop", "mark", "toggle")
_TOKEN_MIN: Final = 16
_TOKEN_MAX: Final = 4096
_AGAIN: Final = 5.0
_HEARD_MAX: Final = 64


class Buttons:
    """All of one room. `pressed` is called with a word, who pressed, and returns when it stands on the disk."""

    def __init__(self, options: LiveOptions, pressed: Callable[..., Awaitable[None]]) -> None:
        """Raises `ConfigError` where a file that an option names cannot be used."""
        self._options, self._pressed = options, pressed
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._heard: asyncio.Queue[str] = asyncio.Queue(_HEARD_MAX)
        self._level: bool | None = None
        self._session: Session | None = None
        self._token = ""
        self.url: str | None = None
        """Where the button is served, while it is."""
        if options.http is not None:
            check_certificates(options.http, prefix="http")
            self._token = _token(options.http)
        if options.mqtt is not None:
            self._session = Session(options.mqtt, name=options.name, topics=[Subscription(options.mqtt.topic)])

    @property
    def trouble(self) -> str | None:
        """Why the broker is not there; None where it is, or none is configured."""
        return None if self._session is None or self._session.up else self._session.trouble

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._act_on_heard())
            if self._options.http is not None:
                group.create_task(self._serve(self._options.http))
            if self._session is not None:
                group.create_task(self._session.listen(self._message))

    # -- HTTP ---------------------------------------------------------------------------------------------------------

    async def _serve(self, options: HttpOptions) -> None:
        app = web.Application(client_max_size=4096)
        app.router.add_post("/{word}", self._request)
        while True:
            try:
                async with listening(app, options) as bound:
                    self.url = bound.url
                    await bound.serve()
            except DeviceRefused as error:  # the address is taken, or not there yet
                self._log.warning("room_button_unserved", error=str(error), todo=error.what_to_do)
                await asyncio.sleep(_AGAIN)
                app = web.Application(client_max_size=4096)
                app.router.add_post("/{word}", self._request)

    async def _request(self, request: web.Request) -> web.Response:
        """204 when it stands on the disk; anything else lets the button try again."""
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, b"Bearer " + self._token.encode()):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        word = request.match_info["word"]
        if word not in _WORDS:
            return web.Response(status=404)
        try:
            await self._pressed(word, f"http:{request.remote}")
        except AgentError as error:
            return web.Response(status=503, text=str(error), headers={"Retry-After": "2"})
        return web.Response(status=204)

    # -- a broker -----------------------------------------------------------------------------------------------------

    async def _message(self, message: Message) -> None:
        options = self._options.mqtt
        if options is None or message.retained:  # what a broker kept was pressed long ago
            return
        said = message.payload[: 4 * 256].decode("utf-8", "replace").strip()
        words = {options.start: "start", options.stop: "stop", options.mark: "mark"}
        if (word := words.get(said)) is None:
            self._log.info("room_button_not_understood", topic=options.topic)
            return
        await self._pressed(word, f"mqtt:{options.topic}")

    # -- what another driver observes ---------------------------------------------------------------------------------

    def heard(self, observation: Observation) -> None:
        """Called for every observation of this station: from memory, and without waiting."""
        options = self._options.input
        if options is None or (observation.device, observation.kind) != (options.device, options.kind):
            return
        on = observation.detail.get("on")
        if not isinstance(on, bool) or on is self._level:
            return
        was, self._level = self._level, on
        if options.acts == "level":
            word = "start" if on else "stop"
            if was is None and not on:
                return  # the first look at a switch that is off ends nothing
        elif on and was is not None:
            word = "toggle"
        else:
            return
        with suppress(asyncio.QueueFull):
            self._heard.put_nowait(word)

    async def _act_on_heard(self) -> None:
        while True:
            word = await self._heard.get()
            try:
                await self._pressed(word, f"input:{self._options.input.kind if self._options.input else ''}")
            except AgentError as error:
                self._log.warning("room_button_failed", word=word, error=str(error), todo=error.what_to_do)


def _token(options: HttpOptions) -> str:
    try:
        with options.token_file.open("r", encoding="ascii") as file:
            token = file.read(_TOKEN_MAX).strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem("http.token_file", f"{options.token_file}: {in_words(error)}")]) from error
    if len(token) < _TOKEN_MIN:
        raise ConfigError(
            [Problem("http.token_file", f"{options.token_file} must hold at least {_TOKEN_MIN} characters")]
        )
    return token
