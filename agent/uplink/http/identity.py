"""Whom we trust and who we are to others: certificates, token and login, read from files alone."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING

from agent.errors import ConfigError, Problem, in_words
from agent.uplink.http.pinning import pinned

if TYPE_CHECKING:
    from collections.abc import MutableSequence
    from pathlib import Path

    from agent.uplink.http.options import HttpOptions

__all__ = ["proxy_headers", "proxy_login", "tls_context", "token", "trusting"]


def token(options: HttpOptions) -> str | None:
    """Return the bearer token. Raises `ConfigError` where its file cannot be used."""
    path = options.token_file
    return None if path is None else _read(path, "token_file")


def trusting(options: HttpOptions) -> ssl.SSLContext:
    """Return whom we trust, and nothing of who we are. Raises `ConfigError` where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([Problem("ca_file", f"{options.ca_file}: {in_words(error)}")]) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def tls_context(
    options: HttpOptions, refused: MutableSequence[ssl.SSLCertVerificationError] | None = None
) -> ssl.SSLContext:
    """Return whom we trust to be the DEMS, and the certificate that we show it. Raises as `trusting`.

    `refused`: see `pinned`.
    """
    context = trusting(options)
    context.sslobject_class, context.sslsocket_class = pinned(options.pins, refused=refused)
    if options.client_cert is not None:
        try:
            # The password callback keeps OpenSSL from asking at a terminal for an encrypted key.
            context.load_cert_chain(options.client_cert, options.client_key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            named = (
                options.client_cert if options.client_key is None else f"{options.client_cert}, {options.client_key}"
            )
            raise ConfigError([Problem("client_cert", f"{named}: {in_words(error)}")]) from error
    return context


def proxy_headers(options: HttpOptions) -> dict[str, str]:
    """Return what only a proxy may see. Raises `ConfigError` where its file cannot be used."""
    if options.proxy_login_file is None:
        return {}
    login = proxy_login(options.proxy_login_file)
    return {"Proxy-Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def proxy_login(path: Path) -> str:
    """Return `user:password`. Raises `ConfigError` where the file cannot be used."""
    where = "proxy_login_file"
    login = _read(path, where)
    if ":" not in login:
        raise ConfigError([Problem(where, "the file must hold `user:password`")])
    return login


def _read(path: Path, where: str) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError([Problem(where, f"{path}: {in_words(error)}")]) from error
    if not text or not text.isprintable():
        raise ConfigError([Problem(where, f"{path} holds no single line of text")])
    return text
