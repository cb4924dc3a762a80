"""A system controller as an HTTP client: it sends what cameras gave it, and forgets a thing at its 2xx.

A wire is one letter for each object that is put, over all of them; where it ends, everything goes well:

    r   the body comes whole, with its length         e   with an Etag that is not its own
    c   the connection is cut in the middle           k   whole, in chunks, without a length
    s   it ends too short, and the connection with it x   whole, after `100 Continue`

What a status means to it is the vendor's word: 400 is for ever, 401 authenticates again, 402 and 403 are a matter for
people, and everything else, a lost connection included, is tried again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import quote

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from drivers.body_worn.axis_dock.emulator.recording import Recording

__all__ = ["Controller", "Rejected"]

LETTERS: Final = frozenset("rcsekx")
_PIECE: Final = 64 * 1024
_FOR_EVER: Final = frozenset({400, 402, 403})


class Rejected(Exception):
    """The destination said for ever that it does not take this."""

    def __init__(self, status: int, path: str) -> None:
        super().__init__(f"{status} for {path}")
        self.status, self.path = status, path


class _Cut(Exception):
    """Raised in a body, so that its connection is closed in the middle."""


@dataclass(slots=True)
class Controller:
    """One controller, with the connection file that an administrator gave it."""

    connection: Mapping[str, Any]
    wire: str = ""
    pause: float = 0.05
    """Seconds until something is tried again."""
    system: str = "6f1c2a34-0b1d-4a55-9a77-1c2d3e4f5a6b"
    said: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path below the store, status) of each answer; 0 where the connection was lost."""
    capabilities: dict[str, Any] = field(default_factory=dict)
    categories: list[dict[str, str]] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    """Recordings that wait for an administrator."""
    token: str = ""
    store: str = ""
    _session: aiohttp.ClientSession | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.wire) - LETTERS:
            raise ValueError(f"{''.join(sorted(unknown))} is nothing that a wire does")

    async def __aenter__(self) -> Self:
        pems = [base64.b64decode(one).decode() for one in self.connection.get("HTTPSCertificate", ())]
        trusted = ssl.create_default_context(cadata="\n".join(pems)) if pems else None
        connector = aiohttp.TCPConnector(ssl=trusted) if trusted else aiohttp.TCPConnector()
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None, sock_connect=5)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # -- the way there -------------------------------------------------------------------------------------------------

    async def authenticate(self) -> None:
        """Get a token from the first address that gives one; try until one does."""
        login = {
            "X-Auth-User": str(self.connection["BlobAPIUserName"]),
            "X-Auth-Key": str(self.connection["BlobAPIKey"]),
        }
        while True:
            for url in self.connection["AuthenticationTokenURI"]:
                status, headers, _ = await self._once("GET", url, login)
                if status == 200:  # noqa: PLR2004
                    self.token, self.store = headers["X-Auth-Token"], headers["X-Storage-Url"]
                    return
                if status == 401:  # noqa: PLR2004
                    raise Rejected(401, url)
            await asyncio.sleep(self.pause)

    async def connect(self, name: str = "Station 12") -> None:
        """What a controller does first: read what can be done here, and bind itself to this destination."""
        self.capabilities = await self._document("Capabilities.json") or {}
        self.categories = await self._document("Categories.json") or []
        mine = f"System/{self.system}"
        status, headers, _ = await self._ask("HEAD", mine)
        if status == 404:  # noqa: PLR2004
            await self.say("PUT", "System", {})
            await self.say("PUT", mine, {"ConnectionId": f"connection-{self.system[:8]}", "SystemName": name})
        elif "X-Object-Meta-Connectionid" not in headers:
            raise Rejected(status, mine)
        await self.say("PUT", "Users", {})
        await self.say("PUT", "Devices", {})

    async def user(self, identity: str, name: str, number: str = "", *, active: bool = True) -> None:
        """Tell who an officer is."""
        about = {"Active": str(active), "Name": name, "UserID": number}
        await self.say("PUT", f"Users/{identity}", about)

    async def device(self, serial: str, name: str, model: str = "W101") -> None:
        """Tell which camera there is."""
        await self.say("PUT", f"Devices/{serial}", {"Active": "True", "Name": name, "Model": model})

    # -- recordings ----------------------------------------------------------------------------------------------------

    async def send(self, recording: Recording) -> None:
        """Bring a whole recording; what is refused for ever is sent as rejected content, and told in `rejected`."""
        place = quote(recording.container)
        try:
            await self.say("PUT", place, {**recording.about, "Status": "Transferring"})
            for name, about, data in recording.objects():
                await self.put(f"{place}/{quote(name)}", about, data)
            await self.say("POST", place, recording.ending)
            if recording.complete:
                await self.say("POST", place, {"Status": "Complete"})
        except Rejected as error:
            self.rejected.append(recording.container)
            if self.capabilities.get("Store", {}).get("StoreRejectedContent"):
                await self._send_rejected(recording, str(error))

    async def _send_rejected(self, recording: Recording, why: str) -> None:
        place = f"RejectedContent_{recording.began_at:%Y%m%dT%H%M%SZ}_{self.system}"
        about = {
            **recording.about,
            "ContainerName": place,
            "RejectedContentOriginalContainer": recording.container,
            "RejectedContentTime": f"{recording.began_at:%Y-%m-%dT%H:%M:%SZ}",
            "RejectedContentReason": why,
        }
        await self.say("PUT", place, about)
        for name, told, data in recording.objects():
            mark = {"RejectedContentOriginalContainer": recording.container}
            await self.put(f"{place}/{quote(name)}", {**told, **mark}, data)

    async def put(self, path: str, about: Mapping[str, str], data: bytes) -> None:
        """Bring one object, as often as it takes."""
        while True:
            letter, self.wire = self.wire[:1] or "r", self.wire[1:]
            headers = {**_told("X-Object-Meta-", about), **_framing(letter, data)}
            status, _, _ = await self._ask("PUT", path, headers, _body(letter, data))
            if 200 <= status < 300:  # noqa: PLR2004
                return
            await self._consider(status, path)

    async def say(self, method: str, path: str, about: Mapping[str, str]) -> int:
        """Tell something of a container or object, as often as it takes; the status."""
        prefix = "X-Object-Meta-" if "/" in path else "X-Container-Meta-"
        while True:
            status, _, _ = await self._ask(method, path, {**_told(prefix, about), "Content-Length": "0"})
            if 200 <= status < 300:  # noqa: PLR2004
                return status
            await self._consider(status, path)

    async def meta(self, path: str) -> tuple[int, dict[str, str]]:
        """What the destination says of a thing: the status, and its metadata's headers as they come."""
        status, headers, _ = await self._ask("HEAD", path)
        return status, {name: value for name, value in headers.items() if "-Meta-" in name}

    # -- one request ---------------------------------------------------------------------------------------------------

    async def _document(self, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        status, headers, body = await self._ask("GET", f"System/{name}")
        if status != 200 or headers.get("Etag") != hashlib.md5(body, usedforsecurity=False).hexdigest():  # noqa: PLR2004
            return None  # as if it were not there
        return json.loads(body)

    async def _consider(self, status: int, path: str) -> None:
        if status in _FOR_EVER:
            raise Rejected(status, path)
        await asyncio.sleep(self.pause)

    async def _ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: AsyncIterator[bytes] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One request with a token; where the token is too old, the body's next sending has a new one."""
        if not self.token:
            await self.authenticate()
        answer = await self._once(method, f"{self.store}/{path}", {**(headers or {}), "X-Auth-Token": self.token}, body)
        self.said.append((method, path, answer[0]))
        if answer[0] == 401:  # noqa: PLR2004
            self.token = ""
            if body is None:
                return await self._ask(method, path, headers)
        return answer

    async def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: AsyncIterator[bytes] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        if self._session is None:
            raise RuntimeError("this controller was not entered")
        try:
            async with self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
                return answer.status, answer.headers, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError, _Cut):
            return 0, {}, b""


def _told(prefix: str, about: Mapping[str, str]) -> dict[str, str]:
    """Names as Go's HTTP library writes them, values percent-encoded."""
    return {f"{prefix}{name[:1].upper()}{name[1:].lower()}": quote(value, safe="") for name, value in about.items()}


def _framing(letter: str, data: bytes) -> dict[str, str]:
    if letter == "k":
        return {}
    headers = {"Content-Length": str(len(data)), "Content-Type": "application/octet-stream"}
    if letter == "e":
        headers["Etag"] = hashlib.md5(data + b"?", usedforsecurity=False).hexdigest()
    if letter == "x":
        headers["Expect"] = "100-continue"
    return headers


async def _body(letter: str, data: bytes) -> AsyncIterator[bytes]:
    end = len(data) // 2 if letter in "cs" else len(data)
    for at in range(0, end, _PIECE):
        yield data[at : min(end, at + _PIECE)]
        await asyncio.sleep(0)
    if letter in "cs":
        _cut()


def _cut() -> NoReturn:
    raise _Cut
