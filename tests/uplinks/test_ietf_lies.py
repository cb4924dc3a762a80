"""Servers of resumable uploads whose words contradict each other: nothing goes on for ever, and nothing is believed."""

from __future__ import annotations

import base64
from traceback import walk_tb
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from agent.capture import Strength
from agent.errors import BadReceipt, UplinkDown
from agent.uplink.ietf import NotResumable, canary
from tests.uplinks.double import note
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.uplinks.double import Make

LENGTH = 2 * MIB


class Lying:
    """Headers and statuses by method, over those of a server that has nothing; it says no more after many requests."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.says: dict[str, tuple[int, dict[str, str], str]] = {
            "OPTIONS": (204, {"Upload-Limit": "max-size=1000000000"}, ""),
            "POST": (201, {"Location": "/captures/1", "Upload-Offset": "0", "Upload-Complete": "?0"}, ""),
            "HEAD": (204, {"Upload-Offset": "0", "Upload-Complete": "?0"}, ""),
            "PATCH": (204, {"Upload-Offset": "0", "Upload-Complete": "?0"}, ""),
            "DELETE": (204, {}, ""),
        }
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.method, len(await request.read())))
        if len(self.seen) > 200:
            return web.Response(status=418)
        status, headers, text = self.says[request.method]
        return web.Response(status=status, headers=headers, text=text or None)

    def asked(self, method: str) -> list[int]:
        return [length for name, length in self.seen if name == method]


@pytest.fixture
async def lying() -> AsyncIterator[Lying]:
    made = Lying()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/captures/"
    yield made
    await runner.cleanup()


async def test_a_limit_that_stands_in_the_refusal_alone_is_kept(lying: Lying, make: Make) -> None:
    lying.says["PATCH"] = (413, {"Upload-Limit": "max-append-size=300000"}, "")
    with pytest.raises(UplinkDown, match="413"):
        await make(lying.url).send(MemorySending(some_bytes(LENGTH)))
    assert lying.asked("PATCH")[1] == 300000, "the next one was as it wants them"
    assert len(lying.seen) < 20


async def test_limits_that_let_nothing_through_are_named(lying: Lying, make: Make) -> None:
    none = {"Upload-Offset": "0", "Upload-Complete": "?0", "Upload-Limit": "max-append-size=0"}
    lying.says["PATCH"] = lying.says["HEAD"] = (204, none, "")
    with pytest.raises(UplinkDown, match="takes no request of any length"):
        await make(lying.url).send(MemorySending(some_bytes(LENGTH)))
    assert len(lying.seen) < 20


async def test_a_refusal_of_the_whole_that_is_told_again_is_no_receipt(lying: Lying, make: Make) -> None:
    """Its first answer was lost; HEAD says that everything is there."""
    sending = MemorySending(b"abc")
    there = {"Upload-Offset": "3", "Upload-Complete": "?1"}
    lying.says["HEAD"] = (204, there, "")
    lying.says["PATCH"] = (422, there | {"Evidock-Receipt": "refused"}, "other bytes")
    sending.state = f"{lying.url}1"
    with pytest.raises(BadReceipt, match="found another digest: other bytes"):
        await make(lying.url).send(sending)


async def test_more_bytes_than_the_capture_has_are_no_receipt_and_no_fault_of_the_spool(
    lying: Lying, make: Make
) -> None:
    sending = MemorySending(b"abc")
    signed = base64.b64encode(note(sending.holding.id, "0" * 64, "x 1")).decode()
    there = {"Upload-Offset": "7", "Upload-Complete": "?1", "Evidock-Receipt": signed}
    lying.says["POST"] = (201, there | {"Location": "/captures/1"}, "")
    lying.says["HEAD"] = (204, there, "")
    with pytest.raises(BadReceipt, match="holds 7 bytes of a capture of 3"):
        await make(lying.url).send(sending)


async def test_a_least_request_of_gigabytes_is_not_tried(
    lying: Lying, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "_WRONG", Unpadded(canary._WRONG))
    least = 900_719_925_474_000
    lying.says["OPTIONS"] = (204, {"Upload-Limit": f"min-size={least}, min-append-size={least}"}, "")
    uplink = make(lying.url)
    with capture_logs() as logs:
        await uplink.probe()
    assert [one["event"] for one in logs] == ["checksums_ignored"]
    assert not uplink.door.verifying
    assert lying.asked("PATCH") == []


class Unpadded(bytes):
    """Bytes that are not padded to what no memory has."""

    def ljust(self, width: int, fill: bytes = b" ", /) -> bytes:
        assert width < 1 << 30, f"{width} bytes are asked for"
        return super().ljust(width, fill)


async def test_what_is_not_offered_is_said_without_keeping_who_asked(lying: Lying, make: Make) -> None:
    """With `without = "send"` it is raised for each capture."""
    lying.says["OPTIONS"] = (204, {}, "")
    door, depths = make(lying.url).door, []
    for _ in range(3):
        with pytest.raises(NotResumable, match="does not offer to resume") as found:
            await door.offer()
        depths.append(len(list(walk_tb(found.value.__traceback__))))
        assert "without = " in found.value.what_to_do
    assert len(set(depths[1:])) == 1


@pytest.mark.parametrize("without", ["wait", "send"])
async def test_a_login_page_is_named_and_is_no_server_that_resumes_nothing(
    lying: Lying, make: Make, without: str
) -> None:
    lying.says["OPTIONS"] = (200, {"Content-Type": "text/html; charset=utf-8"}, "<html>Welcome to our hotel</html>")
    with pytest.raises(UplinkDown, match="gave a web page instead of a resumable upload answer") as down:
        await make(lying.url, without=without).send(MemorySending(b"abc"))
    assert "captive portal" in down.value.what_to_do
    assert not isinstance(down.value, NotResumable)
    lying.says["OPTIONS"] = (200, {"Content-Type": "text/html; charset=utf-8", "Allow": "PUT"}, "PUT")
    with pytest.raises(NotResumable):
        await make(lying.url).send(MemorySending(b"abc"))


@pytest.mark.parametrize("status", [200, 203])
async def test_a_page_is_no_yes_of_a_server_that_resumes_nothing(lying: Lying, make: Make, status: int) -> None:
    """A login that has run out, or a site that gives its first page for whatever it is asked."""
    lying.says["OPTIONS"] = (405, {}, "")
    lying.says["PUT"] = (status, {"Content-Type": "text/html; charset=utf-8"}, "<html>Please log in</html>")
    sending = MemorySending(b"abc")
    with pytest.raises(UplinkDown, match="gave a web page instead of"):
        await make(lying.url, without="send").send(sending)
    lying.says["PUT"] = (201, {"Content-Type": "text/html"}, "<html>Created</html>")  # as Apache says it
    assert (await make(lying.url, without="send").send(sending)).strength is Strength.LENGTH


@pytest.mark.parametrize(("status", "says"), [(403, "does not permit"), (409, "no folder")])
async def test_a_folder_of_a_server_that_takes_nothing_refuses_no_capture_for_ever(
    lying: Lying, make: Make, status: int, says: str
) -> None:
    """RFC 4918, section 9.7.1: 409 where the folder is not there. Each capture would be refused, one by one."""
    lying.says["OPTIONS"] = (405, {}, "")
    lying.says["PUT"] = (status, {}, "")
    with pytest.raises(UplinkDown, match=says) as down:
        await make(lying.url, without="send").send(MemorySending(b"abc"))
    assert "administrator" in down.value.what_to_do
