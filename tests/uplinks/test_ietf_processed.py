"""Every byte arrived, and whoever processes the whole says no: for ever, or for now (the draft, section 4.4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from agent.errors import UplinkDown, UplinkRefused
from tests.uplinks.memory import MemorySending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from tests.uplinks.double import Make


class Processing:
    """A server that takes every byte and answers for the whole as it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.says: dict[str, Any] = {}
        self.lost = False
        """The next answer to the whole is."""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request.method)
        await request.read()
        match request.method:
            case "OPTIONS":
                return web.Response(status=204, headers={"Upload-Limit": "max-size=1000000"})
            case "POST":
                begun = {"Location": "/captures/1", "Upload-Offset": "0", "Upload-Complete": "?0"}
                return web.Response(status=201, headers=begun)
            case "PATCH" if self.lost and request.transport is not None:
                self.lost = False
                request.transport.abort()
            case "HEAD":
                there = {"Upload-Offset": "3", "Upload-Complete": "?1"}
                return web.Response(status=204, headers=there)
            case "PATCH":
                told = {"Upload-Offset": "3", "Upload-Complete": "?1"}
                return web.Response(status=self.says["status"], headers=told | self.says["headers"], text="full")
        return web.Response(status=405)


@pytest.fixture
async def processing() -> AsyncIterator[Processing]:
    made = Processing()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/captures/"
    yield made
    await runner.cleanup()


async def test_a_no_to_the_whole_is_for_ever(processing: Processing, make: Make) -> None:
    processing.says = {"status": 422, "headers": {}}
    with pytest.raises(UplinkRefused, match=r"has every byte and refuses this capture \(422\): full"):
        await make(processing.url).send(MemorySending(b"abc"))
    assert processing.seen == ["OPTIONS", "POST", "PATCH"], "and nothing is sent again"


@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "7"}, 7), ({}, None)])
async def test_a_whole_that_cannot_be_processed_now_waits_by_itself(
    processing: Processing, make: Make, headers: dict[str, str], seconds: float | None
) -> None:
    processing.says = {"status": 503, "headers": headers}
    with pytest.raises(UplinkDown, match=r"has every byte and could not process them \(503\): full") as down:
        await make(processing.url).send(MemorySending(b"abc"))
    assert down.value.alone, "others may be well"
    assert down.value.retry_after == seconds
    assert processing.seen == ["OPTIONS", "POST", "PATCH"]


async def test_an_answer_to_the_whole_that_was_lost_is_asked_for_again(processing: Processing, make: Make) -> None:
    """HEAD says that there was one, and not whether it was a yes: it was a no."""
    processing.says, processing.lost = {"status": 422, "headers": {}}, True
    with pytest.raises(UplinkRefused, match="refuses this capture"):
        await make(processing.url).send(MemorySending(b"abc"))
    assert processing.seen[-2:] == ["HEAD", "PATCH"]
