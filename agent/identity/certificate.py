"""The client certificate: key and chain in one file, so that a renewal replaces both at once or not at all.

    keys/client.next.pem   a key whose certificate was asked for; it waits here and is used by nobody
    keys/client.pem        the certificate, its chain, and its key: `client_cert` of an uplink

If power fails between the two, the request stands and is answered again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent import durable
from agent.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.note import Verifier

__all__ = [
    "CERTIFICATE",
    "Certificate",
    "Expiry",
    "expiries",
    "fingerprint",
    "install",
    "look",
    "pending_key",
    "renewal",
    "request",
]

CERTIFICATE: Final = "client.pem"
_AS_WHOM: Final = "Run this as root or as the daemon's user."
_NEXT: Final = "client.next.pem"
_FILE_MAX: Final = 256 * 1024
_COMMON_NAME_MAX: Final = 64  # ub-common-name, RFC 5280 appendix A
_SOON: Final = timedelta(days=30)
_PEM: Final = serialization.Encoding.PEM
_SPKI: Final = serialization.PublicFormat.SubjectPublicKeyInfo


class _Shown(NamedTuple):
    """What depends on a certificate of ours, and what to do about it."""

    put: str
    renew: str
    ended: str


_SHOWN: Final = {
    "client_cert": _Shown(
        "Put it there: evidock identity install.",
        "Renew it: evidock identity enrol, or evidock identity request and install.",
        "the DEMS need not talk to this station",
    ),
    "cert_file": _Shown(
        "Put the certificate of the status service there, or take `cert_file` out.",
        "Have it renewed by whoever made it; it is shown from the next connection on.",
        "browsers and monitoring need not believe this station",
    ),
}
"""By the setting that names it."""


def fingerprint(key: Verifier) -> str:
    """SHA-256 of the key as DER SubjectPublicKeyInfo, in groups that can be read out: what openssl shows of it too."""
    der = serialization.load_pem_public_key(key.pem()).public_bytes(serialization.Encoding.DER, _SPKI)
    return "SHA-256 " + " ".join(re.findall("....", sha256(der).hexdigest()))


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says; the first of its file, whose holder we are."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime

    @classmethod
    def of(cls, found: x509.Certificate) -> Certificate:
        """Read it."""
        return cls(
            found.subject.rfc4514_string(),
            found.issuer.rfc4514_string(),
            found.not_valid_before_utc,
            found.not_valid_after_utc,
        )

    def due(self, now: datetime) -> bool:
        """Whether it is time to renew it: a third of its life is left, or less than thirty days of a long one."""
        life = self.not_after - self.not_before
        return self.not_after - now < min(life / 3, max(_SOON, life / 12))


def look(path: Path) -> Certificate:
    """What the file's first certificate says. Raises `OSError` or `ValueError`."""
    return Certificate.of(_read(path))


def _read(path: Path) -> x509.Certificate:
    if path.stat().st_size > _FILE_MAX:
        raise ValueError("it is too large for a certificate")
    return x509.load_pem_x509_certificate(path.read_bytes())


@dataclass(frozen=True, slots=True)
class Expiry:
    """A certificate of ours that ends soon, has ended, or cannot be read."""

    state: str
    """`warning` or `problem`."""
    what: str
    detail: str
    todo: str


def expiries(tables: Iterable[Mapping[str, Any]], now: datetime) -> Iterator[Expiry]:
    """Everything to be said of the certificates that these tables of agent.toml name: see `_SHOWN`."""
    for table in tables:
        for name, shown in _SHOWN.items():
            if (path := table.get(name)) is not None:
                yield from _looked(Path(str(path)), f"{table.get('name', '?')}.{name}", shown, now)


def _looked(path: Path, what: str, shown: _Shown, now: datetime) -> Iterator[Expiry]:
    try:
        found = look(path)
    except OSError as error:
        yield Expiry("problem", what, f"{path}: {error.strerror}", shown.put)
    except ValueError:
        yield Expiry("problem", what, f"{path} holds no certificate", shown.put)
    else:
        yield from _expiry(found, what, shown, now)


