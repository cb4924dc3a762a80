"""One camera: asked with HTTP Digest, every answer bounded, every failure one of ours."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final, Self, TypeVar

import aiohttp
from yarl import URL

from agent.capture import printable
from agent.driver import BLOCK_LENGTH
from agent.errors import CannotResume, DeviceError, DeviceGone, DeviceRefused, in_words
from drivers.interview_room.polling import BYTES_A_SECOND
from drivers.interview_room.times import ahead
from drivers.interview_room.trust import believed
from firmware_specs import SpecError
from firmware_specs.formats import vapix_recordings as spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from drivers.interview_room.vapix.options import VapixOptions

__all__ = ["Camera"]

T = TypeVar("T")

_XML_MAX: Final = 4 << 20
_SECRET_MAX: Final = 4096
_SLACK: Final = 60.0
"""Seconds by which a film may be longer than was asked for: it begins at a key frame."""
_PAGE: Final = 200
_PAGES_MAX: Final = 100
_RECORD: Final = "/axis-cgi/record"

_LOGIN: Final = "Look at `user` and `password_file`, and whether the account may see recordings."


class Camera:
    """Use it as a context: its connections are closed at the end."""

    def __init__(self, options: VapixOptions) -> None:
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self.ahead: timedelta | None = None
        """How far the camera's clock is ahead of ours, by the `Date` of its last answer; None where it sends none."""
        self.unlisted = 0
        """Recordings that it has beyond those that were read."""

    async def __aenter__(self) -> Self:
        options = self._options
        password = await asyncio.to_thread(_secret, options)
        digest = aiohttp.DigestAuthMiddleware(options.user, password)
        limits = aiohttp.ClientTimeout(total=None, sock_connect=options.answer, sock_read=options.answer)
        connector = aiohttp.TCPConnector(limit=4, ssl=await believed(options))
        self._session = aiohttp.ClientSession(
            timeout=limits, connector=connector, middlewares=(digest,), auto_decompress=False, trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def recordings(self) -> list[spec.Recording]:
        """What the camera lists, the oldest first; `unlisted` are left out."""
        found: dict[tuple[str, str], spec.Recording] = {}
        rows = matching = 0
        for _ in range(_PAGES_MAX):
            # A camera may give fewer at a time than it is asked for: the next page begins where this one ended.
            wanted = {"recordingid": "all", "sortorder": "ascending"}
            wanted |= {"maxnumberofresults": str(_PAGE), "startatresultnumber": str(rows + 1)}
            if self._options.disk is not None:
                wanted["diskid"] = self._options.disk
            try:
                told = _read(spec.listing, await self._xml(f"{_RECORD}/list.cgi", wanted))
            except DeviceRefused:
                if not rows or rows < matching:
                    raise
                break  # it was asked beyond its end
            before, rows, matching = len(found), rows + len(told.recordings), told.matching
            for one in told.recordings:
                found.setdefault((one.disk, one.id), one)
            # Nor is its word how many there are believed where a page was full.
            if len(found) == before or (rows >= matching and len(told.recordings) < _PAGE):
                break
        self.unlisted = max(0, matching - rows)
        return sorted(found.values(), key=lambda one: (one.began_at, one.disk, one.id))

    async def properties(self, wanted: Mapping[str, str]) -> spec.Export:
        """What an export would be."""
        return _read(spec.export_properties, await self._xml(f"{_RECORD}/export/properties.cgi", wanted))

    async def export(self, wanted: Mapping[str, str], offset: int, lasts: timedelta) -> AsyncIterator[bytes]:
        """The bytes of an export of a film that `lasts` so long, from `offset` on.

        `CannotResume` where the camera begins at its beginning again; `DeviceRefused` where it comes to no end.
        """
        most = int((lasts.total_seconds() + _SLACK) * BYTES_A_SECOND)
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._asked(f"{_RECORD}/export/exportrecording.cgi", wanted, headers) as answer:
            if answer.content_type in ("text/xml", "application/xml", "text/html", "text/plain"):
                raise _error(await _bounded(answer))
            if offset and not _continues(answer, offset):
                raise CannotResume("the camera exports from the beginning alone")
            async for block in answer.content.iter_chunked(BLOCK_LENGTH):
                if (offset := offset + len(block)) > most:
                    raise DeviceRefused(
                        f"the camera exports without an end: {offset} bytes for {lasts.total_seconds():.0f} s of film",
                        hint="Look at the camera's firmware; its other recordings are taken.",
                    )
                yield block

    async def _xml(self, path: str, wanted: Mapping[str, str]) -> bytes:
        async with self._asked(path, wanted, {}) as answer:
            data = await _bounded(answer)
        if _read(spec.error_in, data) is not None:
            raise _error(data)
        return data

    @asynccontextmanager
    async def _asked(
        self, path: str, wanted: Mapping[str, str], headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise DeviceGone("the camera is not asked now")
        url = URL(self._options.url + path).with_query(dict(wanted))
        try:
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                self._look_at_clock(answer)
                if answer.status not in (200, 206):
                    raise _refusal(answer.status)
                yield answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise _gone(error) from error

    def _look_at_clock(self, answer: aiohttp.ClientResponse) -> None:
        try:
            shown = parsedate_to_datetime(answer.headers.get("Date", ""))
            self.ahead = ahead(shown.astimezone(UTC))
        except (ValueError, TypeError, OverflowError):
            self.ahead = None


def _continues(answer: aiohttp.ClientResponse, offset: int) -> bool:
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")  # noqa: PLR2004


async def _bounded(answer: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for block in answer.content.iter_chunked(64 * 1024):
        data += block
        if len(data) > _XML_MAX:
            raise DeviceRefused(f"the camera answers with more than {_XML_MAX} bytes where it should list recordings")
    return bytes(data)


def _read(parse: Callable[[bytes], T], data: bytes) -> T:
    try:
        return parse(data)
    except SpecError as error:
        raise DeviceRefused(
            f"the camera's answer is not understood: {printable(str(error))[:200]}",
            hint="Look whether this is the camera, and which firmware it has: AXIS OS 5.60 or later.",
        ) from error


def _error(data: bytes) -> DeviceError:
    try:
        found = spec.error_in(data)
    except SpecError:
        found = None
    if found is None:
        return DeviceRefused("the camera answers with a text where a film should come")
    code, words = found
    what = f"the camera refuses: {printable(words)} ({code})"
    if code == 110:  # noqa: PLR2004 - the recording is gone: overwritten, most often
        return DeviceGone(
            what, hint="Nothing to do, if its storage is full: a camera overwrites its oldest recordings."
        )
    return DeviceGone(what) if code == 10 else DeviceRefused(what)  # noqa: PLR2004 - a processing error may pass


def _refusal(status: int) -> DeviceError:
    if status in (401, 403):
        return DeviceRefused(f"the camera does not let us in ({status})", hint=_LOGIN)
    if status == 404:  # noqa: PLR2004
        return DeviceRefused("the camera knows no edge storage (404)", hint="Look at its firmware and at `url`.")
    return DeviceGone(f"the camera answers {status}")


def _gone(error: BaseException) -> DeviceError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return DeviceRefused(
            "the camera shows a certificate that is not believed",
            hint="Name the authority of its certificate as `ca_file`, or give the camera one of yours.",
        )
    if isinstance(error, aiohttp.ClientPayloadError):
        return DeviceGone("the camera broke off in the middle")
    why = (
        "no answer in time" if isinstance(error, TimeoutError) else printable(str(error))[:200] or type(error).__name__
    )
    return DeviceGone(f"the camera is not reached: {why}", hint="Look at the camera and at the network.")


def _secret(options: VapixOptions) -> str:
    try:
        with options.password_file.open("r", encoding="utf-8") as file:
            return file.read(_SECRET_MAX).rstrip("\r\n")
    except (OSError, ValueError) as error:
        hint = "Put the camera's password there, readable for the service alone."
        raise DeviceRefused(f"{options.password_file} cannot be read: {in_words(error)}", hint=hint) from error
