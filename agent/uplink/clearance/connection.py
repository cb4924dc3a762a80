"""The JSON connection file of an integration: where the tenant's services are, and who we are to them.

Its form is public (developer.clearance.network, JSON Connection File). Data centres are independent of each other, so
no address of the maker stands in this code.
"""

from __future__ import annotations

import base64
import ipaddress
from typing import TYPE_CHECKING, Annotated, Final

from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from yarl import URL

from agent.errors import ConfigError, Problem, in_words

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Connection", "Jwk", "read_connection"]

_LENGTH_MAX: Final = 64 * 1024
_BITS_LEAST: Final = 2048
_BITS_MOST: Final = 8192


def _address(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.user is not None or url.query_string:
        raise ValueError("this is no address of a service")
    if url.scheme == "http" and not _loopback(url.host):
        raise ValueError("evidence and keys do not go over plain http: use https")
    return text.rstrip("/")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(min_length=1, max_length=16)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")]


class Jwk(BaseModel):
    """An RSA key as JWK (RFC 7517 and RFC 7518 section 6.3); a private one has `d` and the primes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kty: Annotated[str, Field(pattern=r"^RSA(-HSM)?$")]
    kid: Annotated[str, Field(max_length=2048, pattern=r"^[\x20-\x7e]+$")] | None = None
    n: Annotated[str, Field(max_length=4096)]
    e: Annotated[str, Field(max_length=16)]
    d: Annotated[str, Field(max_length=4096)] | None = Field(default=None, repr=False)
    p: Annotated[str, Field(max_length=4096)] | None = Field(default=None, repr=False)
    q: Annotated[str, Field(max_length=4096)] | None = Field(default=None, repr=False)

    def public(self) -> rsa.RSAPublicKey:
        """Raises `ValueError` for numbers that make no key of a usual size."""
        numbers = rsa.RSAPublicNumbers(_number(self.e), _number(self.n))
        if not _BITS_LEAST <= numbers.n.bit_length() <= _BITS_MOST:
            raise ValueError(f"an RSA key of {numbers.n.bit_length()} bits is not used")
        return numbers.public_key()

    def private(self) -> rsa.RSAPrivateKey:
        """Raises `ValueError` where it is no private key, or its numbers do not fit together."""
        if self.d is None:
            raise ValueError("the key has no private part")
        public, d = self.public().public_numbers(), _number(self.d)
        if self.p is not None and self.q is not None:
            p, q = _number(self.p), _number(self.q)
        else:
            p, q = rsa.rsa_recover_prime_factors(public.n, public.e, d)
        dp, dq = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q)
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, rsa.rsa_crt_iqmp(p, q), public).private_key()


class Connection(BaseModel):
    """What of the file is used here."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    documents: _Addresses = Field(alias="DocumentStoreBaseAddresses")
    tokens: _Addresses = Field(alias="SecurityTokenServiceBaseAddresses")
    keys: _Addresses = Field(alias="KeyStoreBaseAddresses")
    tenant: _Id = Field(alias="TenantId")
    principal: _Id = Field(alias="ServicePrincipalId")
    key: Jwk = Field(alias="ServicePrincipalKey")
    unencrypted: bool = Field(default=False, alias="DisableEncryption")


def read_connection(path: Path) -> tuple[Connection, rsa.RSAPrivateKey]:
    """The file and its private key. Raises `ConfigError` where it cannot be used."""
    where = "connection_file"
    try:
        with path.open("rb") as file:
            text = file.read(_LENGTH_MAX + 1)
        if len(text) > _LENGTH_MAX:
            raise ConfigError([Problem(where, f"{path} is longer than a connection file")])
        # Some editors of other systems put a mark of three bytes before the text.
        connection = Connection.model_validate_json(text.removeprefix(b"\xef\xbb\xbf"))
        key = connection.key.private()
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        told = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in faults[:8])
        raise ConfigError([Problem(where, f"{path} is no connection file of Clearance: {told}")]) from error
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(where, f"{path}: {in_words(error)}")]) from error
    if connection.unencrypted:
        raise ConfigError([Problem(where, f"{path} says DisableEncryption, and nothing is sent unencrypted from here")])
    return connection, key


def _number(text: str) -> int:
    """RFC 7518 section 6.3.1: big endian, base64url without padding."""
    raw = base64.urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    if not raw:
        raise ValueError("a number of the key is empty")
    return int.from_bytes(raw)
