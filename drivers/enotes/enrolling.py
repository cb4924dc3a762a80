"""A tablet is taken in, or changes its key: its statement is looked at, told in the custody log, and registered.

The entry of the log comes first. If power fails behind it, the invitation is spent or not, and the tablet asks again
with another one: a key that stands in the log and signs nothing harms nobody, one that signs and does not stand there
would.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog
from cryptography.hazmat.primitives import hashes

from agent.capture import Observation, printable, rfc3339
from drivers.enotes.authority import Authority, is_name
from drivers.enotes.inviting import look_up, use
from drivers.enotes.offers import device_of
from drivers.enotes.register import Key
from drivers.enotes.statements import CLOCK, Statement, read
from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cryptography import x509

    from agent.driver import Intake
    from drivers.enotes.options import EnotesOptions
    from drivers.enotes.register import Register, Tablet
    from drivers.enotes.signatures import StationKey

__all__ = ["KEY", "Enrolling", "NotAllowed"]

KEY: Final = "enote.key"
"""Kind of the observation that a key is registered from now on, with all of its public half."""
_BADGE_MAX: Final = 64
_NAME_MAX: Final = 256


class NotAllowed(Exception):
    """Who asks may not: the code is none, or the key is not that of this tablet. Nothing more is said to them."""


class Enrolling:
    """Takes tablets in."""

    def __init__(
        self,
        options: EnotesOptions,
        register: Register,
        intake: Intake,
        reconsider: Callable[[], Awaitable[None]],
        *,
        key: StationKey,
        station: str,
    ) -> None:
        self._options, self._register, self._intake = options, register, intake
        self._key, self._station, self._reconsider = key, station, reconsider
        self._authority = Authority(options.state)
        self._one = asyncio.Lock()
        self._log = structlog.get_logger("driver").bind(driver=options.name)

    async def enrol(self, body: bytes) -> dict[str, Any]:
        """A tablet with an invitation gets its certificate. `SpecError` where it may try again; `NotAllowed`."""
        found = read(body, "enote-enrol")
        code = found.said.get("code")
        async with self._one:
            invitation = look_up(self._options.state, code) if isinstance(code, str) else None
            if invitation is None or not isinstance(code, str):
                raise NotAllowed
            tablet, badge, name = self._who(found, invitation.tablet, invitation.badge, invitation.name)
            known = {key.tablet for key in self._register.keys.values()}
            if invitation.tablet is None and tablet in known:
                raise SpecError("a tablet of this name is enrolled: ask for an invitation for this very tablet")
            if found.key.kid in self._register.keys:
                raise SpecError("this key is registered already: a tablet makes a new one when it is enrolled")
            now = datetime.now(UTC)
            how = "enrolled again" if tablet in known else "enrolled"
            # What was written while the person stood there counts as well.
            key = Key(found.key, badge, name, tablet, now - CLOCK, None, how, now, None)
            certificate, pem = await self._certified(found, tablet)
            if not use(self._options.state, code):
                raise NotAllowed
            await self._told(key, certificate)
            await self._register.enrol(key, _print(certificate), certificate.not_valid_after_utc)
            self._log.info("tablet_enrolled", tablet=tablet, badge=printable(badge), key=key.public.kid)
        await self._reconsider()
        return {**self._answer(key), "certificate": pem.decode()}

    async def rotate(self, tablet: Tablet, body: bytes) -> dict[str, Any]:
        """A tablet changes its key, or has its certificate renewed. `SpecError`; `NotAllowed`."""
        found = read(body, "enote-key")
        async with self._one:
            ours = [key for key in self._register.keys.values() if key.tablet == tablet.id and key.until is None]
            old = next((key for key in ours if found.signed_by(key.public)), None)
            if tablet.revoked or not tablet.known or old is None:
                raise NotAllowed
            known = self._register.keys.get(found.key.kid)
            if known is not None and known is not old:
                raise SpecError("this key was registered before: a tablet makes a new one")
            now, same = datetime.now(UTC), known is old
            key = (
                old
                if same
                else replace(
                    old, public=found.key, since=found.recorded_at, how="rotated", registered_at=now, ended_at=None
                )
            )
            certificate: x509.Certificate | None = None
            pem = b""
            if found.said.get("csr") is not None:
                certificate, pem = await self._certified(found, tablet.id)
            await self._told(key, certificate)
            until = None if certificate is None else certificate.not_valid_after_utc
            await self._register.rotate(
                old.public.kid, key, None if certificate is None else _print(certificate), until
            )
            self._log.info("tablet_key_changed", tablet=tablet.id, key=key.public.kid, renewed=certificate is not None)
        await self._reconsider()
        return {**self._answer(key), "certificate": pem.decode() or None}

    def _who(
        self, found: Statement, tablet: str | None, badge: str | None, name: str | None
    ) -> tuple[str, str, str | None]:
        """Tablet, badge and name: by the invitation, else as the tablet says."""
        device, author = found.said.get("device"), found.said.get("author")
        said_tablet = device.get("id") if isinstance(device, dict) else None
        said_badge, said_name = (author.get("badge"), author.get("name")) if isinstance(author, dict) else (None, None)
        tablet, badge = tablet or said_tablet, badge or said_badge
        if not isinstance(tablet, str) or not is_name(tablet):
            raise SpecError("the tablet has no name that can be used: letters, digits and . _ : - up to 64")
        if not isinstance(badge, str) or not 0 < len(badge) <= _BADGE_MAX or not badge.isprintable():
            raise SpecError("the author has no badge that can be used: up to 64 characters")
        name = name or (said_name if isinstance(said_name, str) else None)
        return tablet, badge, None if name is None else printable(name[:_NAME_MAX])

    async def _certified(self, found: Statement, tablet: str) -> tuple[x509.Certificate, bytes]:
        csr = found.said.get("csr")
        if not isinstance(csr, str):
            raise SpecError("a certificate request (`csr`, PKCS #10, PEM) is asked for")
        return await asyncio.to_thread(self._authority.issue, csr, tablet, self._options.certificate_days)

    async def _told(self, key: Key, certificate: x509.Certificate | None) -> None:
        told = {"key": key.told, "certificate_sha256": None if certificate is None else _print(certificate).hex()}
        device = device_of(key.tablet, self._options.name)
        await self._intake.sight(device)
        await self._intake.observe(Observation(device.id, KEY, key.registered_at, told))

    def _answer(self, key: Key) -> dict[str, Any]:
        return {
            "badge": key.badge,
            "keep_until": self._options.keep_until,
            "kid": key.public.kid,
            "late_after_s": int(self._options.late_after),
            "name": key.name,
            "receipt_key": {**self._key.public.jwk, "kid": self._key.public.kid},
            "since": rfc3339(key.since),
            "station": self._station,
            "tablet": key.tablet,
        }


def _print(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())
