"""The ways to the tenant: one to its services, with a token that is renewed, and one to the storage behind them."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlencode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from yarl import URL

from agent.errors import BadReceipt, ConfigError, UplinkDown, UplinkRefused
from agent.uplink.clearance.connection import read_connection
from agent.uplink.clearance.words import GRANT, Places, text_in
from agent.uplink.http import Door, HttpOptions, said
from agent.uplink.http.answer import retry_after
from agent.uplink.http.trouble import explained

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from agent.capture import Json
    from agent.uplink.clearance.connection import Connection
    from agent.uplink.clearance.options import ClearanceOptions
    from agent.uplink.http import Answer

__all__ = ["Purged", "Services", "Storage"]

_HASHES: Final = {"RS256": hashes.SHA256(), "RS512": hashes.SHA512()}
_ASSERTED: Final = 300.0
"""Seconds for which a request for a token is good."""
_EARLY: Final = 60.0
"""Seconds before its end at which a token is renewed."""
_TOKEN_MAX: Final = 16 * 1024
_LIVES_MAX: Final = 86400.0


class Purged(UplinkDown):
    """What was begun is not there any more: the service purges what is not complete. Nothing was stored by that."""


class Storage(Door):
    """Azure's block storage, by addresses that carry their own signature."""

    protocol = "Azure storage"
    longest: ClassVar[int] = 8 << 20  # a list of 50,000 blocks


class Services:
    """The token, key and document services of one tenant."""

    def __init__(self, options: ClearanceOptions) -> None:
        """Raises `ConfigError` where the connection file or a certificate cannot be used."""
        self.options = options
        self.connection, self.secret = read_connection(options.connection_file)
        self.places = Places(self.connection)
        self.http = _http(options, self.connection)
        self._door, self.storage = Door(self.http), Storage(self.http)
        self._token: tuple[str, float] | None = None
        self._renewing = asyncio.Lock()

    @property
    def door(self) -> Door:
        """The way to the services, for `evidock check`."""
        return self._door

    async def ask(
        self,
        method: str,
        url: str,
        told: Mapping[str, Json] | None = None,
        *,
        gone: bool = True,
        judged: bool = False,
    ) -> Answer:
        """Ask, with a token that is renewed where the service says 401; the answer where it is one of success or 409.

        Raises `Purged` for 404 and 410 where `gone`, `BadReceipt` where the service judges what it was given (`judged`)
        and says no, `UplinkRefused` where it will never take this, else `UplinkDown`.
        """
        answer = await self._asked(method, url, told, await self.token())
        if answer.status == 401:  # noqa: PLR2004 - Unauthorized
            answer = await self._asked(method, url, told, await self.token(anew=True))
        match answer.status:
            case 200 | 201 | 202 | 204 | 409:
                return answer
            case 404 | 410 if gone:
                raise Purged(f"{URL(url).authority} does not know this upload any more ({answer.status})")
            case 402:
                raise UplinkDown(
                    f"{URL(url).authority} wants a licence for this (402){said(answer)}",
                    hint="The administrator of Clearance must look at the licence of the account.",
                )
            case 400 | 412 | 422 if judged:
                raise BadReceipt(
                    f"Clearance does not accept what it was given ({answer.status}){said(answer)}",
                    hint="Something between this station and the storage changes bytes, or one of both has bad memory.",
                )
            case 413 | 415 | 422:
                raise UplinkRefused(f"Clearance refuses this capture ({answer.status}){said(answer)}")
            case 403:
                raise UplinkDown(
                    f"{URL(url).authority} does not permit this to the integration (403){said(answer)}",
                    hint="The administrator of Clearance must permit the integration to add evidence.",
                )
            case _:
                raise explained(answer, "Clearance")

    async def _asked(self, method: str, url: str, told: Mapping[str, Json] | None, token: str) -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        body = b"" if told is None and method == "POST" else None if told is None else json.dumps(told).encode()
        if body is not None:
            headers["Content-Type"] = "application/json"
        return await self._door.ask(method, URL(url, encoded=True), headers, body)

    async def token(self, *, anew: bool = False) -> str:
        """The bearer token. Raises `UplinkDown`."""
        async with self._renewing:
            if anew or self._token is None or time.monotonic() >= self._token[1]:
                self._token = await self._granted()
            return self._token[0]

    async def _granted(self) -> tuple[str, float]:
        """RFC 7523 section 2.1."""
        options = self.options
        try:
            read = await asyncio.to_thread(read_connection, options.connection_file)
        except ConfigError as error:
            raise UplinkDown(str(error), hint=error.what_to_do) from error
        self.connection, self.secret = read
        self.places = Places(self.connection)
        who = f"{self.connection.principal}@{self.connection.tenant}"
        url = self.places.token
        assertion = _signed(self.secret, options.signing, self.connection.key.kid, who, options.audience or url)
        form = urlencode({"client_id": who, "grant_type": GRANT, "assertion": assertion}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = await self._door.ask("POST", URL(url, encoded=True), headers, form)
        if answer.status in {400, 401, 403}:
            raise UplinkDown(
                f"{URL(url).authority} gives us no token ({answer.status}){said(answer)}",
                hint="Look at connection_file and at the clock of this station; the administrator of Clearance can "
                "give a new file. `signing` and `audience` may have to be set.",
                retry_after=retry_after(answer),
            )
        token, lives = _token_in(answer.body), text_in(answer.body, "expires_in")
        if answer.status != 200 or token is None:  # noqa: PLR2004 - OK
            raise explained(answer, "Clearance")
        seconds = float(lives) if lives is not None and lives.isdecimal() and len(lives) < 9 else _ASSERTED  # noqa: PLR2004
        return token, time.monotonic() + max(1.0, min(seconds, _LIVES_MAX) - _EARLY)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._door.aclose()
        await self.storage.aclose()


def _http(options: ClearanceOptions, connection: Connection) -> HttpOptions:
    secure = connection.documents[0].startswith("https:")
    return HttpOptions(
        use="clearance",
        name=options.name,
        url=connection.documents[0],
        ca_file=options.ca_file if secure else None,
        proxy=options.proxy,
        proxy_login_file=options.proxy_login_file,
        connect_timeout=options.connect_timeout,
        stall=options.stall,
    )


def _signed(key: RSAPrivateKey, signing: str, kid: str | None, who: str, audience: str) -> str:
    """The assertion. RFC 7523 section 3 asks for iss, sub, aud and exp; what else stands in it is assumed."""
    now = int(time.time())
    head: dict[str, Any] = {"alg": signing, "typ": "JWT"} | ({} if kid is None else {"kid": kid})
    claims = {"iss": who, "sub": who, "aud": audience, "jti": str(uuid.uuid4()), "iat": now, "nbf": now}
    claims |= {"exp": now + int(_ASSERTED)}
    text = b".".join(_b64url(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
    signature = key.sign(text, padding.PKCS1v15(), _HASHES[signing])
    return (text + b"." + _b64url(signature)).decode()


def _token_in(body: bytes) -> str | None:
    try:
        token = json.loads(body)["access_token"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    good = isinstance(token, str) and 0 < len(token) <= _TOKEN_MAX and token.isascii() and token.isprintable()
    return token if good else None


def _b64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
