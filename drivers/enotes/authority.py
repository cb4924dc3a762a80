"""The station's small authority: it signs the station's own certificate and those of tablets, and nothing else.

    state/authority.pem, .key     made once by `evidock device enrol`; P-256, path length 0, ten years
    state/receipt.key             signs receipts to tablets
    listen.certificate, .key      the station's own; the chain holds the authority's certificate as well
    listen.client_ca              whose certificates tablets must show: the authority's

What is there already is never written over, so an agency may bring certificates of its own instead.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import ConfigError, Problem, in_words
from firmware_specs import SpecError

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.enotes.options import EnotesOptions

__all__ = ["RECEIPT", "Authority", "is_name", "made_files", "name_in", "write_new"]

AUTHORITY: Final = "authority"
RECEIPT: Final = "receipt.key"
_PEM: Final = serialization.Encoding.PEM
_DER: Final = serialization.Encoding.DER
_TEN_YEARS: Final = timedelta(days=3650)
_STATION: Final = timedelta(days=5 * 365)
_SLACK: Final = timedelta(minutes=5)
"""A certificate begins that long before it is made, for clocks that are behind."""
_RSA_MIN: Final = 2048
_CSR_MAX: Final = 16 * 1024


class Authority:
    """Signs certificates of tablets. Its key is read for each, and not kept in memory."""

    def __init__(self, state: Path) -> None:
        self._certificate, self._key = state / f"{AUTHORITY}.pem", state / f"{AUTHORITY}.key"

    def certificate(self) -> x509.Certificate:
        """Its own. Raises `ConfigError`."""
        try:
            return x509.load_pem_x509_certificate(self._certificate.read_bytes())
        except (OSError, ValueError) as error:
            raise _wrong(self._certificate, error) from error

    def issue(self, csr: str, tablet: str, days: int) -> tuple[x509.Certificate, bytes]:
        """(a tablet's certificate, PEM of it and of the authority). Of the request only the key counts.

        `SpecError` where the request is none, is not signed by its own key, or that key is weak.
        """
        if len(csr) > _CSR_MAX:
            raise SpecError("the certificate request is too long")
        try:
            asked = x509.load_pem_x509_csr(csr.encode("ascii"))
            good = asked.is_signature_valid and _strong(asked.public_key())
        except (ValueError, UnicodeError, TypeError) as error:
            raise SpecError("it is no certificate request (PKCS #10, PEM)") from error
        if not good:
            raise SpecError("the request is not signed by its own key, or the key is none of P-256, P-384, RSA 2048")
        own, now = self.certificate(), datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, tablet)]))
            .issuer_name(own.subject)
            .public_key(asked.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _SLACK)
            .not_valid_after(min(now + timedelta(days=days), own.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:evidock:enotes:{tablet}")]),
                critical=False,
            )
            .sign(self._private(), hashes.SHA256())
        )
        return made, made.public_bytes(_PEM) + own.public_bytes(_PEM)

    def _private(self) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_pem_private_key(self._key.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise _wrong(self._key, error) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise _wrong(self._key, ValueError("it holds no elliptic curve key"))
        return key


def name_in(certificate: bytes) -> str | None:
    """What a certificate (DER) calls its holder: its common name, where that can be a tablet's."""
    try:
        found = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return None
    name = str(found[0].value) if len(found) == 1 else ""
    return name if is_name(name) else None


def is_name(name: str) -> bool:
    """Whether a tablet may be called so: 1 to 64 letters, digits and `._:-`, the first no sign."""
    return (
        0 < len(name) <= 64  # noqa: PLR2004 - ub-common-name, RFC 5280 appendix A
        and name.isascii()
        and name[0].isalnum()
        and all(c.isalnum() or c in "._:-" for c in name)
    )


def made_files(options: EnotesOptions, hosts: tuple[str, ...]) -> list[str]:
    """Make what is not there yet; return what was made. Raises `ConfigError`."""
    made: list[str] = []
    listen, state = options.listen, options.state
    try:
        if not state.exists():
            state.mkdir(mode=0o700, parents=True)
            _give(state, state.parent)
        authority, key_file = state / f"{AUTHORITY}.pem", state / f"{AUTHORITY}.key"
        if not authority.exists() and not key_file.exists():
            _make_authority(authority, key_file, options)
            made += [str(authority), str(key_file)]
        if not (state / RECEIPT).exists():
            write_new(state / RECEIPT, _private_pem(ec.generate_private_key(ec.SECP256R1())))
            made.append(str(state / RECEIPT))
        ours = Authority(state)
        if listen.client_ca is not None and not listen.client_ca.exists():
            write_new(listen.client_ca, ours.certificate().public_bytes(_PEM))
            made.append(str(listen.client_ca))
        certificate, key = listen.certificate, listen.key
        if certificate is not None and key is not None and not certificate.exists() and not key.exists():
            _make_station(certificate, key, ours, hosts)
            made += [str(certificate), str(key)]
    except OSError as error:
        raise ConfigError([Problem(str(error.filename or state), str(error.strerror))]) from error
    return made


def write_new(path: Path, content: bytes) -> None:
    """A file for its owner alone: the owner of the folder, where an administrator makes it for the service."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content)
        file.flush()
        os.fsync(fd)
    _give(path, path.parent)


def _give(path: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _make_authority(certificate: Path, key_file: Path, options: EnotesOptions) -> None:
    private, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    # Short: the certificate travels in a QR code.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"eNotes {options.name}"[:64])])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _TEN_YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(
                digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
                key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
            ),
            critical=True,
        )
        .sign(private, hashes.SHA256())
    )  # fmt: skip
    write_new(key_file, _private_pem(private))
    write_new(certificate, made.public_bytes(_PEM))


def _make_station(certificate: Path, key_file: Path, authority: Authority, hosts: tuple[str, ...]) -> None:
    private, own, now = ec.generate_private_key(ec.SECP256R1()), authority.certificate(), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]))
        .issuer_name(own.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(min(now + _STATION, own.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName([_named(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                own.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            ),
            critical=False,
        )
        .sign(authority._private(), hashes.SHA256())  # noqa: SLF001 - the same file's
    )
    write_new(key_file, _private_pem(private))
    write_new(certificate, made.public_bytes(_PEM) + own.public_bytes(_PEM))


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _strong(key: object) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1)
    return (isinstance(key, rsa.RSAPublicKey) and key.key_size >= _RSA_MIN) or isinstance(key, ed25519.Ed25519PublicKey)


def _wrong(path: Path, error: Exception) -> ConfigError:
    hint = "Make it with: evidock device enrol, and the name of this driver."
    return ConfigError([Problem("state", f"{path}: {in_words(error)}")], hint=hint)
