"""Who may come in: each camera, and who sends a list, shows a secret, a certificate, or comes from where it must.

Digest is RFC 7616 with SHA-256 or, for cameras that know nothing newer, MD5. A nonce is good for five minutes and for
this run of the program alone. Secrets are compared in constant time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

from agent.errors import ConfigError, Problem, in_words

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from aiohttp import web

__all__ = ["Caller", "Door", "secret_of"]

_NONCE_LIFE: Final = 300.0
_SHORTEST: Final = 8
_HASHES: Final = {"SHA-256": "sha256", "MD5": "md5"}
_PARAMETER: Final = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


class Caller(Protocol):
    """What agent.toml says of who may come in."""

    @property
    def name(self) -> str:
        """Its own, as in a certificate."""

    @property
    def auth(self) -> str:
        """`path`, `token`, `basic`, `digest`, `certificate` or `address`."""

    @property
    def secret_file(self) -> Path | None:
        """One line: the secret, token or password."""

    @property
    def user(self) -> str:
        """For `basic` and `digest`."""

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Where it may come from; empty: from anywhere."""


def secret_of(caller: Caller, place: str = "camera") -> str:
    """What it must show; empty where its `auth` knows none. Raises `ConfigError`, which names it below `place`."""
    path = caller.secret_file
    if path is None:
        return ""
    try:
        text = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        hint = "Make it, and what is to be entered at the other side, with: evidock device enrol"
        raise ConfigError(
            [Problem(f"{place}.{caller.name}.secret_file", f"{path}: {in_words(error)}")], hint=hint
        ) from error
    if len(text) < _SHORTEST or not re.fullmatch(r"[!-~]+", text) or (caller.auth == "path" and "/" in text):
        what = f"{path} must hold one line of at least {_SHORTEST} characters without blanks"
        raise ConfigError([Problem(f"{place}.{caller.name}.secret_file", what)])
    return text


class Door:
    """Of one camera, or of one list."""

    def __init__(self, caller: Caller, place: str = "camera") -> None:
        self._caller, self._secret = caller, secret_of(caller, place).encode()
        self._key = secrets.token_bytes(32)

    def refuses(self, request: web.BaseRequest, shown: str) -> list[str] | None:
        """None: it may come in; else how it may show who it is. `shown`: what stands behind its name in the path."""
        networks = self._caller.networks
        if networks and not any(_peer(request) in network for network in networks):
            return []
        given = request.headers.get("Authorization", "")
        challenges: list[str] = []
        match self._caller.auth:
            case "digest":
                return self._digest(request, given)
            case "token":
                known, challenges = self._token(given), ["Bearer"]
            case "basic":
                known, challenges = self._basic(given), ['Basic realm="evidock"']
            case "path":
                known = self._same(shown.encode("utf-8", "replace"))
            case "certificate":
                known = self._caller.name in _certified(request)
            case _:  # the address, which was looked at above
                known = bool(networks)
        return None if known else challenges

    def _same(self, shown: bytes) -> bool:
        return bool(self._secret) and hmac.compare_digest(shown, self._secret)

    def _token(self, given: str) -> bool:
        scheme, _, token = given.partition(" ")
        return scheme.lower() in ("bearer", "token") and self._same(token.strip().encode("utf-8", "replace"))

    def _basic(self, given: str) -> bool:
        scheme, _, encoded = given.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except ValueError:
            return False
        named = hmac.compare_digest(user, self._caller.user.encode())
        return scheme.lower() == "basic" and named and self._same(password)

    # -- digest --------------------------------------------------------------------------------------------------------

    def _digest(self, request: web.BaseRequest, given: str) -> list[str] | None:
        scheme, _, rest = given.partition(" ")
        said = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest[:4096])}
        good = scheme.lower() == "digest" and self._answered(request, said)
        fresh = good and self._fresh(said.get("nonce", ""))
        if good and fresh:
            return None
        stale = ", stale=true" if good else ""
        challenge = f'Digest realm="evidock", qop="auth", nonce="{self._nonce()}"{stale}'
        # MD5 first: clients take the first of two, and many cameras fail at one that they do not know.
        return [f"{challenge}, algorithm=MD5", f"{challenge}, algorithm=SHA-256"]

    def _answered(self, request: web.BaseRequest, said: dict[str, str]) -> bool:
        made = _HASHES.get(said.get("algorithm", "MD5").upper())
        if made is None or said.get("username") != self._caller.user or said.get("realm") != "evidock":
            return False
        if said.get("uri") not in (request.raw_path, request.path, str(request.url)):
            return False

        def digest(*parts: str) -> str:
            return hashlib.new(made, ":".join(parts).encode("utf-8", "replace")).hexdigest()

        who = digest(self._caller.user, "evidock", self._secret.decode())
        what = digest(request.method, said["uri"])
        nonce, middle = said.get("nonce", ""), list[str]()
        if "qop" in said:
            if said["qop"] != "auth":
                return False
            middle = [said.get("nc", ""), said.get("cnonce", ""), said["qop"]]
        return hmac.compare_digest(
            said.get("response", "").lower().encode("utf-8", "replace"), digest(who, nonce, *middle, what).encode()
        )

    def _nonce(self) -> str:
        at = f"{int(time.monotonic())}"
        return f"{at}-{hmac.new(self._key, at.encode(), hashlib.sha256).hexdigest()[:32]}"

    def _fresh(self, nonce: str) -> bool:
        at, _, seal = nonce.partition("-")
        if not at.isdigit() or len(at) > 12:  # noqa: PLR2004 - no clock says more
            return False
        good = hmac.compare_digest(
            seal.encode("utf-8", "replace"), hmac.new(self._key, at.encode(), hashlib.sha256).hexdigest()[:32].encode()
        )
        return good and 0 <= time.monotonic() - int(at) <= _NONCE_LIFE


def _peer(request: web.BaseRequest) -> Any:  # noqa: ANN401 - an address of either kind
    found = ip_address((request.remote or "0.0.0.0").partition("%")[0])  # noqa: S104 - nobody's address
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _certified(request: web.BaseRequest) -> set[str]:
    """Names in the certificate that TLS has checked against `client_ca`."""
    tls = request.get_extra_info("ssl_object")
    shown = tls.getpeercert() if tls is not None else None
    if not shown:
        return set()
    common = {value for rdn in shown.get("subject", ()) for kind, value in rdn if kind == "commonName"}
    return common | {value for kind, value in shown.get("subjectAltName", ()) if kind == "DNS"}
