"""One object on its way in: its bytes as they come, and what tells it from another of the same name."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from agent.driver import BLOCK_LENGTH
from agent.errors import DeviceGone, DeviceRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Body", "CutOff", "WrongEtag"]


class CutOff(DeviceGone):
    """The body did not come to its end: it is sent again."""

    hint = "Nothing to do: the controller sends it again."


class WrongEtag(CutOff):
    """What came is not what the sender's own Etag says: it is sent again."""


class Body:
    """The body of one PUT, to be read once."""

    def __init__(self, request: web.Request, *, remember: int = 0) -> None:
        self._request = request
        self._etag = request.headers.get("Etag", "").strip().strip('"').lower()
        # Neither is the hash of record: MD5 is Swift's, and SHA-256 only tells a clip that is sent again from another.
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.stated = request.content_length
        """Bytes, where the sender says how many (it does not for a chunked body)."""
        self.length = 0
        self.begun = False
        self.remembered = bytearray()
        """Its first `remember` bytes and some more."""
        self._remember = remember
        self.whole = False

    @property
    def md5(self) -> str:
        """Of what came so far, in hex."""
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        """Of what came so far, in hex."""
        return self._sha256.hexdigest()

    async def blocks(self) -> AsyncIterator[bytes]:
        """Everything until the end. Raises `CutOff` where it breaks off, `WrongEtag`, or `DeviceRefused`."""
        self.begun = True
        gathered: list[bytes] = []
        length = 0
        content = self._request.content
        while True:
            try:
                part = await content.readany()
            except web.HTTPRequestEntityTooLarge as error:
                raise DeviceRefused(
                    "an object is larger than `body_max`", hint="Raise `body_max` in the `listen` table of this driver."
                ) from error
            except (ClientError, ConnectionError, TimeoutError, web.HTTPException) as error:
                raise CutOff(f"the sender went away after {self.length + length} bytes") from error
            if part:
                gathered.append(part)
                length += len(part)
            if gathered and (not part or length >= BLOCK_LENGTH):
                block = gathered[0] if len(gathered) == 1 else b"".join(gathered)
                gathered, length = [], 0
                await asyncio.to_thread(self._count, block)
                yield block
            if not part:
                break
        if self.stated is not None and self.length != self.stated:
            raise CutOff(f"the sender stated {self.stated} bytes and gave {self.length}")
        if self._etag and self._etag != self.md5:
            raise WrongEtag(f"the sender's Etag is {self._etag}, and what came has the MD5 {self.md5}")
        self.whole = True

    async def skip(self) -> None:
        """Read it to its end, for what was held before; raises as `blocks` does."""
        async for _ in self.blocks():
            pass

    def _count(self, block: bytes) -> None:
        self._md5.update(block)
        self._sha256.update(block)
        self.length += len(block)
        if len(self.remembered) < self._remember:
            self.remembered += block
