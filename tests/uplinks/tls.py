"""An authority of the tests' own, a server with its certificate, and how a connection that fails is told."""

from __future__ import annotations

import base64
import hashlib
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.errors import UplinkDown
from tests.uplinks.memory import MemorySending

if TYPE_CHECKING:
    import trustme

    from agent.uplink.tus import TusUplink


def served_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def pin_by_openssl(certificate: bytes) -> str:
    """Of a certificate (PEM), as docs/uplinks.md says it."""
    key = subprocess.run(["openssl", "x509", "-pubkey", "-noout"], input=certificate, capture_output=True, check=True)
    raw = ["openssl", "pkey", "-pubin", "-outform", "DER"]
    der = subprocess.run(raw, input=key.stdout, capture_output=True, check=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


async def failure(uplink: TusUplink) -> UplinkDown:
    with pytest.raises(UplinkDown) as caught:
        await uplink.send(MemorySending(b"abc"))
    checked = [finding for finding in await uplink.check() if finding.state == "problem"]
    assert [finding.detail.partition("; it shows")[0] for finding in checked] == [str(caught.value)]
    assert [finding.todo for finding in checked] == [caught.value.what_to_do]
    return caught.value
