"""Whom the uplink trusts, whom it tells who we are, and what it says when that goes wrong."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.capture import Strength
from agent.errors import ConfigError, UplinkDown
from agent.uplink.tus import TusUplink
from tests.uplinks.double import lies, stranger
from tests.uplinks.memory import MIB, MemorySending, some_bytes
from tests.uplinks.tls import failure, pin_by_openssl, served_with, strict_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.uplinks.double import Connect, Serve

NOW = datetime.now(UTC)


async def test_a_capture_goes_over_tls(serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path) -> None:
    double = await serve(tls=served_with(authority.issue_cert("127.0.0.1")), signs=True)
    uplink = connect(double.url, ca_file=ca_file)
    sending = MemorySending(some_bytes(20 * MIB))
    assert (await uplink.send(sending)).strength is Strength.SIGNED
    assert bytes(double.only.held) == sending.data
    found = {finding.what: finding for finding in await uplink.check()}
    assert found["certificate"].state == "ok"
    assert "TLSv1.3" in found["certificate"].detail
    assert {finding.state for finding in found.values()} == {"ok"}


async def test_a_certificate_that_ends_soon_is_a_warning(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path
) -> None:
    leaf = authority.issue_cert("127.0.0.1", not_after=NOW + timedelta(days=5, hours=1))
    double = await serve(tls=served_with(leaf), signs=True)
    found = {finding.what: finding for finding in await connect(double.url, ca_file=ca_file).check()}
    assert (found["certificate"].state, "5 more days" in found["certificate"].detail) == ("warning", True)


async def test_every_certificate_of_the_chain_is_told(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path
) -> None:
    """As OpenSSL verified it: what the server sent beside it, or in another order, is not it."""
    between = authority.create_child_ca()
    double = await serve(tls=served_with(between.issue_cert("127.0.0.1")), signs=True)
    found = {finding.what: finding for finding in await connect(double.url, ca_file=ca_file).check()}
    told = found["chain"].detail
    assert [part.split(" ")[0] for part in told.split("; ")] == ["1", "2", "3"]
    assert told.count(", until ") == 3
    assert told.endswith(", whom we trust")
    assert found["chain"].state == "ok"


async def test_what_is_shown_instead_is_told_so_that_a_person_can_ask_about_it(
    serve: Serve, connect: Connect, ca_file: Path
) -> None:
    """The DEMS has another authority, or somebody else answers: only its administrator can say which."""
    leaf = trustme.CA(organization_name="Another").issue_cert("127.0.0.1", "dems.example.org")
    double = await serve(tls=served_with(leaf))
    (_, found) = await connect(double.url, ca_file=ca_file).check()
    shown = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    assert (found.what, found.state) == ("connection", "problem")
    assert "it shows one for 127.0.0.1, dems.example.org, signed by " in found.detail
    assert "O=Another, from 2000-01-01 to " in found.detail
    assert shown.fingerprint(hashes.SHA256()).hex(":").upper() in found.detail


async def test_a_proxy_that_is_gone_is_not_taken_for_the_dems(serve: Serve, connect: Connect) -> None:
    double = await serve()
    await double.stop()
    for proxy in (f"http://127.0.0.1:{double.port}", "http://proxy.invalid:3128"):
        found = (await connect("https://dems.example.org/files", proxy=proxy).check())[-1]
        assert found.detail.startswith("the proxy, through which")
        assert "`proxy`" in str(found.todo)
        assert "DEMS running" not in str(found.todo)


async def test_an_authority_that_ends_soon_is_a_warning_though_its_certificate_is_young(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Old Authority")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=3000))
        .not_valid_after(NOW + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.TraditionalOpenSSL
    raw = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    old = trustme.CA.from_pem(made.public_bytes(serialization.Encoding.PEM), raw)
    old.cert_pem.write_to_path(str(tmp_path / "old.pem"))
    double = await serve(tls=served_with(old.issue_cert("127.0.0.1")), signs=True)
    found = {finding.what: finding for finding in await connect(double.url, ca_file=tmp_path / "old.pem").check()}
    assert found["certificate"].state == "ok"
    assert found["chain"].state == "warning"
    assert "Old Authority ends soon" in (found["chain"].todo or "")


@pytest.mark.parametrize(
    ("issued", "sentence", "hint"),
    [
        ({"not_after": NOW - timedelta(days=1), "not_before": NOW - timedelta(days=9)}, "has expired", "clock"),
        ({"not_before": NOW + timedelta(days=1)}, "is not valid yet", "clock"),
        ({"identity": "dems.example.org"}, "is for another name", "url"),
    ],
)
async def test_a_certificate_that_is_not_accepted_says_why(  # noqa: PLR0917 - three rows and four fixtures
    serve: Serve,
    connect: Connect,
    authority: trustme.CA,
    ca_file: Path,
    issued: dict[str, object],
    sentence: str,
    hint: str,
) -> None:
    identity = issued.get("identity", "127.0.0.1")
    dates = {key: value for key, value in issued.items() if key != "identity"}
    double = await serve(tls=served_with(authority.issue_cert(identity, **dates)))
    error = await failure(connect(double.url, ca_file=ca_file))
    assert sentence in str(error)
    assert hint in error.what_to_do
    assert "SSL" not in str(error)


async def test_an_unknown_authority_is_named(serve: Serve, connect: Connect, ca_file: Path) -> None:
    double = await serve(tls=served_with(trustme.CA().issue_cert("127.0.0.1")))
    error = await failure(connect(double.url, ca_file=ca_file))
    assert "nobody whom we trust" in str(error)
    assert "ca_file" in error.what_to_do
    assert "something between this station and the DEMS opens the encryption" in error.what_to_do


async def test_the_systems_authorities_do_not_count_beside_ca_file(connect: Connect, ca_file: Path) -> None:
    uplink = connect("https://127.0.0.1/files", ca_file=ca_file)
    assert uplink.door.tls is not None
    assert len(uplink.door.tls.get_ca_certs()) == 1
    assert uplink.door.tls.minimum_version is ssl.TLSVersion.TLSv1_2
    assert uplink.door.tls.verify_mode is ssl.CERT_REQUIRED
    assert uplink.door.tls.check_hostname


async def test_plain_http_behind_an_https_address_is_named(serve: Serve, connect: Connect) -> None:
    double = await serve()
    error = await failure(connect(double.url.replace("http:", "https:")))
    assert "does not speak TLS" in str(error)


async def test_what_speaks_no_http_is_named(connect: Connect) -> None:
    async def banner(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(banner, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UplinkDown, match="no HTTP"):
            await connect(f"http://127.0.0.1:{port}/files").send(MemorySending(b"abc"))


async def test_a_port_where_nobody_listens_is_named(serve: Serve, connect: Connect) -> None:
    double = await serve()
    await double.stop()
    error = await failure(connect(double.url))
    assert "refuses connections" in str(error)


async def test_a_name_that_does_not_resolve_is_named(connect: Connect) -> None:
    error = await failure(connect("http://dems.invalid/files"))
    assert "dems.invalid cannot be resolved" in str(error)


# --- who we are


@pytest.mark.usefixtures("both_ways")
async def test_a_key_that_is_not_pinned_gets_no_byte(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path
) -> None:
    """As behind a proxy that opens the encryption with an authority that we trust; pins as openssl has them."""
    dems, other = authority.issue_cert("localhost", "127.0.0.1"), authority.issue_cert("localhost", "127.0.0.1")
    pins = [await asyncio.to_thread(pin_by_openssl, one.cert_chain_pems[0].bytes()) for one in (dems, other)]
    double = await serve(tls=served_with(dems), signs=True)
    for names in (pins, pins[:1]):
        receipt = await connect(double.url, ca_file=ca_file, pins=names).send(MemorySending(b"abc"))
        assert receipt.strength is Strength.SIGNED
    double.seen.clear()
    uplink = connect(double.url, ca_file=ca_file, pins=pins[1:])
    with pytest.raises(UplinkDown, match="none of those in `pins`") as error:
        await uplink.send(MemorySending(b"abc"))
    assert "opens the encryption" in error.value.what_to_do
    assert not double.seen
    assert any(finding.state == "problem" and "pins" in finding.detail for finding in await uplink.check())


@pytest.mark.usefixtures("both_ways")
async def test_the_name_of_the_dems_is_told_before_its_certificate_is_chosen(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path
) -> None:
    """SNI: behind one address lie many names, and each has its own certificate."""
    context = served_with(authority.issue_cert("another.example.org"))
    right = served_with(authority.issue_cert("localhost"))
    told: list[str | None] = []

    def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        told.append(name)
        tls.context = right

    context.sni_callback = choose
    double = await serve(tls=context, signs=True)
    uplink = connect(f"https://localhost:{double.port}/files", ca_file=ca_file)
    assert (await uplink.send(MemorySending(b"abc"))).strength is Strength.SIGNED
    assert set(told) == {"localhost"}


@pytest.mark.usefixtures("both_ways")
async def test_a_dems_with_an_address_of_ipv6(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path
) -> None:
    double = await serve(tls=served_with(authority.issue_cert("::1")), signs=True, host="::1")
    uplink = connect(double.url, ca_file=ca_file)
    assert (await uplink.send(MemorySending(some_bytes(2 * MIB)))).strength is Strength.SIGNED
    assert {finding.state for finding in await uplink.check()} <= {"ok", "warning"}


@pytest.mark.usefixtures("both_ways")
async def test_a_client_certificate_is_shown(
    serve: Serve, connect: Connect, authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    context = served_with(authority.issue_cert("127.0.0.1"))
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    double = await serve(tls=context, signs=True)
    station = authority.issue_cert("dock-0042.example.org")
    certificate, key = tmp_path / "station.pem", tmp_path / "station.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in station.cert_chain_pems))
    station.private_key_pem.write_to_path(str(key))
    uplink = connect(double.url, ca_file=ca_file, client_cert=certificate, client_key=key)
    assert (await uplink.send(MemorySending(b"abc"))).strength is Strength.SIGNED

    with strict_server(context) as port, pytest.raises(UplinkDown) as caught:
        await connect(f"https://127.0.0.1:{port}/files", ca_file=ca_file).send(MemorySending(b"abc"))
    assert "refused the TLS connection: " in str(caught.value)
    assert "certificate required" in str(caught.value)
    assert "client_cert" in caught.value.what_to_do


@pytest.mark.usefixtures("both_ways")
async def test_the_token_is_sent_and_read_again(serve: Serve, connect: Connect, tmp_path: Path) -> None:
    double = await serve(signs=True)
    token = tmp_path / "token"
    token.write_text("first-token\n")
    uplink = connect(double.url, token_file=token)
    await uplink.send(MemorySending(b"abc", key="1"))
    token.write_text("second-token\n")
    double.next("POST", stranger(401))  # the old one ended
    with pytest.raises(UplinkDown, match="who we are"):
        await uplink.send(MemorySending(b"abc", key="2"))
    await uplink.send(MemorySending(b"abc", key="2"))
    sent = [seen.headers["Authorization"] for seen in double.seen]
    assert sent == ["Bearer first-token"] * 3 + ["Bearer second-token"] * 2
    token.unlink()
    uplink.door.surprised()
    with pytest.raises(UplinkDown, match="token_file"):
        await uplink.send(MemorySending(b"abc", key="3"))


async def test_the_token_goes_to_no_origin_that_nobody_permitted(
    serve: Serve, connect: Connect, tmp_path: Path
) -> None:
    thief, double = await serve(), await serve()
    token = tmp_path / "token"
    token.write_text("secret")
    double.next("POST", lies(Location=f"{thief.url}/1"), stranger(307, headers={"Location": thief.url}))
    uplink = connect(double.url, token_file=token)
    for _ in range(2):
        with pytest.raises(UplinkDown):
            await uplink.send(MemorySending(b"abc"))
    assert thief.seen == []


# --- what stops the start


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path, ca_file: Path) -> None:
    rubbish, missing, empty = tmp_path / "rubbish", tmp_path / "missing", tmp_path / "empty"
    rubbish.write_text("no certificate")
    empty.write_text(" \n")
    lines = tmp_path / "lines"
    lines.write_text("one\ntwo")
    for options, place in [
        ({"ca_file": missing}, "ca_file"),
        ({"ca_file": rubbish}, "ca_file"),
        ({"client_cert": ca_file}, "client_cert"),  # without its key
        ({"client_cert": missing, "client_key": missing}, "client_cert"),
        ({"token_file": missing}, "token_file"),
        ({"token_file": empty}, "token_file"),
        ({"token_file": lines}, "token_file"),
        ({"proxy": "http://proxy.example.org:3128", "proxy_login_file": rubbish}, "proxy_login_file"),
    ]:
        made = TusUplink.Options(use="tus", name="dems", url="https://dems.example.org/files", **options)
        with pytest.raises(ConfigError, match=place):
            TusUplink(made)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "dems.example.org/files"},
        {"url": "ftp://dems.example.org/files"},
        {"url": "https:///files"},
        {"url": "https://user:secret@dems.example.org/files"},
        {"url": "https://dems.example.org/files?key=secret"},
        {"url": "http://dems.example.org/files", "token_file": "token"},
        {"token_file": "token", "other_origins": ["http://store.example.org"]},
        {"url": "http://dems.example.org/files", "ca_file": "ca.pem"},
        {"client_key": "station.key"},
        {"proxy": "socks5://proxy.example.org"},
        {"proxy": "http://user:secret@proxy.example.org"},
        {"proxy_login_file": "login"},
        {"part_length": 1000},
        {"part_length": 300 * 1024},
        {"stall": 0},
        {"other_origins": ["store"]},
        {"unknown": 1},
    ],
)
def test_options_that_cannot_be_right_are_refused(options: dict[str, object]) -> None:
    known = {"use": "tus", "name": "dems", "url": "https://dems.example.org/files"}
    with pytest.raises(ValueError, match="validation error"):
        TusUplink.Options(**(known | options))
