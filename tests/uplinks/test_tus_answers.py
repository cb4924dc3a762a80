"""Every answer that is not plainly a yes: what it leads to, and that it never becomes a receipt."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from agent.capture import Strength
from agent.errors import AgentError, BadReceipt, UplinkDown, UplinkRefused
from agent.uplink.http import trip
from agent.uplink.http.options import FLOOR
from tests.uplinks.double import lies, note, said, says, stranger, whole
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from aiohttp import web

    from tests.uplinks.double import Connect, Double, Fault, Seen, Serve

PORTAL = "<html><body>Welcome to Airport WiFi. Log in.</body></html>"
STATUSES = [100 * n + m for n in (2, 3, 4, 5) for m in (0, 1, 2, 3, 4, 7, 8, 9, 10, 12, 13, 15, 22, 23, 29, 60, 99)]

# --- BYT-5: only the exact tus answer counts


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PATCH", "HEAD"])
@pytest.mark.parametrize("tus", [True, False])
async def test_byt_5_no_status_counts_as_success_but_the_one_that_tus_prescribes(
    serve: Serve, connect: Connect, method: str, *, tus: bool
) -> None:
    prescribed = {"OPTIONS": {200, 204}, "POST": {201}, "PATCH": {204}, "HEAD": {200, 204}}[method]
    for status in STATUSES:
        if status in prescribed and tus:
            continue
        double = await serve()
        sending = MemorySending(b"abc")
        # What a stranger says may carry the right headers by chance, but never the one of a tus server.
        headers = {"Upload-Offset": "3", "Tus-Version": "9.9.9", "Location": "/files/1"}
        fault = says(status, headers) if tus else stranger(status, headers=headers)
        double.next(method, *[fault] * 20)
        uplink = connect(double.url, with_creation=0)
        with pytest.raises(AgentError) as caught:
            await uplink.send(sending)
        assert isinstance(caught.value, UplinkDown | UplinkRefused | (BadReceipt if status == 460 else UplinkDown)), (
            status
        )
        assert str(caught.value)
        assert caught.value.what_to_do
        assert method == "HEAD" or 3 not in sending.confirmed, "not even for those who watch"
        await uplink.aclose()
        await double.stop()


@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PATCH", "HEAD"])
async def test_byt_5_a_captive_portal_is_named(serve: Serve, connect: Connect, method: str) -> None:
    double = await serve()
    double.next(method, *[stranger(200, PORTAL, "text/html")] * 5)
    with pytest.raises(UplinkDown) as caught:
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    if method != "HEAD":  # whose answer has no body and no need of a type
        assert "web page" in str(caught.value)
        assert "captive portal" in caught.value.what_to_do


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_byt_5_a_redirect_is_not_followed_and_its_goal_is_named(
    serve: Serve, connect: Connect, status: int
) -> None:
    double = await serve()
    double.next("POST", stranger(status, headers={"Location": "http://login.example.net/portal"}))
    with pytest.raises(UplinkDown, match=r"login\.example\.net") as caught:
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    assert "captive portal" in caught.value.what_to_do


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("status", [201, 204])
async def test_byt_5_an_answer_that_is_cut_is_no_answer(serve: Serve, connect: Connect, status: int) -> None:
    double = await serve(signs=True)
    text = base64.b64encode(b"evidock receipt\n\n\xe2\x80\x94 x y\n").decode()

    async def half(_double: Double, request: web.Request, _seen: Seen) -> web.StreamResponse:
        head = f"HTTP/1.1 {status} Created\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 3\r\nEvidock-Receipt: {text}\r\n"
        request.transport.write(head.encode())
        request.transport.close()
        return said(200)

    double.next("POST", half)
    sending = MemorySending(b"abc")
    await connect(double.url, with_creation=0).send(sending)
    assert [seen.method for seen in double.seen] == ["OPTIONS", "POST", "POST", "PATCH"]
    assert whole(double, sending)


@pytest.mark.parametrize("raw", ["", "!!!", base64.b64encode(b"<html>").decode(), "refused", "signed"])
async def test_byt_5_a_receipt_that_cannot_be_read_is_fetched_again(serve: Serve, connect: Connect, raw: str) -> None:
    double = await serve(signs=True)
    double.next("POST", lies(Evidock_Receipt=raw))
    double.next("HEAD", lies(Evidock_Receipt=raw))
    sending = MemorySending(b"abc")
    receipt = await connect(double.url, with_creation=0).send(sending)
    assert receipt.strength is Strength.SIGNED
    assert [seen.method for seen in double.seen] == ["OPTIONS", "POST", "HEAD", "GET"]
    assert sending.state is not None  # until the receipt was there, the URL had to be kept


@pytest.mark.parametrize(
    "fault",
    [stranger(200, PORTAL, "text/html"), stranger(200, "ok"), stranger(200, ""), stranger(403), stranger(500)],
)
async def test_byt_5_what_is_no_note_is_no_receipt(serve: Serve, connect: Connect, fault: Fault) -> None:
    double = await serve(signs=True)
    double.receipts_late = 2
    double.next("GET", fault)
    with pytest.raises(UplinkDown):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


async def test_a_receipt_that_comes_late_is_waited_for(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    double.receipts_late = 4
    receipt = await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    assert receipt.strength is Strength.SIGNED
    assert double.count("POST") == 1


async def test_a_receipt_for_another_stations_entry_is_not_taken_for_ours(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    double.receipts_late = 2
    sending = MemorySending(b"abc")
    theirs = note(sending.holding.id, sending.holding.digest.sha256.hex(), "edge.example.org/dock-0099/log1 3")
    double.next("GET", stranger(200, theirs.decode()))
    receipt = await connect(double.url, with_creation=0).send(sending)
    assert receipt.note is not None
    assert b"dock-0042" in receipt.note
    assert [seen.method for seen in double.seen] == ["OPTIONS", "POST", "HEAD", "GET", "HEAD"]


async def test_a_receipt_that_does_not_come_leaves_the_upload_for_later(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    double.receipts_late = 10**6
    sending = MemorySending(b"abc")
    uplink = connect(double.url, with_creation=0, receipt_wait=0.3)
    with pytest.raises(UplinkDown, match="no receipt for it yet"):
        await uplink.send(sending)
    double.receipts_late = 0
    double.seen.clear()
    assert (await uplink.send(sending)).strength is Strength.SIGNED
    assert [seen.method for seen in double.seen] == ["HEAD"]


# --- creation


@pytest.mark.parametrize("status", [400, 403, 409, 422])
@pytest.mark.parametrize("signs", [True, False])
async def test_a_capture_that_is_refused_at_creation_is_refused_for_ever(
    serve: Serve, connect: Connect, status: int, *, signs: bool
) -> None:
    double = await serve(signs=signs)
    double.next("POST", *[says(status, text="Case 12-345 is closed.\n\x1b[31mreally")] * 2)
    with pytest.raises(UplinkRefused, match=r"Case 12-345 is closed\. %1B\[31mreally") as caught:
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    assert str(status) in str(caught.value)


async def test_a_long_refusal_is_bounded(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("POST", says(403, text="no " * 100_000))
    with pytest.raises(UplinkRefused) as caught:
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    assert len(str(caught.value)) < 300


async def test_a_proxys_no_does_not_refuse_a_capture_for_ever(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("POST", stranger(403, "blocked by ModSecurity"))
    with pytest.raises(UplinkDown, match="without Tus-Resumable"):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


async def test_413_at_creation_is_a_refusal(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("POST", says(413))
    with pytest.raises(UplinkRefused, match="413"):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


async def test_431_at_creation_is_a_refusal(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("POST", stranger(431))
    with pytest.raises(UplinkRefused, match="names"):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


async def test_a_server_that_creates_nothing_is_named(serve: Serve, connect: Connect) -> None:
    double = await serve(extensions=())
    with pytest.raises(UplinkDown, match="creation"):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


async def test_a_server_of_another_version_is_named(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("OPTIONS", lies(Tus_Version="2.0.0,3.0.0"))
    with pytest.raises(UplinkDown, match=r"speaks tus 2\.0\.0, 3\.0\.0, and we speak 1\.0\.0"):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


# --- each row of the table of answers


@pytest.mark.parametrize("method", ["POST", "PATCH", "HEAD"])
async def test_412_says_which_versions_there_are(serve: Serve, connect: Connect, method: str) -> None:
    double = await serve()
    double.next(method, says(412, {"Tus-Version": "0.2.2"}))
    with pytest.raises(UplinkDown, match=r"does not speak tus 1\.0\.0.*0\.2\.2"):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))


@pytest.mark.parametrize(("status", "word"), [(401, "token"), (407, "proxy"), (507, "room"), (511, "captive portal")])
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PATCH", "HEAD"])
async def test_answers_for_a_person_carry_a_hint(
    serve: Serve, connect: Connect, method: str, status: int, word: str
) -> None:
    double = await serve()
    double.next(method, stranger(status))
    with pytest.raises(UplinkDown) as caught:
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    assert word in str(caught.value) + caught.value.what_to_do


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "PATCH", "HEAD"])
async def test_retry_after_is_honoured_and_bounded(serve: Serve, connect: Connect, method: str, status: int) -> None:
    now = datetime.now(UTC)
    for text, low, high in [
        ("7", 7, 7),
        (format_datetime(now + timedelta(seconds=900), usegmt=True), 700, 900),
        (format_datetime(now - timedelta(days=1), usegmt=True), 0, 0),
        ("999999999", 3600, 3600),
        ("soon", None, None),
        ("-5", None, None),
    ]:
        double = await serve()
        double.next(method, stranger(status, headers={"Retry-After": text}))
        sending = MemorySending(b"abc")
        uplink = connect(double.url, with_creation=0)
        with pytest.raises(UplinkDown) as caught:
            await uplink.send(sending)
        found = caught.value.retry_after
        assert found is None if low is None else found is not None and low <= found <= high
        await uplink.send(sending)
        assert double.made == 1


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_a_doubtful_answer_to_a_part_is_followed_by_head(serve: Serve, connect: Connect, status: int) -> None:
    double = await serve()
    double.next("PATCH", stranger(status), says(status))
    sending = MemorySending(some_bytes(MIB))
    await connect(double.url, with_creation=0).send(sending)
    assert [seen.method for seen in double.seen] == [
        *("OPTIONS", "POST", "PATCH", "HEAD", "PATCH", "HEAD", "PATCH", "HEAD"),
    ]
    assert whole(double, sending)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("status", [408, 409, 500])
async def test_patience_with_doubtful_answers_ends(serve: Serve, connect: Connect, status: int) -> None:
    double = await serve()
    double.next("PATCH", *[says(status)] * 100)
    with pytest.raises(UplinkDown, match=str(status)):
        await connect(double.url, with_creation=0).send(MemorySending(b"abc"))
    assert double.count("PATCH") == trip.PATIENCE


@pytest.mark.usefixtures("both_ways")
async def test_413_at_a_part_from_a_proxy_makes_parts_smaller_for_good(serve: Serve, connect: Connect) -> None:
    double = await serve()
    limit = MIB

    async def proxy(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        if int(request.headers.get("Content-Length", 0)) > limit:
            return await stranger(413, "<html>413</html>", "text/html")(double, request, seen)
        return await double.work(request, seen)

    double.next("PATCH", *[proxy] * 100)
    uplink = connect(double.url, with_creation=0, part_length=8 * MIB)
    first, second = MemorySending(some_bytes(12 * MIB)), MemorySending(some_bytes(12 * MIB, 2), key="2")
    await uplink.send(first)
    refused = sum(int(seen.headers.get("Content-Length", 0)) > limit for seen in double.seen)
    assert refused == 3
    await uplink.send(second)
    assert sum(int(seen.headers.get("Content-Length", 0)) > limit for seen in double.seen) == refused
    assert {bytes(stored.held) for stored in double.uploads.values()} == {first.data, second.data}


@pytest.mark.usefixtures("both_ways")
async def test_413_from_a_proxy_at_the_smallest_part_names_the_proxy(serve: Serve, connect: Connect) -> None:
    double = await serve(signs=True)
    double.next("POST", stranger(413))
    double.next("PATCH", *[stranger(413)] * 20)
    uplink = connect(double.url, with_creation=0, part_length=2 * MIB)
    with pytest.raises(UplinkDown, match="proxy") as caught:
        await uplink.send(MemorySending(some_bytes(2 * MIB)))
    assert "client_max_body_size" in caught.value.what_to_do
    assert double.seen[-1].headers["Content-Length"] == str(FLOOR)


async def test_413_from_the_server_itself_is_a_doubt(serve: Serve, connect: Connect) -> None:
    double = await serve()
    double.next("PATCH", says(413))
    sending = MemorySending(b"abc")
    await connect(double.url, with_creation=0).send(sending)
    assert [seen.method for seen in double.seen][2:] == ["PATCH", "HEAD", "PATCH", "HEAD"]


async def test_415_and_400_at_a_part_are_no_reason_to_try_the_same_again(serve: Serve, connect: Connect) -> None:
    for status in (400, 415):
        double = await serve()
        double.next("PATCH", says(status, text="unsupported checksum algorithm"))
        uplink = connect(double.url, with_creation=0)
        with pytest.raises(UplinkDown, match="unsupported checksum algorithm"):
            await uplink.send(MemorySending(b"abc"))
        assert double.count("PATCH") == 1
