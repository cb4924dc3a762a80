"""The room's button, of whatever kind: an HTTP request, a message of a broker, an input that others observe."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from functools import partial
from time import CLOCK_BOOTTIME, clock_gettime
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from aiohttp import web

from agent.errors import AgentError, ConfigError, DeviceGone, DeviceRefused, JournalError, Problem, in_words
from agent.listening import check_certificates, listening
from agent.mqtt import Session, Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.capture import Observation
    from agent.mqtt import Connection, Message
    from drivers.interview_room.live.options import HttpOptions, LiveOptions

__all__ = ["Buttons", "Room", "late", "now"]

_WORDS: Final = ("start", "stop", "mark", "toggle")
_TOKEN_MIN: Final = 16
_TOKEN_MAX: Final = 4096
_AGAIN: Final = 5.0
_HEARD_MAX: Final = 64
_DO_AGAIN: Final = "Press again, or say it here: evidock room start, stop or mark."

_FRESH: Final = 30.0
"""Seconds after which a press is none any more: whoever pressed saw that nothing happened, and did something else."""
_KEPT: Final = 5.0
"""Seconds after a connection stands in which a broker that remembered us hands over what it kept."""
_KEPT_NEXT: Final = 1.0
"""Seconds after one that it kept in which the next may follow."""
_KEPT_MAX: Final = 60.0


def now() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return clock_gettime(CLOCK_BOOTTIME)


def late(pressed_at: float) -> None:
    """Raises `DeviceGone` for what was pressed too long ago to be done now."""
    if (waited := now() - pressed_at) > _FRESH:
        raise DeviceGone(f"it could not be done for {waited:.0f} s, and is not done after that", hint=_DO_AGAIN)


class Room(Protocol):
    """What a button can do."""

    async def pressed(self, word: str, by: str, at: float, /) -> None:
        """Do it, and return when it stands on the disk. `at`: when it was pressed, by `now`. Raises `AgentError`."""

    async def unheeded(self, word: str, by: str, why: str, todo: str, /) -> None:
        """Tell that somebody pressed, and that it is not done."""


@dataclass(frozen=True, slots=True)
class _Press:
    word: str
    by: str
    at: float
    done: Callable[[], None]
    """Called when it was done, or told that it is not."""
    level: bool | None = None
    """Of a switch: how it stands."""


class Buttons:
    """All of one room."""

    def __init__(self, options: LiveOptions, room: Room) -> None:
        """Raises `ConfigError` where a file that an option names cannot be used."""
        self._options, self._room = options, room
        self._log = structlog.get_logger("driver").bind(driver=options.name)
        self._heard: asyncio.Queue[_Press] = asyncio.Queue(_HEARD_MAX)
        self._told: asyncio.Queue[_Press] = asyncio.Queue(_HEARD_MAX)
        self._level: bool | None = None
        self._session: Session | None = None
        self._token = ""
        self.url: str | None = None
        """Where the button is served, while it is."""
        if options.http is not None:
            check_certificates(options.http, prefix="http")
            self._token = _token(options.http)
        if options.mqtt is not None:
            # The session outlives our absence, so that it is known, and told, that somebody pressed meanwhile.
            topic = Subscription(options.mqtt.topic, retained=False)
            self._session = Session(options.mqtt, name=options.name, topics=[topic])

    @property
    def trouble(self) -> str | None:
        """Why the broker is not there; None where it is, or none is configured."""
        return None if self._session is None or self._session.up else self._session.trouble

    async def run(self) -> None:
        """Listen until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._act(self._heard))
            if self._options.http is not None:
                group.create_task(self._serve(self._options.http))
            if self._session is not None:
                group.create_task(self._act(self._told))
                group.create_task(self._session.run(self._listen))

    async def _act(self, pressed: asyncio.Queue[_Press]) -> None:
        """Do what was pressed, in this order; what cannot be done is told. A switch is a state: it is tried again."""
        while True:
            press, told = await pressed.get(), False
            while press.level in {None, self._level}:
                try:
                    await self._room.pressed(press.word, press.by, now() if press.level is not None else press.at)
                except JournalError:
                    raise
                except AgentError as error:
                    if not told:
                        await self._room.unheeded(press.word, press.by, str(error), error.what_to_do)
                    if told := press.level is not None:
                        await asyncio.sleep(_AGAIN)
                        continue
                break
            press.done()

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
            await self._room.pressed(word, f"http:{request.remote}", now())
        except AgentError as error:
            return web.Response(status=503, text=str(error), headers={"Retry-After": "2"})
        return web.Response(status=204)

    # -- a broker -----------------------------------------------------------------------------------------------------

    async def _listen(self, connection: Connection) -> None:
        """Every message of one connection, stamped when it comes; what the broker kept for us is told, and not done."""
        began, told = now(), set[str]()
        kept_until = began + _KEPT if connection.session_present else began
        async for message in connection:
            if kept := now() < kept_until:
                kept_until = min(began + _KEPT_MAX, max(kept_until, now() + _KEPT_NEXT))
            if (word := self._word(message)) is None:
                connection.acknowledge(message)
            elif kept or message.retained:
                if not kept or word not in told:  # of what it kept each word once
                    await self._not_fresh(word, retained=message.retained)
                told.add(word)
                connection.acknowledge(message)
            else:
                await self._told.put(_Press(word, self._broker, now(), partial(connection.acknowledge, message)))

    @property
    def _broker(self) -> str:
        return f"mqtt:{self._options.mqtt.topic if self._options.mqtt else ''}"

    def _word(self, message: Message) -> str | None:
        options = self._options.mqtt
        if options is None:
            return None
        said = message.payload[: 4 * 256].decode("utf-8", "replace").strip()
        words = {options.start: "start", options.stop: "stop", options.mark: "mark"}
        if (word := words.get(said)) is None:
            self._log.info("room_button_not_understood", topic=options.topic)
        return word

    async def _not_fresh(self, word: str, *, retained: bool) -> None:
        why, todo = "the broker kept it while we were away, and it may be hours old", _DO_AGAIN
        if retained:
            why = "it was sent to be kept by the broker (retained), so that nobody knows how old it is"
            todo = f"Set the button to send without `retain`. {_DO_AGAIN}"
        await self._room.unheeded(word, self._broker, why, todo)

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
        level = on if options.acts == "level" else None
        if self._heard.full():  # the oldest goes; the last says how the switch stands
            self._heard.get_nowait()
        self._heard.put_nowait(_Press(word, f"input:{options.kind}", now(), _nothing, level))


def _nothing() -> None:
    """Nobody waits to hear that a switch was heeded."""


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
