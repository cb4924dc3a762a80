"""What a tus server shows of an upload that is complete: its bytes by GET where it has that, else a digest by HEAD.

tus 1.0.0 says nothing of reading. tusd and @tus/server answer a GET at the upload's URL unless they are told not to; a
DEMS that takes evidence mostly does not, and may still compute a digest when it is asked (RFC 9530 section 4).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

from agent.uplink import Back
from agent.uplink.http.answer import repr_digest
from agent.uplink.http.trouble import translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from yarl import URL

    from agent.capture import Holding
    from agent.uplink.tus.door import TusDoor

__all__ = ["shown"]

BLOCK: Final = 256 * 1024
REREAD: Final = 32 * 1024 * 1024
"""Bytes per second at which a server is expected to read an upload again before it tells a digest."""


async def shown(door: TusDoor, url: URL, holding: Holding, *, stall: float) -> Back:
    """Ask. Raises `UplinkDown`, while the bytes are read as well."""
    response = await door.get(url)
    if response.status == 200:  # noqa: PLR2004 - OK
        return Back(blocks=_blocks(door, url, response, stall))
    response.close()
    why = f"a GET is answered with {response.status}"
    verifying = holding.digest.length / REREAD
    answer = await door.ask("HEAD", url, {"Want-Repr-Digest": "sha-256=10"}, verifying=verifying)
    whole = answer.spoken and answer.offset == holding.digest.length
    return Back(sha256=repr_digest(answer) if whole else None, why=why)


async def _blocks(
    door: TusDoor, url: URL, response: aiohttp.ClientResponse, stall: float
) -> AsyncGenerator[bytes, None]:
    try:
        while True:
            async with asyncio.timeout(stall):
                block = await response.content.read(BLOCK)
            if not block:
                return
            yield block
    except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
        raise translated(error, url, proxy=door.proxy) from error
    finally:
        response.close()
