"""The `listen` table of a driver that devices connect to, and the certificates that it names."""

from __future__ import annotations

import ssl
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.config import Length
from agent.errors import ConfigError, Problem, in_words

__all__ = ["ListenOptions", "Network", "check_certificates"]

Network = IPv4Network | IPv6Network


class ListenOptions(BaseModel):
    """The `listen` table of a driver that devices connect to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: IPv4Address | IPv6Address
    """Of this station, in the network of the devices; `::` means all of them."""
    port: Annotated[int, Field(ge=0, le=65535)]
    """0 takes any that is free, for tests."""
    certificate: Path | None = None
    """PEM: ours, and those between it and the authority."""
    key: Path | None = None
    """PEM, without a password, readable for the service alone."""
    plain: bool = False
    """True: without TLS, for devices that cannot speak it, in a network of their own."""
    client_ca: Path | None = None
    """PEM: a device must show a certificate of one of these authorities."""
    networks: tuple[Network, ...] = ()
    """Who may connect; empty means whoever can."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 256
    """At once; more are closed."""
    header_max: Length = 16 * 1024
    """Bytes of a request line or of one header."""
    body_max: Annotated[Length, Field(ge=1)] = 64 << 30
    """Bytes of one request's body."""
    handshake: Annotated[float, Field(gt=0, le=300)] = 15.0
    """Seconds in which TLS must stand."""
    idle: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds in which the whole head of a connection's next request must be here."""
    stall: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds for which a body that we want to read may come slower than `slowest`, or our answer not be taken."""
    slowest: Length = 128
    """Bytes a second that a body must come with."""
    grace: Annotated[float, Field(ge=0, le=60)] = 5.0
    """Seconds that requests under way have to end by themselves when the listener is stopped."""

    @model_validator(mode="after")
    def _fits_together(self) -> ListenOptions:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("`certificate` and `key` go together")
        if self.plain == (self.certificate is not None):
            raise ValueError("give `certificate` and `key`, or say `plain = true` where devices cannot speak TLS")
        if self.plain and self.client_ca is not None:
            raise ValueError("`client_ca` needs TLS: give `certificate` and `key`")
        return self


def check_certificates(options: ListenOptions, *, prefix: str = "listen") -> ssl.SSLContext | None:
    """TLS 1.2 and later with the certificates of the options, None for plain. Raises `ConfigError` with what is wrong.

    A driver calls it when it is made, so that a wrong file stops the start and is not found out at night.
    """
    if options.certificate is None or options.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # A key with a password must not make the service ask at a terminal that it does not have.
        context.load_cert_chain(options.certificate, options.key, password=lambda: b"")
    except (OSError, ValueError) as error:
        raise ConfigError(
            [Problem(f"{prefix}.certificate", f"{options.certificate}, {options.key}: {in_words(error)}")]
        ) from error
    if options.client_ca is not None:
        try:
            context.load_verify_locations(options.client_ca)
        except (OSError, ValueError) as error:
            raise ConfigError([Problem(f"{prefix}.client_ca", f"{options.client_ca}: {in_words(error)}")]) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context
