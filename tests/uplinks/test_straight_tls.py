"""Long bodies by threads over TLS: what never goes in the clear, and what a connection may do while a body goes out."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trustme
from yarl import URL

from agent.errors import UplinkDown
from agent.uplink.http import Door, HttpOptions
from tests.uplinks.memory import MIB, MemoryLeaving, MemorySending, some_bytes
from tests.uplinks.tls import served_with

if TYPE_CHECKING:
    from tests.uplinks.double import Serve


def body_of(data: bytes) -> MemoryLeaving:
    return MemoryLeaving(MemorySending(data), 0, len(data))


async def test_what_an_http_address_sends_on_to_https_goes_there_encrypted(serve: Serve) -> None:
    """As to a store that the DEMS names: the system's authorities count, for an http `url` can name no others."""
    store = await serve(tls=served_with(trustme.CA().issue_cert("127.0.0.1")))
    door = Door(HttpOptions(use="tus", name="dems", url="http://127.0.0.1:9/files", other_origins=[store.url]))
    words = {"Content-Length": str(MIB)}
    async with aclosing(door):
        with pytest.raises(UplinkDown, match="nobody whom we trust signed") as caught:
            await door.carry("PUT", URL(store.url), words, body_of(some_bytes(MIB)), MIB, verifying=0.0)
    assert caught.value.unsent
