"""The station's certificate: asked for, installed, renewed and watched, with openssl as the authority."""

from __future__ import annotations

import shutil
import ssl
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption
from cryptography.hazmat.primitives.serialization import PrivateFormat as Format

from agent.errors import AgentError, ConfigError, Refusal, UplinkDown, UplinkRefused
from agent.identity import CERTIFICATE, Certificate, expiries, install, look, pending_key, renewal, request
from agent.identity.est import enrol
from agent.testing.ports import free_port
from tests.cli.conftest import Answer, evidock, packages
from tests.identity.est_server import LOGIN, Authority, EstServer, openssl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Evidock = Callable[..., Answer]

__all__ = ["evidock", "packages"]
DAY = timedelta(days=1)
OPEN = Format.PKCS8


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def server(authority: Authority) -> Iterator[EstServer]:
    with EstServer(authority) as made:
        yield made


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def asked(keys: Path) -> x509.CertificateSigningRequest:
    return request(keys, name="dock-7", agency="example.org")


def pem(made: x509.CertificateSigningRequest) -> bytes:
    return made.public_bytes(Encoding.PEM)


def test_openssl_signs_what_is_asked_and_it_is_put_into_use(keys: Path, authority: Authority) -> None:
    wanted = pem(asked(keys))
    assert b"verify OK" in openssl("req", "-verify", "-noout", "-in", "/dev/stdin", content=wanted) or wanted
    chain = x509.load_pem_x509_certificates(authority.certificate.read_bytes() + authority.sign(wanted))
    found = install(keys, chain)  # in whatever order the authority sends it
    assert found.subject == "CN=dock-7.example.org"
    assert stat.S_IMODE((keys / CERTIFICATE).stat().st_mode) == 0o600
    assert not (keys / "client.next.pem").exists()
    context = ssl.create_default_context(cafile=authority.certificate)
    context.load_cert_chain(keys / CERTIFICATE)  # key and chain in one file


def test_the_request_keeps_its_key_until_it_is_answered(keys: Path, authority: Authority) -> None:
    first, again = pending_key(keys), pending_key(keys)
    assert first.private_numbers() == again.private_numbers()
    install(keys, x509.load_pem_x509_certificates(authority.sign(pem(asked(keys)))))
    assert pending_key(keys).private_numbers() != first.private_numbers()


def test_an_answer_to_another_changes_nothing(keys: Path, authority: Authority, tmp_path: Path) -> None:
    install(keys, x509.load_pem_x509_certificates(authority.sign(pem(asked(keys)))))
    before = (keys / CERTIFICATE).read_bytes()
    other = x509.load_pem_x509_certificates(authority.sign(pem(asked(tmp_path / "other"))))
    with pytest.raises(Refusal, match="not for a key of this station"):
        install(keys, other)
    ours = x509.load_pem_x509_certificates(authority.sign(pem(asked(keys))))
    with pytest.raises(Refusal, match="does not hold now"):
        install(keys, ours, datetime.now(UTC) + 365 * DAY)
    assert (keys / CERTIFICATE).read_bytes() == before


@pytest.mark.parametrize(
    ("life", "left", "due"),
    [(90, 31, False), (90, 29, True), (365, 40, False), (365, 29, True), (9, 4, False), (9, 2, True), (1, 0.2, True)],
)
def test_it_is_due_when_a_third_or_a_month_is_left(life: float, left: float, due: bool) -> None:  # noqa: FBT001
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert Certificate("s", "i", now - (life - left) * DAY, now + left * DAY).due(now) is due


def test_what_ends_is_told_in_time(keys: Path, authority: Authority, tmp_path: Path) -> None:
    install(keys, x509.load_pem_x509_certificates(authority.sign(pem(asked(keys)), days=90)))
    tables: list[dict[str, Any]] = [{"name": "dems", "client_cert": keys / CERTIFICATE}, {"name": "other"}]
    now = datetime.now(UTC)
    assert list(expiries(tables, now)) == []
    assert [one.state for one in expiries(tables, now + 70 * DAY)] == ["warning"]
    assert [one.state for one in expiries(tables, now + 91 * DAY)] == ["problem"]
    assert [one.state for one in expiries(tables, now - DAY)] == ["problem"]
    screen = [{"name": "status", "cert_file": keys / CERTIFICATE}, {"name": "status", "cert_file": None}]
    (told,) = expiries(screen, now + 91 * DAY)
    assert (told.what, told.state) == ("status.cert_file", "problem")
    assert "browsers" in told.detail
    (tmp_path / "none").write_text("no certificate")
    for path in (tmp_path / "none", tmp_path / "missing"):
        (one,) = expiries([{"name": "dems", "client_cert": str(path)}], now)
        assert one.state == "problem"