def _expiry(found: Certificate, what: str, shown: _Shown, now: datetime) -> Iterator[Expiry]:
    until = f"{found.not_after:%Y-%m-%d %H:%M} UTC"
    if now >= found.not_after:
        yield Expiry("problem", what, f"it ended on {until}: {shown.ended}", shown.renew)
    elif now < found.not_before:
        yield Expiry("problem", what, f"it holds from {found.not_before:%Y-%m-%d %H:%M} UTC on", "Look at the clock.")
    elif found.due(now):
        yield Expiry("warning", what, f"it ends on {until}", shown.renew)


# -- asking for one ----------------------------------------------------------------------------------------------------


def pending_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """The key whose certificate is asked for; made where there is none. P-256: every authority takes it."""
    path = folder / _NEXT
    try:
        if path.exists():
            return _key(path.read_bytes())
        key = ec.generate_private_key(ec.SECP256R1())
        durable.make_folder(folder)
        durable.replace_file(path, _private(key))
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}", hint=durable.advice(error, _AS_WHOM)) from error
    return key


def request(folder: Path, *, name: str, agency: str) -> x509.CertificateSigningRequest:
    """A request (PKCS #10) for this station's name below the agency's domain. The same key until it was answered."""
    full = f"{name}.{agency}"
    common = full if len(full) <= _COMMON_NAME_MAX else name
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    names = x509.Extension(x509.SubjectAlternativeName.oid, False, x509.SubjectAlternativeName([x509.DNSName(full)]))  # noqa: FBT003
    return _request(folder, subject, names)


def renewal(folder: Path) -> x509.CertificateSigningRequest:
    """A request for the certificate that is in use, with a new key.

    Subject and names are those that the authority wrote into it, for a server refuses others (RFC 7030 section 4.2.2),
    and an authority may have written more than it was asked for. Raises `OSError` or `ValueError`.
    """
    found = _read(folder / CERTIFICATE)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        names = None
    return _request(folder, found.subject, names)


def _request(
    folder: Path, subject: x509.Name, names: x509.Extension[x509.SubjectAlternativeName] | None
) -> x509.CertificateSigningRequest:
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names is not None:
        made = made.add_extension(names.value, critical=names.critical)
    return made.sign(pending_key(folder), hashes.SHA256())


def install(folder: Path, chain: Sequence[x509.Certificate], now: datetime | None = None) -> Certificate:
    """Put the answer of the authority into use. `Refusal` where it is not for a key of ours, or does not hold now."""
    target, waiting = folder / CERTIFICATE, folder / _NEXT
    now = now or datetime.now(UTC)
    for path in (waiting, target):
        try:
            key = _key(path.read_bytes())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refusal(f"{path}: {error.strerror}", hint=durable.advice(error, _AS_WHOM)) from error
        public = key.public_key().public_bytes(_PEM, _SPKI)
        leaf = [one for one in chain if one.public_key().public_bytes(_PEM, _SPKI) == public]
        if leaf:
            break
    else:
        hint = "Nothing was changed. Ask for one with: evidock identity request."
        raise Refusal("this certificate is not for a key of this station", hint=hint)
    found = Certificate.of(leaf[0])
    if not found.not_before <= now < found.not_after:
        when = f"it holds from {found.not_before:%Y-%m-%d %H:%M} to {found.not_after:%Y-%m-%d %H:%M} UTC"
        raise Refusal(f"this certificate does not hold now: {when}", hint="Nothing was changed. Look at the clock.")
    ordered = [leaf[0], *(one for one in chain if one is not leaf[0])]
    content = b"".join(one.public_bytes(_PEM) for one in ordered) + _private(key)
    try:
        durable.replace_file(target, content)
        waiting.unlink(missing_ok=True)
    except OSError as error:
        raise Refusal(f"{target}: {error.strerror}", hint=durable.advice(error, _AS_WHOM)) from error
    return found


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    found = re.search(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", pem, re.DOTALL)
    try:
        key = serialization.load_pem_private_key(found[0] if found else b"", None)
    except ValueError:
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Refusal("the station's own key file is damaged", hint="Nothing was changed. Move it away and ask anew.")
    return key
