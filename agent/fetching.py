"""Where devices serve their recordings themselves: one bounded HTTP client for every family that fetches.

A recorder's server is a small program in a small machine, on a network that comes and goes with the car. So there is
one connection that is kept, few requests, a limit to each silence, and nothing that the other side says is believed:
lists are bounded, redirects are not followed, and a body is as long as its own head said that it is.

    async with Fetcher("http://10.99.77.1") as fetcher:
        listing = await fetcher.get("/blackvue_vod.cgi", most=1 << 20)
        async for block in fetcher.read("/Record/20181026_135003_NF.mp4", offset, length): ...

Raises `DeviceGone` where the recorder is not there or went away, and where it is busy; `DeviceRefused` where it will
not, `NotThere` where it has no such file, `BadCapture` where a body contradicts what is known of it.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import aiohttp
from pydantic import Field
from yarl import URL

from agent.capture import LENGTH_MAX
from agent.errors import BadCapture, DeviceError, DeviceGone, DeviceRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

__all__ = ["Address", "Fetcher", "Head", "NotThere"]

Address = Annotated[str, Field(pattern=r"^https?://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?/?$")]
"""Where a recorder is: `http://10.99.77.1`."""

BLOCK: Final = 1 << 20
_CONNECT: Final = 5.0
_SILENCE: Final = 30.0
"""Seconds without a byte after which a recorder is taken to be gone: parked cars end in the middle of a sentence."""
_BUSY: Final = frozenset({409, 423, 429, 503})
_ABSENT: Final = frozenset({404, 410})
_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_WHERE: Final = "Is it powered (ignition)? Is this station in its Wi-Fi, or the recorder in the station's?"


class NotThere(DeviceGone):
    """The recorder has no file of this name, or has it no more."""

    hint = "Nothing to do: a recorder overwrites its oldest recordings. What it still lists is taken."


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of an answer tells of a file."""

    length: int | None