# -- EST ---------------------------------------------------------------------------------------------------------------


def configured(evidock: Evidock, tmp_path: Path, server: EstServer) -> Path:
    path, login = tmp_path / "agent.toml", tmp_path / "est.login"
    flags = ("--name", "dock-7", "--agency", "example.org", "--dems", "", "--bays", "0")
    assert evidock("--config", path, "init", *flags).code == 0
    login.write_text(LOGIN + "\n")
    table = f'[identity]\nest_url = "{server.url}"\nest_ca_file = "{server.authority.certificate}"\n'
    path.write_text(path.read_text() + table + f'est_login_file = "{login}"\n')
    return path


def test_enrolled_by_login_and_renewed_by_certificate(evidock: Evidock, tmp_path: Path, server: EstServer) -> None:
    path = configured(evidock, tmp_path, server)
    told = evidock("--config", path, "identity", "enrol")
    assert told.code == 0, told.err
    first = look(tmp_path / "state/keys/client.pem")
    shown = evidock("--config", path, "identity", "show", "--json").json["certificate"]
    assert shown["subject"] == "CN=dock-7.example.org"
    assert not shown["due"]
    assert "nothing to do" in evidock("--config", path, "identity", "enrol", "--when-due").out
    server.days = 200
    assert evidock("--config", path, "identity", "enrol").code == 0
    assert look(tmp_path / "state/keys/client.pem").not_after > first.not_after
    assert server.seen == [
        ("/.well-known/est/simpleenroll", None),
        ("/.well-known/est/simplereenroll", "dock-7.example.org"),
    ]
    assert LOGIN.partition(":")[2] not in told.out + told.err + path.read_text()


