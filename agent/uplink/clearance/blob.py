"""One blob, block by block, at an address that carries its own signature (Azure SAS).

Documented at learn.microsoft.com, Blob service REST API: Put Block, Put Block List, Get Block List, Get Blob
Properties. A block's name says which one it is and what it is (SHA-256 of its bytes), so that what the service lists
after a restart is compared with what would be sent now, and nothing of it has to be believed.
"""

from __future__ import annotations

import asyncio
import base64
import re
from hashlib import md5, sha256
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from agent.errors import UplinkDown
from agent.uplink.clearance.doors import Purged
from agent.uplink.http.answer import retry_after
from agent.uplink.http.body import Body
from agent.uplink.http.trouble import explained

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from agent.uplink.clearance.doors import Storage
    from agent.uplink.http import Answer

__all__ = ["ENCRYPTION_DATA", "Blob", "NotSigned", "block_name", "number_of"]

ENCRYPTION_DATA: Final = "x-ms-meta-encryptiondata"
_VERSION: Final = "2021-12-02"
_PIECE: Final = 256 * 1024
_READ: Final = 1 << 20
_DIGEST: Final = 28
"""Bytes of a block's SHA-256 in its name: with its number 32, and names must all be of one length, at most 64."""
_LISTED: Final = re.compile(rb"<Block><Name>([A-Za-z0-9+/=]{1,128})</Name><Size>([0-9]{1,12})</Size></Block>")


class NotSigned(UplinkDown):
    """The address is not accepted: its signature has expired, or does not permit this."""


def block_name(number: int, content: bytes) -> str:
    """Name of one block, from 0."""
    return base64.b64encode(number.to_bytes(4) + sha256(content).digest()[:_DIGEST]).decode()


def number_of(name: str) -> int | None:
    """Which block a name says that it is; None for a name that is none of ours."""
    try:
        raw = base64.b64decode(name, validate=True)
    except ValueError:
        return None
    return int.from_bytes(raw[:4]) if len(raw) == 4 + _DIGEST else None


class Blob:
    """One, as long as its address is good."""

    def __init__(self, door: Storage, uri: str, stall: float) -> None:
        self._door, self._uri, self._stall = door, uri, stall

    def _url(self, **query: str) -> URL:
        more = "&".join(f"{name}={value}" for name, value in query.items())
        return URL(f"{self._uri}&{more}" if more else self._uri, encoded=True)

    async def put(self, name: str, content: bytes) -> None:
        """Bring one block. Raises `Purged`, `NotSigned`, `UplinkDown`."""
        headers = {
            "x-ms-version": _VERSION,
            "Content-Length": str(len(content)),
            "Content-Type": "application/octet-stream",
            "Content-MD5": base64.b64encode(md5(content, usedforsecurity=False).digest()).decode(),
        }
        body = Body(_pieces(content), len(content), self._stall)
        answer = await self._door.ask("PUT", self._url(comp="block", blockid=_quoted(name)), headers, body)
        if answer.status != 201:  # noqa: PLR2004 - Created
            raise _no(answer)

    async def listed(self) -> dict[str, int]:
        """Blocks that are there, names and lengths: of a blob that was made of them too, of which nobody heard."""
        headers = {"x-ms-version": _VERSION}
        answer = await self._door.ask("GET", self._url(comp="blocklist", blocklisttype="all"), headers)
        if answer.status == 404 and _code(answer) == "BlobNotFound":  # noqa: PLR2004 - Not Found
            return {}
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise _no(answer)
        return {name.decode(): int(size) for name, size in _LISTED.findall(answer.body)}

    async def commit(self, names: Iterable[str], data: str, *, instead_of: str | None = None) -> bool:
        """Make the blob of its blocks, with what opens it beside it; False where a blob is there already.

        `instead_of`: the tag of an empty one that it may take the place of.
        """
        parts = "".join(f"<Uncommitted>{name}</Uncommitted>" for name in names)
        headers = {
            "x-ms-version": _VERSION,
            "Content-Type": "application/xml",
            "x-ms-blob-content-type": "application/octet-stream",
            ENCRYPTION_DATA: data,
            **({"If-None-Match": "*"} if instead_of is None else {"If-Match": instead_of}),
        }
        text = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{parts}</BlockList>'.encode()
        answer = await self._door.ask("PUT", self._url(comp="blocklist"), headers, text)
        if answer.status in {409, 412} and _code(answer) in {"BlobAlreadyExists", "ConditionNotMet", ""}:
            return False
        if answer.status != 201:  # noqa: PLR2004 - Created
            raise _no(answer)
        return True

    async def head(self) -> Answer:
        """What the storage says of it. Raises `Purged` where none is there."""
        answer = await self._door.ask("HEAD", self._url(), {"x-ms-version": _VERSION})
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise _no(answer)
        return answer

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """What it stores, read back. Raises `UplinkDown`, also where nothing more comes for too long."""
        response = await self._door.get(self._url())
        try:
            if response.status != 200:  # noqa: PLR2004 - OK
                raise UplinkDown(f"the storage does not give back what it stores ({response.status})", alone=True)
            while True:
                async with asyncio.timeout(self._stall):
                    block = await response.content.read(_READ)
                if not block:
                    return
                yield block
        except (aiohttp.ClientError, OSError) as error:
            raise UplinkDown("the storage broke off while its bytes were read back", alone=True) from error
        finally:
            response.close()


def _no(answer: Answer) -> UplinkDown:
    code = _code(answer)
    match answer.status:
        case 403 | 401:
            return NotSigned(
                f"the storage does not accept our address ({answer.status} {code})".rstrip(),
                hint="The clock of this station may be wrong; else Clearance gives addresses that permit no upload.",
            )
        case 404 | 410:
            return Purged(f"the storage does not know this upload any more ({answer.status} {code})".rstrip())
        case 400 if code in {"InvalidBlockList", "InvalidBlobOrBlock"}:
            return Purged(f"blocks of this upload are not there any more ({code})")
        case 400 if code in {"Md5Mismatch", "InvalidMd5"}:
            return UplinkDown(
                "a block arrived as other bytes than were sent",
                hint="Something between this station and the storage changes bytes, or one of both has bad memory.",
                alone=True,
            )
        case _ if code:
            return UplinkDown(f"the storage answered {answer.status} {code}", retry_after=retry_after(answer))
        case _:
            return explained(answer, "Azure storage")


def _code(answer: Answer) -> str:
    code = answer.headers.get("x-ms-error-code", "")
    return code if code.isascii() and code.isalnum() and len(code) <= 64 else ""  # noqa: PLR2004


def _quoted(name: str) -> str:
    return name.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    view = memoryview(content)
    for at in range(0, len(content), _PIECE):
        yield bytes(view[at : at + _PIECE])
