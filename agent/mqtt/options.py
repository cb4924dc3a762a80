"""How a broker is reached: the table that a person writes, and the checks that need no network."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.errors import ConfigError, Problem, in_words
from agent.quantities import Duration, Length

if TYPE_CHECKING:
    import socket

__all__ = ["LEVEL", "BrokerOptions", "StationOptions"]

LEVEL: Final = r"^[a-z0-9-]{1,32}$"
"""One level of our topics."""

_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class BrokerOptions(BaseModel):
    """One MQTT 5 broker, and who we are to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:%-]{1,253}$")]
    """Name or address."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Default: 8883 with TLS, 1883 without."""
    tls: bool = True
    """TLS 1.2 or newer. Without it everything can be read and altered on the way."""
    ca_file: Path | None = None
    """Certificates (PEM) of the authorities that alone are trusted; without it, those of the system."""
    client_cert: Path | None = None
    """Our own certificate (PEM), with its chain, for a broker that knows its clients by certificate."""
    client_key: Path | None = None
    """Its private key (PEM), where it does not stand in the same file."""
    server_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,253}$")] | None = None
    """The name that the broker's certificate must bear, where it is not `host`."""
    login_file: Path | None = None
    """File with `user:password`. Read at each connection, so it may be renewed."""
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] | None = None
    """Who we are to the broker: no two clients may use one. Default: made from the machine's and the table's name."""
    keep_alive: Annotated[Duration, Field(ge=timedelta(seconds=5), le=timedelta(hours=1))] = 45 * _SECOND
    """Silence after which one asks the other for a sign of life."""
    session_expiry: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=30))] = timedelta(hours=24)
    """How long the broker keeps for us what comes while we are away."""
    connect_timeout: Annotated[Duration, Field(ge=_SECOND, le=2 * _MINUTE)] = 10 * _SECOND
    """For the connection, for TLS, and for the broker's answer, each."""
    max_packet: Annotated[Length, Field(ge=1024, le=16 << 20)] = 256 << 10
    """Bytes of the largest message that is taken."""
    in_hand: Annotated[int, Field(ge=1, le=1000)] = 32
    """Messages that are taken from the broker before the first of them is done with."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key needs client_cert")
        if not self.tls and (self.ca_file or self.client_cert or self.server_name):
            raise ValueError("ca_file, client_cert and server_name need tls")
        if not self.tls and self.login_file is not None and not self.loopback:
            raise ValueError("a password is never sent in the clear: login_file needs tls")
        return self

    @property
    def loopback(self) -> bool:
        """Whether nothing leaves this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def at(self) -> str:
        """The address for people: `broker.example.org:8883`."""
        return f"[{self.host}]:{self.number}" if ":" in self.host else f"{self.host}:{self.number}"

    @property
    def number(self) -> int:
        """The port."""
        return self.port or (8883 if self.tls else 1883)

    def with_room(self, *, max_packet: int, in_hand: int) -> Self:
        """The same where the table says how much is taken; where it does not, so much.

        What is longer than a client says that it takes, a broker throws away, and tells nobody.
        """
        room = {"max_packet": max_packet, "in_hand": in_hand}
        return self.model_copy(update={name: most for name, most in room.items() if name not in self.model_fields_set})

    def login(self) -> tuple[str, str] | None:
        """User and password. Raises `ConfigError` where the file cannot be used."""
        if self.login_file is None:
            return None
        text = _read(self.login_file)
        user, colon, password = text.partition(":")
        if not colon or not user:
            raise ConfigError([Problem("login_file", f"{self.login_file} must hold `user:password`")])
        return user, password

    def printed(self) -> tuple[tuple[int, int, int], ...]:
        """What tells whether a file with certificates is another one than before."""
        files = [path.stat() for path in (self.ca_file, self.client_cert, self.client_key) if path and path.is_file()]
        return tuple((there.st_ino, there.st_size, there.st_mtime_ns) for there in files)

    def context(self) -> ssl.SSLContext | None:
        """Whom we trust and the certificate that we show; None without TLS. Raises `ConfigError`."""
        if not self.tls:
            return None
        context = _Named(ssl.PROTOCOL_TLS_CLIENT)
        context.name = self.server_name
        context.patience = self.connect_timeout.total_seconds()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.ca_file is None:
                context.load_default_certs()
            else:
                context.load_verify_locations(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([Problem("ca_file", f"{self.ca_file}: {in_words(error)}")]) from error
        if self.client_cert is not None:
            try:
                # The password callback keeps OpenSSL from asking at a terminal for an encrypted key.
                context.load_cert_chain(self.client_cert, self.client_key, password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                named = ", ".join(str(path) for path in (self.client_cert, self.client_key) if path)
                raise ConfigError([Problem("client_cert", f"{named}: {in_words(error)}")]) from error
        return context


class StationOptions(BrokerOptions):
    """The agency's broker, where this station announces what it holds, and hears of receipts and commands."""

    agency: Annotated[str, Field(pattern=LEVEL)] | None = None
    """Name of the agency in topics. Default: its domain, with hyphens for dots."""
    site: Annotated[str, Field(pattern=LEVEL)] = "main"
    """Name of the building or the fleet in topics."""
    station: Annotated[str, Field(pattern=LEVEL)] | None = None
    """Name of this station in topics; with certificates, the CN of ours. Default: its name, in small letters."""
    status_every: Annotated[Duration, Field(ge=10 * _SECOND, le=timedelta(days=1))] = _MINUTE
    """Time between two messages with figures."""
    head_every: Annotated[Duration, Field(ge=_SECOND, le=timedelta(days=1))] = 5 * _MINUTE
    """Time between two signed heads of the custody log, while it grows."""
    receipts_for: str | None = None
    """Name of the [[uplink]] whose receipts come by this broker. Default: the primary."""
    operator_keys: tuple[str, ...] = ()
    """vkeys (C2SP signed-note) of those whose commands are obeyed. Without any, no command is heard at all."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        if not self.tls and not self.loopback:
            raise ValueError("what a station announces goes over TLS, except on this machine")
        return self


class _Named(ssl.SSLContext):
    """A context that asks for the name which a person pinned, and leaves no socket behind when TLS fails."""

    name: str | None = None
    patience = 10.0
    """Seconds for the handshake."""

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,  # noqa: FBT001, FBT002 - the standard library's own
        do_handshake_on_connect: bool = True,  # noqa: ARG002, FBT001, FBT002 - the same
        suppress_ragged_eofs: bool = True,  # noqa: FBT001, FBT002 - the same
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """See `ssl.SSLContext.wrap_socket`."""
        made = super().wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=suppress_ragged_eofs,
            server_hostname=self.name or server_hostname,
            session=session,
        )
        try:
            # Here and not by the library, which forgets the socket of a handshake that failed.
            made.settimeout(self.patience)
            made.do_handshake()
        except BaseException:
            made.close()
            raise
        return made


def _read(path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem("login_file", f"{path}: {in_words(error)}")]) from error
    if not text or not text.isprintable():
        raise ConfigError([Problem("login_file", f"{path} holds no single line of text")])
    return text
