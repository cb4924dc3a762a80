"""The SOAP side of a recorder of ONVIF Profile G: clock, information, services, search, replay addresses; with faults.

The replay itself is GStreamer's: see the tests. Answers are written here as text, by the examples of the specification,
and the tests hold them against the published schemas.
"""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self
from xml.sax.saxutils import escape

from aiohttp import web

from drivers.interview_room.onvif.soap import digest_of

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Kept", "RecorderEmulator"]

_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" '
    'xmlns:tse="http://www.onvif.org/ver10/search/wsdl" xmlns:trp="http://www.onvif.org/ver10/replay/wsdl" '
    'xmlns:ter="http://www.onvif.org/ver10/error"><s:Body>{}</s:Body></s:Envelope>'
)


@dataclass(slots=True)
class Kept:
    """One recording."""

    token: str
    began_at: datetime
    ended_at: datetime | None
    status: str = "Stopped"


@dataclass
class RecorderEmulator:
    """Serves on loopback. `answers` takes the place of the answer to an operation: bytes, sent with status 200."""

    user: str = "admin"
    password: str = "pass"  # noqa: S105 - of the emulator
    kept: list[Kept] = field(default_factory=list)
    rtsp: str = "rtsp://192.168.1.64:554/rec"
    ahead: timedelta = timedelta()
    page: int = 20
    """Recordings in one answer of the search: a search goes on for several."""
    answers: dict[str, bytes] = field(default_factory=dict)
    services: bool = True
    """It has search and replay."""
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    away: bool = False
    port: int = 0
    _given: dict[str, int] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve."""
        app = web.Application()
        app.router.add_post("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Its device service."""
        return f"http://127.0.0.1:{self.port}/onvif/device_service"

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.away and request.transport is not None:
            request.transport.abort()
        found = re.search(rb"<(?:[\w-]+:)?Body[^>]*><(?:[\w-]+:)?(\w+)", body)
        name = "" if found is None else found[1].decode()
        self.asked.append((name, body))
        if name in self.answers:
            return web.Response(body=self.answers[name], content_type="application/soap+xml")
        if name != "GetSystemDateAndTime" and not self._knows(body):
            return self._fault("ter:NotAuthorized", "Sender not authorized", 400)
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            return self._fault("ter:ActionNotSupported", "Optional Action Not Implemented", 500)
        return _response(answer(body))

    def _knows(self, body: bytes) -> bool:
        """The digest is right, and `Created` near to the time of this recorder."""
        said = {
            name: re.search(rf"[<:]{name}(?: [^>]*)?>([^<]*)<".encode(), body)
            for name in ("Username", "Password", "Nonce", "Created")
        }
        words = {name: "" if found is None else found[1].decode() for name, found in said.items()}
        if not all(words.values()):
            return False
        created = datetime.fromisoformat(words["Created"])
        late = abs(created - (datetime.now(UTC) + self.ahead))
        digest = digest_of(b64decode(words["Nonce"]), words["Created"], self.password)
        return words["Username"] == self.user and words["Password"] == digest and late < timedelta(seconds=30)

    def _fault(self, code: str, words: str, status: int) -> web.Response:
        inner = (
            "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>"
            + code
            + "</s:Value></s:Subcode></s:Code>"
            f'<s:Reason><s:Text xml:lang="en">{words}</s:Text></s:Reason></s:Fault>'
        )
        return _response(inner, status)

    # -- operations: named as the WSDL names them ----------------------------------------------------------------------

    def _GetSystemDateAndTime(self, _: bytes) -> str:  # noqa: N802
        now = datetime.now(UTC) + self.ahead
        return (
            "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType>"
            "<tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>CST+7:00:00DST01:00:00</tt:TZ></tt:TimeZone>"
            f"<tt:UTCDateTime><tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
            f"<tt:Second>{now.second}</tt:Second></tt:Time><tt:Date><tt:Year>{now.year}</tt:Year>"
            f"<tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
            "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
        )

    def _GetDeviceInformation(self, _: bytes) -> str:  # noqa: N802
        return (
            "<tds:GetDeviceInformationResponse><tds:Manufacturer>EXAMPLE</tds:Manufacturer><tds:Model>NVR-1</tds:Model>"
            "<tds:FirmwareVersion>1.2.3</tds:FirmwareVersion><tds:SerialNumber>0001</tds:SerialNumber>"
            "<tds:HardwareId>1</tds:HardwareId></tds:GetDeviceInformationResponse>"
        )

    def _GetServices(self, _: bytes) -> str:  # noqa: N802
        spaces = {"device/wsdl": "device_service"}
        if self.services:
            spaces |= {"search/wsdl": "SearchRecording", "replay/wsdl": "Replay", "recording/wsdl": "Recording"}
        return (
            "<tds:GetServicesResponse>"
            + "".join(
                f"<tds:Service><tds:Namespace>http://www.onvif.org/ver10/{space}</tds:Namespace>"
                f"<tds:XAddr>http://192.168.1.64/onvif/{path}</tds:XAddr><tds:Version><tt:Major>2</tt:Major>"
                "<tt:Minor>0</tt:Minor></tds:Version></tds:Service>"
                for space, path in spaces.items()
            )
            + "</tds:GetServicesResponse>"
        )

    def _FindRecordings(self, _: bytes) -> str:  # noqa: N802
        token = f"SearchToken_{len(self._given) + 1}"
        self._given[token] = 0
        return f"<tse:FindRecordingsResponse><tse:SearchToken>{token}</tse:SearchToken></tse:FindRecordingsResponse>"

    def _GetRecordingSearchResults(self, body: bytes) -> str:  # noqa: N802
        found = re.search(rb"SearchToken[^>]*>([^<]*)<", body)
        token = "" if found is None else found[1].decode()
        first = self._given.get(token, 0)
        page, self._given[token] = self.kept[first : first + self.page], first + self.page
        state = "Completed" if first + self.page >= len(self.kept) else "Searching"
        rows = "".join(_row(one) for one in page)
        return (
            f"<tse:GetRecordingSearchResultsResponse><tse:ResultList><tt:SearchState>{state}</tt:SearchState>{rows}"
            "</tse:ResultList></tse:GetRecordingSearchResultsResponse>"
        )

    def _EndSearch(self, _: bytes) -> str:  # noqa: N802
        return f"<tse:EndSearchResponse><tse:Endpoint>{_z(datetime.now(UTC))}</tse:Endpoint></tse:EndSearchResponse>"

    def _GetReplayUri(self, _: bytes) -> str:  # noqa: N802
        return f"<trp:GetReplayUriResponse><trp:Uri>{escape(self.rtsp)}</trp:Uri></trp:GetReplayUriResponse>"


