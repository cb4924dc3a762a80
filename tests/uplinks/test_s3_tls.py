"""An object store behind TLS and an agency's proxy: seen by neither, and named where one of them says no."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trustme

from agent.capture import Strength
from agent.errors import ConfigError, UplinkDown
from agent.uplink.s3 import S3Options, S3Uplink
from agent.uplink.s3.session import session_with
from tests.uplinks import swift
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.s3_rig import client
from tests.uplinks.tls import pin_by_openssl, served_with
from tests.uplinks.tunnel import Tunnel, terminated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.interop


def bucket_of(folder: Path) -> str:
    return f"evidence-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


@pytest.fixture
def leaf(authority: trustme.CA) -> trustme.LeafCert:
    """The store's certificate."""
    return authority.issue_cert("127.0.0.1")


@pytest.fixture
async def port(store: swift.Swift, leaf: trustme.LeafCert, tmp_path: Path) -> AsyncIterator[int]:
    """Of TLS before Swift, where there is a bucket for this test."""
    async with client(store.port) as asked:
        await asked.create_bucket(Bucket=bucket_of(tmp_path))
    async with terminated(served_with(leaf), store.port) as made:
        yield made


def uplink_to(folder: Path, port: int, **more: object) -> S3Uplink:
    (folder / "keys").write_text(swift.KEYS)
    words: dict[str, object] = {
        "use": "s3",
        "name": "dems",
        "endpoint": f"https://127.0.0.1:{port}",
        "bucket": bucket_of(folder),
    }
    words |= {"keys_file": folder / "keys", "part_length": 5 * MIB, "stall": 20.0}
    return S3Uplink(S3Options.model_validate(words | more))


@pytest.mark.parametrize("length", [0, 1, 12 * MIB + 77])
async def test_through_a_proxy_with_its_login(
    store: swift.Swift, port: int, ca_file: Path, tmp_path: Path, length: int
) -> None:
    """The login goes to the proxy alone, and the bodies are signed for by their digests: nothing is read once more."""
    (tmp_path / "login").write_text("dock:pass word/@:\n")
    sending = MemorySending(some_bytes(length), key=f"TLS{length}.MP4")
    async with Tunnel() as tunnel:
        proxy = {"proxy": f"http://127.0.0.1:{tunnel.port}", "proxy_login_file": tmp_path / "login"}
        async with aclosing(uplink_to(tmp_path, port, ca_file=ca_file, **proxy)) as uplink:
            receipt = await uplink.send(sending)
    assert receipt.strength is Strength.DIGEST
    assert all(base64.b64encode(b"dock:pass word/@:") in head for head in tunnel.asked)
    assert tunnel.asked[0].startswith(b"CONNECT 127.0.0.1")
    async with client(store.port) as asked:
        body = (await asked.get_object(Bucket=bucket_of(tmp_path), Key=sending.holding.id))["Body"]
        assert hashlib.sha256(await body.read()).digest() == sending.holding.digest.sha256


@pytest.mark.parametrize(
    ("answer", "sentence", "hint"),
    [
        ("407 Proxy Authentication Required", "wants a login", "proxy_login_file"),
        ("403 Forbidden", "refused to connect us", "CONNECT"),
    ],
)
async def test_a_proxy_that_refuses_is_named(tmp_path: Path, answer: str, sentence: str, hint: str) -> None:
    async with Tunnel(answer) as tunnel:
        uplink = uplink_to(tmp_path, 9, proxy=f"http://127.0.0.1:{tunnel.port}")
        with pytest.raises(UplinkDown, match=sentence) as caught:
            await uplink.send(MemorySending(b"abc"))
        assert hint in caught.value.what_to_do
        await uplink.aclose()


async def test_an_authority_that_is_not_believed_is_named(port: int, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    async with aclosing(uplink_to(tmp_path, port, ca_file=other)) as uplink:
        with pytest.raises(UplinkDown, match="nobody whom we trust signed the certificate") as caught:
            await uplink.send(MemorySending(b"abc"))
        assert "ca_file" in caught.value.what_to_do
        assert "opens the encryption" in caught.value.what_to_do
        assert any(finding.state == "problem" for finding in await uplink.check())


async def test_a_certificate_for_another_name_is_named(authority: trustme.CA, ca_file: Path, tmp_path: Path) -> None:
    other = served_with(authority.issue_cert("s3.example.org"))
    async with terminated(other, 9) as port, aclosing(uplink_to(tmp_path, port, ca_file=ca_file)) as uplink:
        with pytest.raises(UplinkDown, match="is for another name") as caught:
            await uplink.send(MemorySending(b"abc"))
        assert "`endpoint`" in caught.value.what_to_do


async def test_a_store_whose_key_is_not_pinned_gets_no_byte(
    store: swift.Swift, leaf: trustme.LeafCert, authority: trustme.CA, port: int, ca_file: Path, tmp_path: Path
) -> None:
    """Though an authority that we trust signed for it, as in a network that opens the encryption."""
    other = authority.issue_cert("127.0.0.1")
    pins = [await asyncio.to_thread(pin_by_openssl, one.cert_chain_pems[0].bytes()) for one in (other, leaf)]
    async with aclosing(uplink_to(tmp_path, port, ca_file=ca_file, pins=pins[:1])) as uplink:
        with pytest.raises(UplinkDown, match="none of those in `pins`") as caught:
            await uplink.send(MemorySending(b"abc"))
        assert "opens the encryption" in caught.value.what_to_do
        assert any(finding.state == "problem" and "`pins`" in finding.detail for finding in await uplink.check())
    async with client(store.port) as asked:
        assert not (await asked.list_objects_v2(Bucket=bucket_of(tmp_path))).get("Contents")
    async with Tunnel() as tunnel:
        proxy = f"http://127.0.0.1:{tunnel.port}"
        async with aclosing(uplink_to(tmp_path, port, ca_file=ca_file, pins=pins, proxy=proxy)) as uplink:
            assert (await uplink.send(MemorySending(b"abc"))).strength is Strength.DIGEST
        async with aclosing(uplink_to(tmp_path, port, ca_file=ca_file, pins=pins[:1], proxy=proxy)) as uplink:
            with pytest.raises(UplinkDown, match="none of those in `pins`"):
                await uplink.send(MemorySending(b"abc", key="2"))


async def test_no_older_tls_is_spoken_than_1_2() -> None:
    for pins in ((), ("TPwFcTOFOTnpE5hPdcLeDWLN0Q3KCM8gvXy9y3S3TNw=",)):
        (context, *_) = session_with(pins)()._build_ssl_contexts(None)
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_pins_need_tls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        uplink_to(tmp_path, 9, endpoint="http://127.0.0.1:9", pins=["TPwFcTOFOTnpE5hPdcLeDWLN0Q3KCM8gvXy9y3S3TNw="])


def test_a_login_needs_a_proxy_and_a_file_that_holds_one(tmp_path: Path) -> None:
    (tmp_path / "login").write_text("no colon")
    with pytest.raises(ValueError, match="needs proxy"):
        uplink_to(tmp_path, 9, proxy_login_file=tmp_path / "login")
    with pytest.raises(ConfigError, match="user:password"):
        uplink_to(tmp_path, 9, proxy="http://127.0.0.1:9", proxy_login_file=tmp_path / "login")
