"""A certificate authority for one folder, and a certificate for this machine: HTTPS on loopback without a person."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent import durable
from agent.errors import Refusal

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Certificates", "make_certificates", "server_context"]


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the files lie."""

    ca_file: Path | None
    """What a client must trust; None where the certificate came from elsewhere."""
    chain: Path
    private_key: Path


def make_certificates(folder: Path, host: str) -> Certificates:
    """Return the folder's certificates, made at the first call; later calls give the same, so that clients go on."""
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    if not (folder / "ca.pem").exists():
        try:
            import trustme  # noqa: PLC0415 - only a run that makes its own certificates needs it
        except ImportError:
            raise Refusal(
                "the emulated DEMS makes its certificates with trustme, and an installed station has none",
                hint="Nothing was changed. Run it from an environment with evidock[testing], or with --no-tls.",
            ) from None
        authority = trustme.CA(organization_name="Evidock emulated DEMS")
        issued = authority.issue_cert(*dict.fromkeys((host, "localhost", "127.0.0.1", "::1")))
        durable.make_folder(folder)
        durable.replace_file(made.chain, b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        durable.replace_file(made.private_key, issued.private_key_pem.bytes())
        durable.replace_file(folder / "ca.pem", authority.cert_pem.bytes())  # last: it says that all three are there
    return made


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """Return the TLS settings of the server: 1.2 and later."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.chain, certificates.private_key)
    return context