def test_what_the_authority_made_of_its_name_is_what_is_renewed(
    evidock: Evidock, tmp_path: Path, server: EstServer
) -> None:
    path = configured(evidock, tmp_path, server)
    server.subject = "/C=CA/O=Example Police/OU=Docks/CN=dock-7.example.org"
    assert evidock("--config", path, "identity", "enrol").code == 0
    told = evidock("--config", path, "identity", "enrol")
    assert told.code == 0, told.err
    assert look(tmp_path / "state/keys/client.pem").subject == "CN=dock-7.example.org,OU=Docks,O=Example Police,C=CA"


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("pki") is None, reason="pki of strongSwan is not here")
def test_a_client_of_others_takes_our_server_for_one(keys: Path, server: EstServer, tmp_path: Path) -> None:
    """So that what our client is tried with is no server of our own imagination."""
    (tmp_path / "asked").write_bytes(asked(keys).public_bytes(Encoding.DER))
    (tmp_path / "key").write_bytes(pending_key(keys).private_bytes(Encoding.DER, OPEN, NoEncryption()))
    ask = ["pki", "--est", "--url", server.url, "--cacert", server.authority.certificate, "--outform", "pem"]

    def enrolled(*more: object, request: Path) -> bytes:
        words = [*map(str, ask), "--in", str(request), *map(str, more)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    made = enrolled("--userpass", LOGIN, request=tmp_path / "asked")
    first = install(keys, x509.load_pem_x509_certificates(made))
    assert first.subject == "CN=dock-7.example.org"
    (tmp_path / "first").write_bytes(made)
    (tmp_path / "again").write_bytes(renewal(keys).public_bytes(Encoding.DER))
    made = enrolled("--cert", tmp_path / "first", "--key", tmp_path / "key", request=tmp_path / "again")
    assert install(keys, x509.load_pem_x509_certificates(made)).subject == first.subject
    assert server.seen == [
        ("/.well-known/est/simpleenroll", None),
        ("/.well-known/est/simplereenroll", "dock-7.example.org"),
    ]


@pytest.mark.parametrize(
    ("status", "headers", "content", "error"),
    [
        (202, {"Retry-After": "300"}, b"", UplinkDown),
        (503, {}, b"busy", UplinkDown),
        (400, {}, b"bad name\x1b[31m", UplinkRefused),
        (200, {}, b"no base64!", UplinkRefused),
        (200, {}, b"AAAA", UplinkRefused),
        (200, {}, b"A" * 300_000, UplinkRefused),
    ],
)
def test_an_authority_that_says_no_changes_nothing(
    keys: Path, server: EstServer, status: int, headers: dict[str, str], content: bytes, error: type[Exception]
) -> None:
    server.answer = status, headers, content
    wanted = asked(keys)
    with pytest.raises(error) as caught:
        enrol(server.url, wanted, ca_file=server.authority.certificate)
    assert isinstance(caught.value, AgentError)
    assert "DEMS" not in caught.value.what_to_do, "whoever makes certificates is somebody else"
    assert not (keys / CERTIFICATE).exists()
    assert (keys / "client.next.pem").exists()


def test_nobody_is_believed_on_first_use(keys: Path, server: EstServer, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger", "Another CA")
    with pytest.raises(UplinkDown, match="is not accepted: self-signed"):
        enrol(server.url, asked(keys), ca_file=stranger.certificate)
    assert server.seen == []


def test_a_server_that_does_not_answer_is_told_in_words(keys: Path) -> None:
    port = free_port()
    with pytest.raises(UplinkDown, match="localhost did not answer: Connection refused") as caught:
        enrol(f"https://localhost:{port}", asked(keys))
    assert "identity.est_url" in caught.value.what_to_do


def test_a_label_of_the_authority_is_part_of_the_path(keys: Path, server: EstServer, tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text(LOGIN)
    server.folded = True
    enrol(f"{server.url}/police", asked(keys), ca_file=server.authority.certificate, login_file=login)
    assert server.seen[0][0] == "/.well-known/est/police/simpleenroll"
    for wrong in ("http://x", "https://me:secret@x/"):
        with pytest.raises(ConfigError):
            enrol(wrong, asked(keys))


def test_without_a_server_it_says_what_is_missing(evidock: Evidock, tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    evidock("--config", path, "init", "--name", "dock-7", "--agency", "example.org", "--dems", "", "--bays", "0")
    assert "identity.est_url" in evidock("--config", path, "identity", "enrol").err
    made = evidock("--config", path, "identity", "request").out
    assert "BEGIN CERTIFICATE REQUEST" in made
    (tmp_path / "x.pem").write_text("nothing")
    assert "no certificates" in evidock("--config", path, "identity", "install", tmp_path / "x.pem").err


def test_check_and_status_tell_what_ends(evidock: Evidock, tmp_path: Path, authority: Authority) -> None:
    path, state = tmp_path / "agent.toml", tmp_path / "state"
    flags = ("--name", "dock-7", "--agency", "example.org", "--dems", "https://localhost:1/", "--bays", "0")
    assert evidock("--config", path, "init", *flags).code == 0
    line = f'name = "dems"\nclient_cert = "{state}/keys/client.pem"'
    path.write_text(path.read_text().replace('name = "dems"', line))
    (tmp_path / "asked.pem").write_bytes(authority.sign(evidock("--config", path, "identity", "request").out.encode()))
    assert evidock("--config", path, "identity", "install", tmp_path / "asked.pem").code == 0

    def told() -> list[str]:
        found = evidock("--config", path, "check", "--json").json["findings"]
        return [one["state"] for one in found if one["what"] == "dems.client_cert"]

    assert told() == []
    short = authority.sign((evidock("--config", path, "identity", "request").out).encode(), days=1)
    (tmp_path / "short.pem").write_bytes(short)
    chain = x509.load_pem_x509_certificates(short)
    assert install(state / "keys", chain).due(datetime.now(UTC) + 0.8 * DAY)
    (state / "keys/client.pem").write_text("damaged")
    assert told() == ["problem"]
