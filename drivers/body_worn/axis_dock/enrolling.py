"""What a controller is told so that it can come: address, certificate and password, in a connection file."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.driver import Enrolment
from agent.errors import ConfigError, Problem
from drivers.body_worn.axis_dock.destination import AUTH
from firmware_specs import SpecError
from firmware_specs.formats.axis_body_worn import connection_file

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.body_worn.axis_dock.options import AxisOptions

__all__ = ["enrolment", "password_of"]

_DAYS: Final = 5 * 365
_SHORTEST, _LONGEST = 16, 64


def password_of(options: AxisOptions) -> str:
    """What the controller must show. Raises `ConfigError`."""
    path = options.password_file
    try:
        text = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        hint = f"Make it and the connection file with: evidock device enrol {options.name}"
        raise ConfigError([Problem("password_file", f"{path}: {error}")], hint=hint) from error
    if not (_SHORTEST <= len(text) <= _LONGEST and text.isprintable()):
        raise ConfigError(
            [Problem("password_file", f"{path} must hold {_SHORTEST} to {_LONGEST} characters, one line")]
        )
    return text


def enrolment(options: AxisOptions) -> Enrolment:
    """The connection file; makes certificate, key and password where their files are not there yet.

    Raises `ConfigError`.
    """
    listen, made = options.listen, list[str]()
    hosts = options.reached_at or (() if listen.address.is_unspecified else (str(listen.address),))
    if not hosts:
        raise ConfigError([Problem("reached_at", "name the addresses under which the controller reaches this station")])
    try:
        if _absent(options.password_file):
            _write(options.password_file, secrets.token_hex(32).encode() + b"\n")  # hex: never read as an option
            made.append(str(options.password_file))
        certificate = None
        if listen.certificate is not None and listen.key is not None:
            if _absent(listen.certificate) and _absent(listen.key):
                _certificate(listen.certificate, listen.key, hosts)
                made += [str(listen.certificate), str(listen.key)]
            certificate = listen.certificate.read_bytes()
        public_key = None if options.public_key is None else (options.public_key.stem, options.public_key.read_bytes())
    except OSError as error:
        raise ConfigError([Problem(str(error.filename), str(error.strerror))]) from error
    scheme = "http" if certificate is None else "https"
    try:
        content = connection_file(
            site=options.site,
            version=version("evidock"),
            urls=[f"{scheme}://{_host(host)}:{listen.port}{AUTH}" for host in hosts],
            user=options.user,
            password=password_of(options),
            certificate=certificate,
            container_type=options.container_type,
            public_key=public_key,
            time_server=options.time_server,
        )
    except SpecError as error:
        raise ConfigError([Problem("driver", str(error))]) from error
    todo = [
        "Import it in AXIS Body Worn Manager as the content destination; it holds the password, so delete it then.",
        f"A firewall must let the controller in at port {listen.port}.",
    ]
    if public_key is not None:
        todo.append("Encryption cannot be turned off again. Who loses the private key loses every recording.")
    return Enrolment(f"{options.name}.connection.json", content, tuple(made), tuple(todo))


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _absent(path: Path) -> bool:
    return not path.exists()


def _write(path: Path, content: bytes) -> None:
    """A file for its owner alone: the owner of the folder, where an administrator makes it for the service."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:  # noqa: PTH123 - of a descriptor
        file.write(content)
        file.flush()
        os.fsync(fd)
        folder = path.parent.stat()
        if os.geteuid() == 0:
            os.fchown(fd, folder.st_uid, folder.st_gid)


def _certificate(certificate: Path, key: Path, hosts: tuple[str, ...]) -> None:
    """One that signs itself: the controller is given it in the connection file and trusts it alone."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName([_named(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    _write(
        key,
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    _write(certificate, made.public_bytes(serialization.Encoding.PEM))


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
