"""An object store behind TLS and an agency's proxy: seen by neither, and named where one of them says no."""

from __future__ import annotations

import base64
import hashlib
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
import trustme

from agent.capture import Strength
from agent.errors import ConfigError, UplinkDown
from agent.uplink.s3 import S3Options, S3Uplink
from tests.uplinks import swift
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.s3_rig import client
from tests.uplinks.tls import served_with
from tests.uplinks.tunnel import Tunnel, terminated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.interop


def bucket_of(folder: Path) -> str:
    return f"evidence-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


@pytest.fixture
async def port(store: swift.Swift, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[int]:
    """Of TLS before Swift, where there is a bucket for this test."""
    async with client(store.port) as asked:
        await asked.create_bucket(Bucket=bucket_of(tmp_path))
    async with terminated(served_with(authority.issue_cert("127.0.0.1")), store.port) as made:
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
        with pytest.raises(UplinkDown, match="no TLS connection") as caught:
            await uplink.send(MemorySending(b"abc"))
        assert "ca_file" in caught.value.what_to_do
        assert any(finding.state == "problem" for finding in await uplink.check())


def test_a_login_needs_a_proxy_and_a_file_that_holds_one(tmp_path: Path) -> None:
    (tmp_path / "login").write_text("no colon")
    with pytest.raises(ValueError, match="needs proxy"):
        uplink_to(tmp_path, 9, proxy_login_file=tmp_path / "login")
    with pytest.raises(ConfigError, match="user:password"):
        uplink_to(tmp_path, 9, proxy="http://127.0.0.1:9", proxy_login_file=tmp_path / "login")
