"""Tokens and certificates of the status service: who shows none is told nothing, and a renewed one is shown at once."""

from __future__ import annotations

import asyncio
import base64
import ssl
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from cryptography import x509
from yarl import URL

from agent.errors import ConfigError
from agent.station.status import EVENTS
from tests.screen.dock import served
from tests.station.asking import TOKEN, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.screen.dock import Dock


async def test_with_a_token_everything_asks_for_it(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    token.chmod(0o640)
    basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    wrong = base64.b64encode(b"anyone:x").decode()
    async with served(tmp_path, 1, status=f'token_file = "{token}"') as dock:
        for path in ("/", "/v1/status", EVENTS, "/metrics", "/health", "/openapi.json", "/nothing"):
            for shown in (
                None,
                "",
                "Bearer",
                "Bearer x",
                f"Basic {wrong}",
                "Basic !!",
                "Basic /w==",
                f"Digest {TOKEN}",
            ):
                headers = {} if shown is None else {"Authorization": shown}
                code, answered, _ = await ask(dock.url, path, headers=headers)
                assert code == 401, (path, shown)
                assert answered["WWW-Authenticate"].startswith("Basic ")
        for shown in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Basic {basic}"):
            headers = {"Authorization": shown, "Host": "dock.example.org"}
            assert (await ask(dock.url, "/v1/status", headers=headers))[0] == 200


async def test_with_an_authority_only_its_certificates_are_let_in(tmp_path: Path) -> None:
    agency, stranger = trustme.CA(), trustme.CA()
    ours = agency.issue_cert("localhost")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "ours.pem")
    agency.cert_pem.write_to_path(tmp_path / "ca.pem")
    lines = f'cert_file = "{tmp_path / "ours.pem"}"\nclient_ca_file = "{tmp_path / "ca.pem"}"'

    async def look(authority: trustme.CA | None, dock: Dock) -> int:
        trusting = ssl.create_default_context()
        agency.configure_trust(trusting)
        if authority is not None:
            authority.issue_cert("tablet@example.org").configure_cert(trusting)
        url = dock.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        return (await ask(url, "/v1/status", ssl=trusting))[0]

    async with served(tmp_path, 1, status=lines) as dock:
        assert await look(agency, dock) == 200
        for other in (stranger, None):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await look(other, dock)


async def test_a_renewed_certificate_is_shown_without_a_restart_and_one_that_cannot_be_used_is_not(
    tmp_path: Path,
) -> None:
    agency, file = trustme.CA(), tmp_path / "ours.pem"
    agency.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
    trusting = ssl.create_default_context()
    agency.configure_trust(trusting)

    async def shown(dock: Dock) -> int:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", URL(dock.url).port, ssl=trusting, server_hostname="localhost"
        )
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(der).serial_number

    async with served(tmp_path, 1, status=f'cert_file = "{file}"') as dock:
        first = await shown(dock)
        assert await shown(dock) == first
        agency.issue_cert("localhost").cert_chain_pems[0].write_to_path(file)  # its key is still on its way
        assert await shown(dock) == first
        agency.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(file)
        assert await shown(dock) != first


async def test_certificates_that_are_none_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"status\.cert_file"):
        async with served(tmp_path, 1, status=f'cert_file = "{tmp_path / "no.pem"}"'):
            pass
