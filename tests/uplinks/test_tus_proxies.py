"""Through an agency's proxy: with its login, unseen where it is https, and named where it is the proxy that fails."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from agent.capture import Strength
from agent.errors import UplinkDown
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.tls import failure, pin_by_openssl, served_with
from tests.uplinks.tunnel import Tunnel

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp import web

    from tests.uplinks.double import Connect, Double, Seen, Serve


async def test_plain_http_goes_through_a_proxy_with_its_login(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    double = await serve(signs=True)
    login = tmp_path / "login"
    login.write_text("dock:pass word\n")
    expected = "Basic " + base64.b64encode(b"dock:pass word").decode()
    proxied = []

    async def proxy(double: Double, request: web.Request, seen: Seen) -> web.StreamResponse:
        proxied.append((request.headers.get("Proxy-Authorization"), request.raw_path))
        return await double.work(request, seen)

    for method in ("OPTIONS", "POST"):
        double.next(method, proxy)
    address = f"http://127.0.0.1:{double.port}"
    uplink = connect("http://dems.invalid/files", proxy=address, proxy_login_file=login)
    assert (await uplink.send(MemorySending(b"abc"))).strength is Strength.SIGNED
    assert proxied == [(expected, "http://dems.invalid/files")] * 2
    assert {finding.state for finding in await uplink.check()} == {"ok"}


async def test_https_goes_through_a_proxy_unseen(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    double = await serve(tls=served_with(authority.issue_cert("127.0.0.1")), signs=True)
    login = tmp_path / "login"
    login.write_text("dock:secret")
    async with Tunnel() as tunnel:
        address = f"http://127.0.0.1:{tunnel.port}"
        uplink = connect(double.url, ca_file=ca_file, proxy=address, proxy_login_file=login)
        assert (await uplink.send(MemorySending(some_bytes(MIB)))).strength is Strength.SIGNED
        found = {finding.what: finding for finding in await uplink.check()}
        await uplink.aclose()
    assert str(tunnel.port) in found["proxy"].detail
    assert (found["certificate"].state, "signed by" in found["certificate"].detail) == ("ok", True)
    assert tunnel.asked[0].startswith(b"CONNECT 127.0.0.1")
    assert base64.b64encode(b"dock:secret") in tunnel.asked[0]
    assert "Proxy-Authorization" not in double.seen[0].headers


async def test_pins_are_of_the_dems_and_not_of_a_proxy_that_speaks_tls_itself(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path
) -> None:
    dems, other = authority.issue_cert("localhost"), authority.issue_cert("127.0.0.1")
    double = await serve(tls=served_with(dems), signs=True)
    right, wrong = (pin_by_openssl(one.cert_chain_pems[0].bytes()) for one in (dems, other))
    async with Tunnel(tls=served_with(other)) as tunnel:
        more = {"ca_file": ca_file, "proxy": f"https://127.0.0.1:{tunnel.port}"}
        uplink = connect(f"https://localhost:{double.port}/files", pins=[right], **more)
        assert (await uplink.send(MemorySending(b"abc"))).strength is Strength.SIGNED
        found = {finding.what: finding for finding in await uplink.check()}
        assert (found["certificate"].state, "signed by" in found["certificate"].detail) == ("ok", True)
        await uplink.aclose()
        double.seen.clear()
        uplink = connect(f"https://localhost:{double.port}/files", pins=[wrong], **more)
        with pytest.raises(UplinkDown, match=r"localhost:\d+ shows a key that is none of those in `pins`") as told:
            await uplink.send(MemorySending(b"abc"))
        assert told.value.unsent
        await uplink.aclose()
        uplink = connect(f"https://127.0.0.1:{double.port}/files", **more)
        with pytest.raises(UplinkDown, match=r"shown by 127\.0\.0\.1:\d+ is for another name"):
            await uplink.send(MemorySending(b"abc"))
        await uplink.aclose()
    assert not double.seen
    assert all(one.startswith((b"CONNECT localhost", b"CONNECT 127.0.0.1")) for one in tunnel.asked)


async def test_our_certificate_is_shown_to_the_dems_and_to_no_proxy(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    """Though the proxy asks for one, and has the name of the DEMS."""
    ours = tmp_path / "station.pem"
    authority.issue_cert("station.example.org").private_key_and_cert_chain_pem.write_to_path(ours)
    contexts = [served_with(authority.issue_cert("127.0.0.1")) for _ in range(2)]
    for context, asks in zip(contexts, (ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL), strict=True):
        context.load_verify_locations(ca_file)
        context.verify_mode = asks
    double = await serve(tls=contexts[0], signs=True)
    async with Tunnel(tls=contexts[1]) as tunnel:
        more = {"ca_file": ca_file, "client_cert": ours, "proxy": f"https://127.0.0.1:{tunnel.port}"}
        uplink = connect(double.url, **more)
        assert (await uplink.send(MemorySending(b"abc"))).strength is Strength.SIGNED
        found = {finding.what: finding for finding in await uplink.check()}
        assert found["certificate"].state == "ok"
        await uplink.aclose()
    assert tunnel.asked
    assert not any(tunnel.shown), "who we are is between us and the DEMS"


async def test_a_proxy_whose_certificate_nobody_knows_is_named_and_not_the_dems(
    connect: Connect, ca_file: Path
) -> None:
    async with Tunnel(tls=served_with(trustme.CA().issue_cert("127.0.0.1"))) as tunnel:
        uplink = connect("https://dems.invalid/files", ca_file=ca_file, proxy=f"https://127.0.0.1:{tunnel.port}")
        with pytest.raises(UplinkDown, match=f"signed the certificate of the proxy 127.0.0.1:{tunnel.port}"):
            await uplink.send(MemorySending(b"abc"))


async def test_the_proxy_s_login_is_for_the_proxy_also_where_uploads_lie_at_another_origin(
    serve: Serve,
    connect: Connect,
    authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The DEMS is reached by plain http, and places uploads at a store that speaks https: the store sees no login."""
    store = await serve(tls=served_with(authority.issue_cert("127.0.0.1")))
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=ca_file))
    login = tmp_path / "login"
    login.write_text("dock:secret")
    async with Tunnel() as tunnel:
        more = {"proxy": f"http://127.0.0.1:{tunnel.port}", "proxy_login_file": login, "other_origins": [store.url]}
        uplink = connect("http://dems.invalid/files", **more)
        url = uplink.door.resolved(f"{store.url}/1", uplink.door.url)
        assert (await uplink.door.ask("HEAD", url)).status == 404
        (await uplink.door.get(url)).close()
        await uplink.aclose()
    assert [one.split()[0] for one in tunnel.asked] == [b"CONNECT"] * len(tunnel.asked)
    assert all(base64.b64encode(b"dock:secret") in one for one in tunnel.asked)
    assert [one.method for one in store.seen] == ["HEAD", "GET"]
    assert not any("Proxy-Authorization" in one.headers for one in store.seen)


