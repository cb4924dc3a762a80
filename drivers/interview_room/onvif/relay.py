"""Between ffmpeg and a recorder: an RTSP session on loopback, made into one of ONVIF replay at the recorder.

ffmpeg takes apart and writes every codec, but does not know the replay of Profile G. So it is let talk to us, on
loopback: what it says is passed on with what the specification asks for (`Require: onvif-replay`, `Range: clock=...`,
`Rate-Control: no`) and with the recorder's login, and what comes back is passed back. On the way the header extensions
tell which times the replay has, where gaps are, and whether it came to its end. The sender reports of such a replay
carry no time; so one is made of the first packet of each track, and sound and picture stay together.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from agent.errors import DeviceError, DeviceGone, DeviceRefused, in_words
from drivers.interview_room.onvif.neighbour import is_ours
from drivers.interview_room.onvif.rtsp import Frame, Login, Message, host_of, read, written
from drivers.interview_room.polling import BYTES_A_SECOND
from drivers.interview_room.times import later
from firmware_specs import SpecError
from firmware_specs.formats.onvif_replay import packet

if TYPE_CHECKING:
    from firmware_specs.formats.onvif_replay import Packet

__all__ = ["Relay", "Seen"]

_SINCE: Final = datetime(1900, 1, 1, tzinfo=UTC)
_TRACKS_MAX: Final = 16
_GAPS_MAX: Final = 10_000
_BYE: Final = 203
_PLAIN: Final = ("OPTIONS", "DESCRIBE", "SETUP", "PLAY", "TEARDOWN", "GET_PARAMETER")
_HOP: Final = frozenset({"cseq", "content-length", "authorization", "session", "range", "require", "scale", "speed"})
_BEYOND: Final = 50
"""Packets in a row that lie behind the end: one alone may bear a time that is wrong."""
_SLACK: Final = timedelta(seconds=10)
"""By so much a replay may go on: to the end of its last group of pictures."""
GAP: Final = timedelta(seconds=2)
"""Pictures that were taken so far from each other have a gap between them, also where nothing says so."""


@dataclass(slots=True)
class Track:
    """What was seen of one track."""

    packets: int = 0
    lost: int = 0
    sequence: int | None = None
    latest: datetime | None = None
    ended: bool = False


@dataclass(slots=True)
class Seen:
    """What the extensions of a replay said."""

    first: datetime | None = None
    latest: datetime | None = None
    gaps: list[tuple[datetime, datetime]] = field(default_factory=list)
    tracks: dict[int, Track] = field(default_factory=dict)

    @property
    def packets(self) -> int:
        """All that came."""
        return sum(one.packets for one in self.tracks.values())

    @property
    def lost(self) -> int:
        """Packets that are missing by their numbers: over TCP, those that the recorder did not send."""
        return sum(one.lost for one in self.tracks.values())

    @property
    def ended(self) -> bool:
        """Every track came to its end: by T, or by BYE."""
        return bool(self.tracks) and all(one.ended for one in self.tracks.values())

    def see(self, channel: int, one: Packet) -> bool:
        """Note a packet; whether it is the first of its track."""
        track = self.tracks.setdefault(channel, Track())
        begins = track.packets == 0
        track.packets += 1
        if track.sequence is not None:
            missing = (one.sequence - track.sequence - 1) & 0xFFFF
            track.lost += missing if missing < 0x8000 else 0  # noqa: PLR2004 - half of what 16 bits count
        track.sequence = one.sequence
        track.ended = track.ended or one.last
        if one.at is not None:
            self.first = one.at if self.first is None else min(self.first, one.at)
            before = track.latest
            if before is not None and one.at - before > GAP and len(self.gaps) < _GAPS_MAX:
                self.gaps.append((before, one.at))
            track.latest = one.at if before is None else max(before, one.at)
            self.latest = track.latest if self.latest is None else max(self.latest, track.latest)
        return begins


class Relay:
    """One replay. `url` is what ffmpeg is given; after it has ended, `seen` and `trouble` say what came."""

    def __init__(
        self,
        uri: str,
        login: Login | None,
        begins: datetime,
        ends: datetime | None,
        *,
        answer: float,
        latest: datetime | None = None,
    ) -> None:
        """`ends`: None to replay to the end of the material, which must come before `latest`.

        A recorder that heeds no end would be listened to for ever: what goes on behind it is not taken.
        """
        self._uri, self._login, self.answer = uri, login, answer
        self._ends = ends
        over = ends if ends is not None else latest
        self._over = None if over is None else later(over, _SLACK)
        self._at: datetime | None = None
        """Of the packet that came last: one whose time is wrong, before it, says nothing of how far the replay came."""
        self._beyond = self._bytes = 0
        self._most = None if self._over is None else int((self._over - begins).total_seconds() * BYTES_A_SECOND)
        self._range = f"clock={clock(begins)}-{'' if ends is None else clock(ends)}"
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken = False
        self.seen = Seen()
        self.trouble: DeviceError | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        host_of(self._uri)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=64 * 1024)
        self.url = f"rtsp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/replay"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._taken or task is None or not is_ours(writer):  # one ffmpeg, and no other user of this machine
            writer.close()
            return
        self._taken = True
        self._tasks.add(task)
        try:
            await self._pass_on(reader, writer)
        except DeviceError as error:
            self.trouble = self.trouble or error
        except (TimeoutError, OSError) as error:
            self.trouble = self.trouble or DeviceGone(
                f"the recorder does not answer: {in_words(error) or 'no answer in time'}"
            )
        finally:
            writer.close()

    async def _pass_on(self, ours: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        host, port = host_of(self._uri)
        async with asyncio.timeout(self.answer):
            theirs, out = await asyncio.open_connection(host, port, limit=64 * 1024)
        session = _Session(self, theirs, out, back)
        try:
            while True:
                asked = await read(ours)
                if isinstance(asked, Frame):
                    continue  # ffmpeg's receiver reports: a replay at full speed asks for none
                await session.ask(asked)
                if asked.method == "TEARDOWN":
                    return
                if asked.method == "PLAY":
                    await self._stream(session, ours)
                    return
        finally:
            out.close()
            with suppress(OSError):
                await out.wait_closed()

    async def _stream(self, session: _Session, ours: asyncio.StreamReader) -> None:
        """Pass frames back until the end of the material, or until ffmpeg has enough."""
        asking = asyncio.create_task(_drain(ours))
        try:
            while not self.seen.ended and not self.beyond and not asking.done():
                try:
                    async with asyncio.timeout(self.answer):
                        told = await read(session.theirs)
                except (TimeoutError, DeviceGone):
                    if self.reached:  # all that was asked for is here, and the recorder does not say so
                        break
                    raise
                if isinstance(told, Frame):
                    self._count(told)
                    await session.back_frame(told)
        finally:
            asking.cancel()
        with suppress(OSError, TimeoutError, DeviceError):
            async with asyncio.timeout(self.answer):
                await session.tear_down()

    def _count(self, frame: Frame) -> None:
        """Raise `DeviceRefused` where more came than there can be: its times do not go on, or there are none."""
        self._bytes += len(frame.data)
        if self._most is not None and self._bytes > self._most:
            raise DeviceRefused(
                f"the recorder replays without an end: {self._bytes} bytes, and its times do not reach the end",
                hint="Look at its firmware; or use another way for this recorder: docs/interview-rooms.md.",
            )

    def place(self, one: Packet) -> None:
        """Note where a packet lies, and whether that is behind the end."""
        if one.at is not None:
            self._at = one.at
            self._beyond = self._beyond + 1 if self._over is not None and one.at > self._over else 0

    @property
    def beyond(self) -> bool:
        """The replay went on behind the end: the recorder does not heed it, and all that was asked for is here."""
        return self._beyond >= _BEYOND

    @property
    def reached(self) -> bool:
        """The replay came as far as was asked for, by the times of its pictures."""
        if self.beyond:
            return True
        return self._ends is not None and self._at is not None and later(self._at, GAP) >= self._ends

    @property
    def range(self) -> str:
        """The times that are asked for."""
        return self._range

    @property
    def uri(self) -> str:
        """At the recorder."""
        return self._uri

    @property
    def login(self) -> Login | None:
        """At the recorder."""
        return self._login


class _Session:
    """The recorder's side of the session."""

    def __init__(
        self, relay: Relay, theirs: asyncio.StreamReader, out: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        self._relay, self.theirs, self._out, self._back = relay, theirs, out, back
        self._count = 0
        self._session: str | None = None

    async def ask(self, asked: Message) -> None:
        """Ask the recorder what ffmpeg asked, and answer ffmpeg what it answered."""
        method = asked.method
        if method not in _PLAIN:
            self._back.write(written("RTSP/1.0 501 Not Implemented", {"CSeq": asked.headers.get("cseq", "0")}))
            return
        told = await self._asked(method, self._target(asked), self._headers(method, asked))
        if told.status >= 400:  # noqa: PLR2004 - an error
            self._relay.trouble = _refusal(told)
        headers = {name: value for name, value in told.headers.items() if name not in ("cseq", "content-length")}
        if "content-base" in headers:
            headers["content-base"] = f"{self._relay.url}/"
        headers.pop("rtp-info", None)  # it names the recorder's address; ffmpeg takes the numbers from the packets
        self._back.write(
            written(f"RTSP/1.0 {told.status} -", {"CSeq": asked.headers.get("cseq", "0"), **headers}, told.body)
        )
        await self._back.drain()

    def _target(self, asked: Message) -> str:
        """Ffmpeg's address at us as the recorder's."""
        words = asked.first.split(" ")
        ours = words[1] if len(words) > 1 else "*"
        rest = ours.removeprefix(self._relay.url)
        return self._relay.uri if rest in (ours, "", "/") else self._base + rest.lstrip("/")

    @property
    def _base(self) -> str:
        return self._relay.uri if self._relay.uri.endswith("/") else f"{self._relay.uri}/"

    def _headers(self, method: str, asked: Message) -> dict[str, str]:
        headers = {name.title(): value for name, value in asked.headers.items() if name not in _HOP}
        if method in ("SETUP", "PLAY", "OPTIONS"):
            headers["Require"] = "onvif-replay"
        if method == "PLAY":
            headers |= {"Range": self._relay.range, "Rate-Control": "no"}
        return headers

    async def _asked(self, method: str, uri: str, headers: dict[str, str]) -> Message:
        told = Message("")
        for _ in range(3):
            self._count += 1
            more = {"CSeq": str(self._count), **headers}
            if self._session is not None:
                more["Session"] = self._session
            login = self._relay.login
            if login is not None and (sure := login.sure(method, uri)) is not None:
                more["Authorization"] = sure
            self._out.write(written(f"{method} {uri} RTSP/1.0", more))
            async with asyncio.timeout(self._relay.answer):
                await self._out.drain()
                answer = await read(self.theirs)
                while isinstance(answer, Frame):
                    await self.back_frame(answer)
                    answer = await read(self.theirs)
            told = answer
            challenge = told.headers.get("www-authenticate", "")
            if told.status != 401 or login is None or not login.challenged(challenge):  # noqa: PLR2004
                break
        if "session" in told.headers:
            self._session = told.headers["session"].partition(";")[0].strip()
        return told

    async def back_frame(self, frame: Frame) -> None:
        """Note what a frame says and pass it to ffmpeg; control packets have no times in a replay, and stay here."""
        seen = self._relay.seen
        if frame.channel >= 2 * _TRACKS_MAX or self._relay.beyond:
            return
        if frame.channel % 2:
            if _has_bye(frame.data) and (track := seen.tracks.get(frame.channel - 1)) is not None:
                track.ended = True
            return
        try:
            one = packet(frame.data)
        except SpecError as error:
            raise DeviceRefused(f"the recorder's replay is not understood: {error}") from error
        self._relay.place(one)
        if seen.see(frame.channel, one) and one.at is not None:
            self._write(frame.channel + 1, _report(one))
        self._write(frame.channel, frame.data)
        await self._back.drain()

    def _write(self, channel: int, data: bytes) -> None:
        self._back.write(b"$" + bytes([channel]) + len(data).to_bytes(2, "big") + data)

    async def tear_down(self) -> None:
        """End the session at the recorder."""
        await self._asked("TEARDOWN", self._relay.uri, {})


async def _drain(ours: asyncio.StreamReader) -> None:
    """Until ffmpeg ends the session or is gone."""
    with suppress(DeviceError):
        while True:
            told = await read(ours)
            if isinstance(told, Message) and told.method == "TEARDOWN":
                return


def _report(one: Packet) -> bytes:
    """A sender report (RFC 3550 section 6.4.1) that binds the track's clock to the recorder's time."""
    since = (one.at or _SINCE) - _SINCE
    seconds = since // timedelta(seconds=1)
    fraction = (since % timedelta(seconds=1)).microseconds * (1 << 32) // 1_000_000
    return struct.pack("!BBHIIIIII", 0x80, 200, 6, one.source, seconds & 0xFFFFFFFF, fraction, one.time, 0, 0)


def _has_bye(data: bytes) -> bool:
    at = 0
    while at + 4 <= len(data):
        if data[at + 1] == _BYE:
            return True
        at += 4 + 4 * int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _refusal(told: Message) -> DeviceError:
    if told.status in (401, 403):
        hint = "Look at `user` and `password_file`, and whether the account may replay."
        return DeviceRefused(f"the recorder does not let us replay ({told.status})", hint=hint)
    if told.status == 551:  # noqa: PLR2004
        hint = "Use another way for this recorder: docs/interview-rooms.md."
        return DeviceRefused("the recorder has no ONVIF replay (551)", hint=hint)
    return DeviceGone(f"the recorder answers {told.status} to the replay")


def clock(moment: datetime) -> str:
    """A time as a `Range` names it."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
