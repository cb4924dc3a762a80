"""What a person may write in an `[[uplink]]` table with `use = "s3"`, and the checks that need no network."""

from __future__ import annotations

import ipaddress
from pathlib import Path  # noqa: TC003 - pydantic reads it when the class is made
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from agent.capture import PART_LENGTH, Priority
from agent.uplink import UplinkOptions
from agent.uplink.http.pinning import read_pin

__all__ = ["PARTS_MAX", "PART_MIN", "S3Options", "class_name"]

MIB: Final = 1 << 20
PART_MIN: Final = 5 * MIB
"""Bytes of the shortest part but the last (S3's own limit)."""
PARTS_MAX: Final = 10_000
"""Parts of one object (S3's own limit)."""


def class_name(priority: Priority) -> str:
    """The name of a class as it stands in agent.toml: `use-of-force`."""
    return priority.name.lower().replace("_", "-")


_CLASSES: Final = frozenset(map(class_name, Priority))


def _endpoint(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.path not in {"", "/"} or url.query_string:
        raise ValueError("an endpoint is an address such as https://s3.example.org, without a path")
    if url.user is not None or url.password is not None:
        raise ValueError("keys must not stand in an address: name a file that holds them")
    if url.scheme == "http" and not _loopback(url):
        raise ValueError("evidence does not go over plain http: use https")
    return text.rstrip("/")


def _broker(text: str) -> str:
    url = URL(text)
    if url.scheme not in {"http", "https"} or not url.host or url.query_string or url.fragment:
        raise ValueError("a broker is an address such as https://broker.example.org/sign")
    if url.user is not None or url.password is not None:
        raise ValueError("a login must not stand in an address: name a file that holds the token")
    if url.scheme == "http" and not _loopback(url):
        raise ValueError("what a broker signs does not go over plain http: use https")
    return text


def _proxy(text: str) -> str:
    url = URL(text)
    if url.scheme != "http" or not url.host or url.user is not None:
        raise ValueError("a proxy is an address such as http://proxy.example.org:3128")
    return text


def _known(name: str) -> str:
    if name not in _CLASSES:
        raise ValueError(f"{name} is not a class; there are: {', '.join(sorted(_CLASSES))}")
    return name


ClassName = Annotated[str, AfterValidator(_known)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class S3Options(UplinkOptions):
    """One bucket of an object store that speaks S3."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] | None = None
    """Such as `https://s3.example.org`; without it, Amazon's own for `region`."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")] = "us-east-1"
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9!_.'()/-]{0,256}$")] = ""
    """How the names of all objects begin, such as `station-42/`; the capture's id follows."""
    style: Literal["path", "virtual"] = "path"
    """Whether the bucket stands in the path or in the host name."""
    keys_file: Path | None = None
    """File with `ACCESS_KEY_ID:SECRET_ACCESS_KEY`. Read again when it changes, so keys may be renewed."""
    broker: Annotated[str, AfterValidator(_broker)] | None = None
    """Instead of keys: the agency's broker, which signs each request (docs/s3-broker.md)."""
    token_file: Path | None = None
    """File with the bearer token for the broker. Read again for each request, so it may be renewed."""
    client_cert: Path | None = None
    """Our own certificate (PEM), for a broker that knows its stations by certificate."""
    client_key: Path | None = None
    """Its private key (PEM), where it does not stand in the same file."""
    ca_file: Path | None = None
    """Certificates (PEM) of the authorities that alone are trusted; without it, those that come with the client."""
    pins: tuple[Annotated[str, AfterValidator(read_pin)], ...] = ()
    """SHA-256 in base64 of the public keys (SubjectPublicKeyInfo) of which the store, and a broker, must show one,
    beside a certificate that is right. Name the next key before it changes."""
    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    """`http://proxy.example.org:3128`; HTTPS goes through it unseen (CONNECT)."""
    proxy_login_file: Path | None = None
    """File with `user:password` for the proxy."""
    part_length: Annotated[int, Field(ge=PART_MIN, le=1 << 30, multiple_of=MIB)] = PART_LENGTH
    """Bytes of one part; more where an object would have more than 10,000 of them."""
    parts: Annotated[int, Field(ge=1, le=32)] = 4
    """Parts that are on their way at once, of all captures together; what is one PUT goes beside them."""
    encryption: Literal["AES256", "aws:kms"] | None = None
    """How the store is asked to encrypt what it stores; without it, as the bucket says."""
    kms_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,2048}$")] | None = None
    lock: Literal["none", "bucket", "governance", "compliance"] = "none"
    """Object Lock. `bucket`: the bucket's own rule, and nothing counts as stored before the store says that the object
    is locked; `governance`, `compliance`: for `retention` days from when it is sent, asked for and read back."""
    retention: dict[ClassName, Days] = Field(default_factory=dict)
    """Days by class, such as `{ routine = 90, use-of-force = 3650 }`."""
    retention_default: Days | None = None
    """Days of all classes that `retention` does not name."""
    legal_hold: tuple[ClassName, ...] = ()
    """Classes whose objects are put under a legal hold."""
    read_back: bool = False
    """Read back what was stored, where the store was not seen to refuse a wrong SHA-256, for a receipt that counts."""
    connect_timeout: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds for one TCP connection and its TLS handshake."""
    stall: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds without an answer after which a request is given up; more for long bodies."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.keys_file is None) == (self.broker is None):
            raise ValueError("either keys_file or broker is needed, and not both")
        if self.broker is None and (self.token_file or self.client_cert):
            raise ValueError("token_file and client_cert are for a broker")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key needs client_cert")
        if self.proxy_login_file is not None and self.proxy is None:
            raise ValueError("proxy_login_file needs proxy")
        if self.pins and str(self.endpoint).startswith("http:"):
            raise ValueError("pins need an https address")
        if self.client_cert is not None and not str(self.broker).startswith("https://"):
            raise ValueError("client_cert needs a broker at an https address")
        dated = self.lock in {"governance", "compliance"}
        if dated and self.retention_default is None:
            raise ValueError(f'lock = "{self.lock}" needs retention_default: the days of classes that are not named')
        if not dated and (self.retention or self.retention_default):
            raise ValueError('retention needs lock = "governance" or "compliance"')
        if self.kms_key is not None and self.encryption != "aws:kms":
            raise ValueError('kms_key needs encryption = "aws:kms"')
        return self

    def days(self, priority: Priority) -> int | None:
        """How long an object of this class is kept locked; None where nothing is asked for."""
        return self.retention.get(class_name(priority), self.retention_default)

    def held(self, priority: Priority) -> bool:
        """Whether an object of this class is put under a legal hold."""
        return class_name(priority) in self.legal_hold


def _loopback(url: URL) -> bool:
    try:
        return ipaddress.ip_address(url.host or "").is_loopback
    except ValueError:
        return url.host == "localhost"