class Fetcher:
    """One recorder. `at_once`: connections that its server bears."""

    def __init__(self, address: str, *, at_once: int = 1, headers: Mapping[str, str] | None = None) -> None:
        self.url = URL(address)
        self._at_once, self._headers = at_once, dict(headers or {})
        self._session: aiohttp.ClientSession | None = None
        self.date: str | None = None
        """The `Date` of its last answer: its clock, where it has one."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._at_once, keepalive_timeout=30.0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_SILENCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", **self._headers},
            read_bufsize=4 * BLOCK,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, *, most: int, query: Mapping[str, str] | None = None) -> bytes:
        """A short answer as a whole."""
        return await self._short("GET", path, most, params=query or {})

    async def post(self, path: str, said: object, *, most: int) -> bytes:
        """The answer to a question in JSON."""
        return await self._short("POST", path, most, json=said)

    async def head(self, path: str) -> Head:
        """What the head of a file tells. Where the server knows no HEAD, a GET is begun and broken off."""
        length = None
        with suppress(DeviceRefused):  # 400, 405, 501: it may still be there
            async with self._asked("HEAD", path) as answer:
                length = answer.content_length
        if length is None:
            async with self._asked("GET", path) as answer:
                answer.close()
                length = answer.content_length
        if length is not None and length >= LENGTH_MAX:
            raise DeviceRefused(f"{path} cannot have {length} bytes")
        return Head(length)

    async def read(self, path: str, offset: int, length: int | None) -> AsyncIterator[bytes]:
        """A file from `offset` on. `length`: of the whole, where it is known; a body that contradicts it is none."""
        if length is not None and offset == length:
            return
        ranged = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._asked("GET", path, headers=ranged, also=(416,)) as answer:
            skipped, whole = _span(path, answer, offset, length)
            if whole == offset:
                return
            given = skipped
            try:
                async for block in answer.content.iter_chunked(BLOCK):
                    given += len(block)
                    if given > whole:
                        raise BadCapture(f"{path} is longer than the {whole} bytes that its head says")
                    fresh = block[max(0, len(block) - (given - offset)) :] if given > offset else b""
                    if fresh:
                        yield fresh
            except (aiohttp.ClientError, OSError) as error:
                raise _translated(path, error) from error
            if given != whole:
                raise DeviceGone(f"{path} broke off at byte {given} of {whole}", hint=_WHERE)

    async def _short(self, method: str, path: str, most: int, **sent: Any) -> bytes:  # noqa: ANN401 - aiohttp's own
        found = bytearray()
        async with self._asked(method, path, **sent) as answer:
            try:
                async for block in answer.content.iter_chunked(BLOCK):
                    found += block
                    if len(found) > most:
                        answer.close()
                        raise DeviceRefused(f"{self.url.host} says more than {most} bytes at {path}")
            except (aiohttp.ClientError, OSError) as error:
                raise _translated(path, error) from error
        return bytes(found)

    def _asked(self, method: str, path: str, *, also: tuple[int, ...] = (), **sent: Any) -> _Asked:  # noqa: ANN401
        if self._session is None:
            raise DeviceGone("the recorder is not asked any more")
        # Encoded already: names come from a list that was looked at, and go out as they are.
        url = self.url.with_path(path, encoded=True)
        return _Asked(self, self._session.request(method, url, allow_redirects=False, **sent), path, also)


class _Asked:
    """One request, as long as its answer is read."""

    def __init__(self, fetcher: Fetcher, request: Any, path: str, also: tuple[int, ...]) -> None:  # noqa: ANN401
        self._fetcher, self._request, self._path, self._also = fetcher, request, path, also
        self._answer: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            answer: aiohttp.ClientResponse = await self._request
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _translated(self._path, error) from error
        self._answer = answer
        self._fetcher.date = answer.headers.get("Date", self._fetcher.date)
        if answer.status in (200, 206, *self._also):
            return answer
        answer.close()
        raise _refused(self._path, answer.status)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._answer is None:
            return
        # A body that was read to its end leaves the connection for the next request; any other breaks it.
        if kind is None and self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()


def _span(path: str, answer: aiohttp.ClientResponse, offset: int, length: int | None) -> tuple[int, int]:
    """(where the body begins, where it ends). Raises `BadCapture`, `DeviceRefused`."""
    told = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if answer.status == 416:  # noqa: PLR2004
        total = re.fullmatch(r"bytes \*/(\d{1,19})", answer.headers.get("Content-Range", ""))
        if total is not None and int(total[1]) == offset == (length or offset):
            return offset, offset
        raise BadCapture(f"{path} has no byte {offset} any more: it is another file now")
    if answer.status == 206:  # noqa: PLR2004
        if told is None or int(told[1]) != offset or told[3] == "*":
            raise DeviceRefused(f"the recorder answered another part of {path} than was asked for")
        begin, whole = offset, int(told[3])
    else:
        # It knows no ranges: what was taken already is passed over.
        if answer.content_length is None:
            raise DeviceRefused(f"the recorder does not say how long {path} is")
        begin, whole = 0, answer.content_length
    if length is not None and whole != length:
        raise BadCapture(f"{path} has {whole} bytes, and {length} were told before")
    if whole < offset:
        raise BadCapture(f"{path} has {whole} bytes now, and more were taken before")
    return begin, whole


def _refused(path: str, status: int) -> DeviceError:
    if status in _ABSENT:
        return NotThere(f"the recorder has no {path}")
    if status in _BUSY:
        return DeviceGone(f"the recorder is busy (HTTP {status})", hint="Nothing to do: it is asked again.")
    if status >= 500:  # noqa: PLR2004
        return DeviceRefused(f"the recorder cannot read {path} (HTTP {status}): it may be damaged on its card")
    return DeviceRefused(f"the recorder refuses {path} (HTTP {status})", hint="Look at its address in agent.toml.")


def _translated(path: str, error: BaseException) -> DeviceError:
    if isinstance(error, TimeoutError):
        return DeviceGone(f"the recorder says nothing ({path})", hint=_WHERE)
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        why = os.strerror(number) if number and number > 0 else "no address of this name"
        return DeviceGone(f"the recorder cannot be reached: {why}", hint=_WHERE)
    return DeviceGone(f"the recorder went away at {path} ({type(error).__name__})", hint=_WHERE)