async def test_a_place_in_plain_http_is_reached_through_the_proxy_with_its_login(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    """Though the DEMS itself speaks https: without CONNECT the login stands in the request."""
    store = await serve()
    login = tmp_path / "login"
    login.write_text("dock:secret")
    more = {"proxy": f"http://127.0.0.1:{store.port}", "proxy_login_file": login}
    uplink = connect("https://dems.invalid/files", other_origins=["http://store.invalid"], **more)
    url = uplink.door.resolved("http://store.invalid/files/1", uplink.door.url)
    assert (await uplink.door.ask("HEAD", url)).status == 404
    (await uplink.door.get(url)).close()
    expected = "Basic " + base64.b64encode(b"dock:secret").decode()
    assert [one.headers.get("Proxy-Authorization") for one in store.seen] == [expected] * 2


@pytest.mark.parametrize(
    ("answer", "sentence", "hint"),
    [
        ("407 Proxy Authentication Required", "wants a login", "proxy_login_file"),
        ("403 Forbidden", "refused to connect us", "CONNECT"),
    ],
)
async def test_a_proxy_that_refuses_is_named(connect: Connect, answer: str, sentence: str, hint: str) -> None:
    async with Tunnel(answer) as tunnel:
        uplink = connect("https://dems.invalid/files", proxy=f"http://127.0.0.1:{tunnel.port}")
        error = await failure(uplink)
    assert sentence in str(error)
    assert hint in error.what_to_do


async def test_a_proxy_that_is_gone_is_named(serve: Serve, connect: Connect) -> None:
    double = await serve()
    await double.stop()
    uplink = connect("https://dems.invalid/files", proxy=f"http://127.0.0.1:{double.port}")
    with pytest.raises(UplinkDown, match="proxy"):
        await uplink.send(MemorySending(b"abc"))
