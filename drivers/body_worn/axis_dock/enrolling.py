"""What a controller is told so that it can come: address, certificate and password, in a connection file."""

from __future__ import annotations

import secrets
from importlib.metadata import version
from typing import TYPE_CHECKING

from agent.driver import Enrolment
from agent.errors import ConfigError, Problem, in_words
from agent.selfsigned import make_certificate, write_for_owner
from drivers.body_worn.axis_dock.destination import AUTH
from firmware_specs import SpecError
from firmware_specs.formats.axis_body_worn import connection_file

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.body_worn.axis_dock.options import AxisOptions

__all__ = ["enrolment", "password_of"]

_SHORTEST, _LONGEST = 16, 64


def password_of(options: AxisOptions) -> str:
    """What the controller must show. Raises `ConfigError`."""
    path = options.password_file
    try:
        text = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        hint = f"Make it and the connection file with: evidock device enrol {options.name}"
        raise ConfigError([Problem("password_file", f"{path}: {in_words(error)}")], hint=hint) from error
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
            write_for_owner(
                options.password_file, secrets.token_hex(32).encode() + b"\n"
            )  # hex: never read as an option
            made.append(str(options.password_file))
        certificate = None
        if listen.certificate is not None and listen.key is not None:
            if _absent(listen.certificate) and _absent(listen.key):
                make_certificate(listen.certificate, listen.key, hosts)
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
