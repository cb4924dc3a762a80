"""What an `[[uplink]]` table of any destination that speaks HTTP may say, and the checks that need no network."""

from __future__ import annotations

import ipaddress
from pathlib import Path  # noqa: TC003 - pydantic reads it when the class is made
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from agent.capture import PART_LENGTH
from agent.uplink import UplinkOptions
from agent.uplink.http.pinning import read_pin

__all__ = ["FLOOR", "HttpOptions", "address"]

FLOOR: Final = 256 * 1024
"""Bytes below which no part is made: one block from the spool, and less than any proxy's usual limit."""


def _address(text: str) -> str:
    url = _parsed(text)
    if url.query_string or url.fragment:
        raise ValueError("an address of a DEMS has no `?` and no `#`")
    return text


def _origin(text: str) -> str:
    return str(_parsed(text).origin())


def address(text: str) -> str:
    """An http or https address without a login; `ValueError` for anything else."""
    _parsed(text)
    return text


def _parsed(text: str) -> URL:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("this is no http or https address")
    try:
        (url.raw_host or "").encode("idna")  # as whoever resolves it does
    except UnicodeError:
        raise ValueError("a part of the host's name is empty or longer than 63 characters") from None
    if url.user is not None or url.password is not None:
        raise ValueError("a user name or password must not stand in an address: name a file that holds it")
    return url


class HttpOptions(UplinkOptions):
    """One DEMS that takes captures over HTTP; an uplink's own `Options` adds what its protocol needs."""

    url: Annotated[str, AfterValidator(_address)]
    """Where uploads are created, such as `https://dems.example.org/files`."""
    ca_file: Path | None = None
    """Certificates (PEM) of the authorities that alone are trusted; without it, those of the system."""
    pins: tuple[Annotated[str, AfterValidator(read_pin)], ...] = ()
    """SHA-256 in base64 of the public keys (SubjectPublicKeyInfo) of which the DEMS must show one, beside a certificate
    that is right. Name the next key before the DEMS changes to it."""
    client_cert: Path | None = None
    """Our own certificate (PEM), for a DEMS that knows its stations by certificate."""
    client_key: Path | None = None
    """Its private key (PEM), where it does not stand in the same file."""
    token_file: Path | None = None
    """File with the bearer token. Read again whenever the server is asked for its abilities, so it may be renewed."""
    proxy: Annotated[str, AfterValidator(address)] | None = None
    """`http://proxy.example.org:3128`; HTTPS goes through it unseen (CONNECT)."""
    proxy_login_file: Path | None = None
    """File with `user:password` for the proxy."""
    other_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    """Further origins (`https://store.example.org`) at which the server may place uploads; they get the token too."""
    part_length: Annotated[int, Field(ge=FLOOR, le=1 << 30, multiple_of=FLOOR)] = PART_LENGTH
    """Bytes of one request. At the default the digests of the parts stand in the journal already."""
    connect_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds for one TCP connection and its TLS handshake."""
    stall: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds without a byte taken or an answer begun after which a request is given up."""
    receipt_wait: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """Seconds to wait for the receipt of an upload that is complete."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key needs client_cert")
        if self.proxy_login_file is not None and self.proxy is None:
            raise ValueError("proxy_login_file needs proxy")
        if URL(self.url).scheme == "http" and (self.ca_file or self.client_cert or self.pins):
            raise ValueError("ca_file, client_cert and pins need an https address")
        open_to_all = [address for address in (self.url, *self.other_origins) if _readable_by_others(URL(address))]
        if self.token_file is not None and open_to_all:
            raise ValueError(f"a token is never sent over plain http, as to {open_to_all[0]}")
        return self


def _readable_by_others(url: URL) -> bool:
    if url.scheme == "https":
        return False
    try:
        return not ipaddress.ip_address(url.host or "").is_loopback
    except ValueError:
        return url.host != "localhost"
