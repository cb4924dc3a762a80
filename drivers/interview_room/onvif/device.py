"""One recorder: its clock, its services, its recordings, and where each is replayed; every answer bounded."""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from agent.capture import printable
from agent.errors import DeviceError, DeviceGone, DeviceRefused, in_words
from drivers.interview_room.onvif.soap import Call, Services, digest_of, seconds_text
from drivers.interview_room.times import ahead
from drivers.interview_room.trust import believed

if TYPE_CHECKING:
    from drivers.interview_room.onvif.options import OnvifOptions

__all__ = ["Found", "Recorder"]

_BODY_MAX: Final = 8 << 20
_SECRET_MAX: Final = 4096
_POLLS_MAX: Final = 200
_FOUND_MAX: Final = 5000
_WORD_MAX: Final = 256
_SPACES: Final = {
    "search": "http://www.onvif.org/ver10/search/wsdl",
    "replay": "http://www.onvif.org/ver10/replay/wsdl",
}


@dataclass(frozen=True, slots=True)
class Found:
    """One recording that the search found."""

    token: str
    began_at: datetime
    ended_at: datetime | None
    status: str
    words: dict[str, str] = field(default_factory=dict)


class Recorder:
    """Use it as a context: its connections are closed at the end."""

    def __init__(self, options: OnvifOptions) -> None:
        self._options, self._services = options, Services()
        self._session: aiohttp.ClientSession | None = None
        self._addresses: dict[str, str] = {"devicemgmt": options.url}
        self.password = ""
        self.ahead: timedelta | None = None
        """How far its clock is ahead of ours."""
        self.unlisted = 0
        """Recordings that it found beyond those that are kept in mind."""
        self.words: dict[str, str] = {}
        """Maker, model, firmware and serial number, as it says."""

    async def __aenter__(self) -> Self:
        options = self._options
        self.password = await asyncio.to_thread(_secret, options)
        limits = aiohttp.ClientTimeout(total=2 * options.answer, sock_connect=options.answer, sock_read=options.answer)
        digest = aiohttp.DigestAuthMiddleware(options.user, self.password)
        self._session = aiohttp.ClientSession(
            timeout=limits,
            connector=aiohttp.TCPConnector(limit=2, ssl=await believed(options)),
            middlewares=(digest,),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def greet(self) -> None:
        """Ask for its time (without a login, as everybody may), who it is, and where its services are."""
        told = await self._ask("devicemgmt", "GetSystemDateAndTime", login=False)
        now = _utc_of(told)
        self.ahead = None if now is None else ahead(now)
        told = await self._ask("devicemgmt", "GetDeviceInformation")
        self.words = {name: _word(_get(told, name)) for name in _INFORMATION}
        services = await self._ask("devicemgmt", "GetServices", IncludeCapability=False)
        for one in services or []:
            space, address = str(_get(one, "Namespace") or ""), str(_get(one, "XAddr") or "")
            for name, wanted in _SPACES.items():
                if space == wanted:
                    self._addresses[name] = self._reached(address)
        if missing := [name for name in _SPACES if name not in self._addresses]:
            hint = "Use another way for this recorder: docs/interview-rooms.md."
            raise DeviceRefused(f"the recorder has no {' and no '.join(missing)} service: no Profile G", hint=hint)

    def _reached(self, address: str) -> str:
        """The path is the recorder's word; host and port are those that it is reached at, behind a router too."""
        ours, theirs = urlsplit(self._options.url), urlsplit(address)
        return urlunsplit((ours.scheme, ours.netloc, theirs.path or "/", theirs.query, ""))

    async def recordings(self) -> list[Found]:
        """Recordings with pictures, the oldest first; `unlisted` are left out."""
        self.unlisted = 0
        scope = {"RecordingInformationFilter": 'boolean(//Track[TrackType = "Video"])'}
        token = await self._ask("search", "FindRecordings", Scope=scope, KeepAliveTime=timedelta(minutes=1))
        if not isinstance(token, str) or not 0 < len(token) <= _WORD_MAX:
            raise DeviceRefused("the recorder begins a search and gives it no name", hint=_STRANGE)
        found: dict[str, Found] = {}
        try:
            for _ in range(_POLLS_MAX):
                page = await self._ask(
                    "search", "GetRecordingSearchResults", SearchToken=token, WaitTime=timedelta(seconds=5)
                )
                for one in _get(page, "RecordingInformation") or []:
                    if (read := _recording(one)) is None:
                        continue
                    found[read.token] = read
                done = _get(page, "SearchState") == "Completed"
                if done or len(found) > 2 * _FOUND_MAX:
                    found = self._oldest(found)
                if done:
                    return list(found.values())
            raise DeviceGone("the recorder's search does not come to an end")
        finally:
            with suppress(DeviceError):  # it ends by itself when nobody asks for its results
                await self._ask("search", "EndSearch", SearchToken=token)

    def _oldest(self, found: dict[str, Found]) -> dict[str, Found]:
        """The oldest of them, for these are overwritten first; the others are counted, in whatever order they come."""
        every = sorted(found.values(), key=lambda one: (one.began_at, one.token))
        self.unlisted += len(every[_FOUND_MAX:])
        return {one.token: one for one in every[:_FOUND_MAX]}

    async def replay_uri(self, token: str) -> str:
        """Where a recording is replayed."""
        setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
        uri = str(await self._ask("replay", "GetReplayUri", StreamSetup=setup, RecordingToken=token))
        theirs = urlsplit(uri)
        host = urlsplit(self._options.url).hostname or ""
        port = self._options.rtsp_port or theirs.port or 554
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return urlunsplit((theirs.scheme, place, theirs.path, theirs.query, ""))

    async def _ask(self, service: str, operation: str, *, login: bool = True, **words: Any) -> Any:  # noqa: ANN401
        token = self._token() if login else None
        call = await asyncio.to_thread(self._services.call, service, operation, token, **words)
        status, kind, body = await self._sent(call)
        return await asyncio.to_thread(self._services.read, call, status, kind, body)

    def _token(self) -> dict[str, str]:
        """A login at the recorder's time: it refuses what lies too far from its own clock."""
        nonce = secrets.token_bytes(16)
        created = seconds_text(datetime.now(UTC) + (self.ahead or timedelta()))
        digest = digest_of(nonce, created, self.password)
        return {
            "user": self._options.user,
            "digest": digest,
            "nonce": b64encode(nonce).decode(),
            "created": created,
        }

    async def _sent(self, call: Call) -> tuple[int, str, bytes]:
        if self._session is None:
            raise DeviceGone("the recorder is not asked now")
        headers = {"Content-Type": f'application/soap+xml; charset=utf-8; action="{call.action}"'}
        address = self._addresses[call.service]
        try:
            async with self._session.post(address, data=call.body, headers=headers, allow_redirects=False) as answer:
                body = bytearray()
                async for block in answer.content.iter_chunked(64 * 1024):
                    body += block
                    if len(body) > _BODY_MAX:
                        raise DeviceRefused(f"the recorder answers {call.operation} with more than {_BODY_MAX} bytes")
                if answer.status in (401, 403) and b"Fault" not in body:
                    hint = "Look at `user` and `password_file`, and at the rights of the account."
                    raise DeviceRefused(f"the recorder does not let us in ({answer.status})", hint=hint)
                return answer.status, answer.headers.get("Content-Type", ""), bytes(body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            said = printable(in_words(error))[:200] or type(error).__name__
            why = "no answer in time" if isinstance(error, TimeoutError) else said
            hint = "Look at the recorder and at the network."
            raise DeviceGone(f"the recorder is not reached: {why}", hint=hint) from error


_STRANGE: Final = "Look whether this is the recorder, and whether it has Profile G."
_INFORMATION: Final = ("Manufacturer", "Model", "FirmwareVersion", "SerialNumber")


def _recording(one: object) -> Found | None:
    token, begins = _word(_get(one, "RecordingToken")), _moment(_get(one, "EarliestRecording"))
    if not token or begins is None:
        return None  # nothing was recorded in it yet
    ends = _moment(_get(one, "LatestRecording"))
    source = _get(one, "Source")
    words = {name: _word(_get(source, name)) for name in ("SourceId", "Name", "Location", "Description", "Address")} | {
        "Content": _word(_get(one, "Content"))
    }
    return Found(
        token,
        begins,
        None if ends is None or ends < begins else ends,
        _word(_get(one, "RecordingStatus")),
        {name: word for name, word in words.items() if word},
    )


def _get(value: object, name: str) -> Any:  # noqa: ANN401 - what the schema says
    return getattr(value, name, None)


def _word(value: object) -> str:
    return "" if value is None else printable(str(value))[:_WORD_MAX]


def _moment(value: object) -> datetime | None:
    if not isinstance(value, datetime):
        return None
    try:
        # A time without a zone is the recorder's fault; the specification says UTC.
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:  # the last day of all calendars, in a zone of its own
        return None


def _utc_of(told: object) -> datetime | None:
    at = _get(told, "UTCDateTime")
    day, hour = _get(at, "Date"), _get(at, "Time")
    try:
        return datetime(day.Year, day.Month, day.Day, hour.Hour, hour.Minute, hour.Second, tzinfo=UTC)
    except (AttributeError, TypeError, ValueError):
        return None


def _secret(options: OnvifOptions) -> str:
    try:
        with options.password_file.open("r", encoding="utf-8") as file:
            return file.read(_SECRET_MAX).rstrip("\r\n")
    except (OSError, ValueError) as error:
        hint = "Put the recorder's password there, readable for the service alone."
        raise DeviceRefused(f"{options.password_file} cannot be read: {in_words(error)}", hint=hint) from error
