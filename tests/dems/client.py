"""A tus client that does only what it is told: one raw request at a time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import aiohttp
    from multidict import CIMultiDictProxy

    from agent.testing.dems import DemsProcess, EmulatedDems

    Data = bytes | AsyncIterator[bytes] | None
    ClientOf = Callable[[EmulatedDems | DemsProcess], "Client"]

OFFSET_MEDIA_TYPE = "application/offset+octet-stream"
LOG = "edge.example.org/dock-0042/log1"


def b64(value: str | bytes) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


@dataclass
class Answer:
    status: int
    headers: CIMultiDictProxy[str]
    text: str

    @property
    def offset(self) -> int:
        return int(self.headers["Upload-Offset"])

    @property
    def note(self) -> bytes:
        return base64.b64decode(self.headers["Evidock-Receipt"], validate=True)


@dataclass
class Sample:
    """One capture that a test uploads."""

    data: bytes
    capture: str
    log: str
    more: dict[str, str]

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()

    @property
    def metadata(self) -> str:
        said = {"capture": self.capture, "sha256": self.sha256.hex(), "log": self.log, **self.more}
        return ",".join(f"{key} {b64(value)}" if value else key for key, value in said.items())


def sample(data: bytes = b"evidence", *, capture: str | None = None, log: str = f"{LOG} 7", **more: str) -> Sample:
    return Sample(data, str(uuid.uuid4()) if capture is None else capture, log, more)


async def under_way(dems: EmulatedDems, sample: Sample) -> None:
    """Wait until a request works on this upload."""
    async with asyncio.timeout(30):
        while (upload := dems.core.store.known(sample.capture)) is None or not upload.busy:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def checksum_of(data: bytes, algorithm: str = "sha256") -> dict[str, str]:
    return {"Upload_Checksum": f"{algorithm} {b64(hashlib.new(algorithm, data).digest())}"}


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = URL(url)

    async def ask(self, method: str, url: str | URL, *, data: Data = None, **headers: str | None) -> Answer:
        """Send one request; `_` in a header's name stands for `-`, None leaves one out that is usual."""
        usual = {"Tus-Resumable": "1.0.0"} | ({"Content-Type": OFFSET_MEDIA_TYPE} if data is not None else {})
        given = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in given.items() if value is not None}
        skip = () if "Content-Type" in sent else ("Content-Type",)
        body = io.BytesIO(data) if isinstance(data, bytes) and len(data) > 1 << 20 else data
        async with self._session.request(
            method, self.url.join(URL(str(url))), data=body, headers=sent, skip_auto_headers=skip
        ) as response:
            return Answer(response.status, response.headers, await response.text())

    async def post(self, sample: Sample, *, data: Data = None, **headers: str | None) -> Answer:
        said = {"Upload_Length": str(len(sample.data)), "Upload_Metadata": sample.metadata} | headers
        return await self.ask("POST", self.url, data=data, **said)

    async def patch(self, url: str, offset: int, data: Data, **headers: str | None) -> Answer:
        return await self.ask("PATCH", url, data=data, **({"Upload_Offset": str(offset)} | headers))

    async def head(self, url: str, **headers: str | None) -> Answer:
        return await self.ask("HEAD", url, **headers)

    async def create(self, sample: Sample) -> str:
        answer = await self.post(sample)
        assert answer.status == 201, answer.text
        return str(answer.headers["Location"])