def _row(one: Kept) -> str:
    ends = "" if one.ended_at is None else f"<tt:LatestRecording>{_z(one.ended_at)}</tt:LatestRecording>"
    until = _z(one.ended_at or datetime.now(UTC))
    return (
        f"<tt:RecordingInformation><tt:RecordingToken>{escape(one.token)}</tt:RecordingToken><tt:Source>"
        "<tt:SourceId>http://10.0.0.5/sourceId/1</tt:SourceId><tt:Name>Interview 1</tt:Name>"
        "<tt:Location>Station 12</tt:Location><tt:Description>front</tt:Description>"
        "<tt:Address>http://10.0.0.5/onvif/device_service</tt:Address></tt:Source>"
        f"<tt:EarliestRecording>{_z(one.began_at)}</tt:EarliestRecording>{ends}<tt:Content>interview</tt:Content>"
        "<tt:Track><tt:TrackToken>VIDEO001</tt:TrackToken><tt:TrackType>Video</tt:TrackType>"
        f"<tt:Description>H264</tt:Description><tt:DataFrom>{_z(one.began_at)}</tt:DataFrom>"
        f"<tt:DataTo>{until}</tt:DataTo></tt:Track><tt:RecordingStatus>{one.status}</tt:RecordingStatus>"
        "</tt:RecordingInformation>"
    )


def _response(inner: str, status: int = 200) -> web.Response:
    body = _ENVELOPE.format(inner).encode()
    return web.Response(body=body, status=status, content_type="application/soap+xml", charset="utf-8")


def _z(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
