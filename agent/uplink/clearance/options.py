"""What a person may write in an `[[uplink]]` table with `use = "clearance"`, and the checks that need no network."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it when the class is made
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from agent.uplink import UplinkOptions
from agent.uplink.http.options import address
from agent.uplink.http.pinning import read_pin

__all__ = ["BLOCKS_MAX", "ClearanceOptions"]

MIB: Final = 1 << 20
BLOCKS_MAX: Final = 50_000
"""Blocks of one blob (Azure's own limit)."""


class ClearanceOptions(UplinkOptions):
    """One tenant of Genetec Clearance."""

    connection_file: Path
    """The JSON connection file of the integration, as its administrator downloaded it: it holds a private key. Read
    again for each token, so it may be renewed."""
    storage: tuple[Annotated[str, Field(pattern=r"^(\*\.)?[a-z0-9.-]{1,253}$")], ...] = (
        "*.blob.core.windows.net",
        "*.blob.core.usgovcloudapi.net",
    )
    """Hosts at which the tenant's storage may lie, `*.` for any name below."""
    ca_file: Path | None = None
    """Certificates (PEM) of the authorities that alone are trusted; without it, those of the system."""
    proxy: Annotated[str, AfterValidator(address)] | None = None
    """`http://proxy.example.org:3128`; HTTPS goes through it unseen (CONNECT)."""
    proxy_login_file: Path | None = None
    """File with `user:password` for the proxy."""
    key_pins: tuple[Annotated[str, AfterValidator(read_pin)], ...] = ()
    """SHA-256 in base64 of the agency's public keys (SubjectPublicKeyInfo) to which content keys may be wrapped;
    without it, whatever the Key Store Service gives. Name the next one before it changes."""
    block_length: Annotated[int, Field(ge=MIB, le=100 * MIB, multiple_of=MIB)] = 8 * MIB
    """Bytes of one block; more where a capture would have more than 50,000 of them."""
    blocks: Annotated[int, Field(ge=1, le=16)] = 2
    """Blocks that are on their way at once, of all captures together: each lies in memory as a whole, twice."""
    in_flight: Annotated[int, Field(ge=1, le=64)] = 4
    """How many captures are on their way at once."""
    checksum: Literal["Sha512", "Sha384", "Sha256"] = "Sha512"
    """Which digest of the encrypted file is stated at completion."""
    unfinished: Annotated[float, Field(ge=60, le=30 * 86400)] = 86400.0
    """Seconds after which the service purges what is not complete. What this link cannot carry in eight tenths of it
    is not begun."""
    read_back: bool = False
    """Read back what the storage holds before it is completed, and compare, for a receipt that counts."""
    canary: bool = False
    """Try once a day whether the service refuses a wrong checksum. Each try leaves a small item of evidence there,
    named Evidock canary."""
    signing: Literal["RS256", "RS512"] = "RS512"
    """How the request for a token is signed."""
    audience: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,512}$")] | None = None
    """For whom the request for a token is made out; without it, the address of the token service."""
    connect_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds for one TCP connection and its TLS handshake."""
    stall: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds without a byte taken or an answer begun after which a request is given up."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.proxy_login_file is not None and self.proxy is None:
            raise ValueError("proxy_login_file needs proxy")
        return self

    def stores_at(self, host: str | None) -> bool:
        """Whether the tenant's storage may lie there."""
        name = (host or "").lower()
        return any(name.endswith(one[1:]) if one.startswith("*.") else name == one for one in self.storage)
