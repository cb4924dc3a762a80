"""The uplink `clearance`: Genetec Clearance, a DEMS that takes encrypted files through Azure's storage.

Life of an upload: an item is made and is known from then on (`upload`); the capture is read once, proven, encrypted
(`sealed`, `envelope`) and brought block by block (`blob`); file and item are completed with the digest of the
ciphertext (`bringing`). What the maker has published of the services' words, and what is assumed, stands in `words`.

What went over the wire instead of the capture's own bytes stands in the entry of the log with the receipt: the digest
of the ciphertext, the IV and the wrapped key, so that whoever holds the agency's key can show that one is the other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import Receipt, Strength
from agent.errors import SpoolDamaged, UplinkDown, UplinkError
from agent.uplink import Finding
from agent.uplink.clearance.bringing import Bringing
from agent.uplink.clearance.canary import compares
from agent.uplink.clearance.doors import Purged, Services
from agent.uplink.clearance.envelope import pin_of
from agent.uplink.clearance.options import ClearanceOptions
from agent.uplink.clearance.rate import Rate
from agent.uplink.clearance.words import key_in
from agent.uplink.http.checkup import checked
from agent.uplink.http.identity import proxy_headers
from agent.uplink.http.places import Places

if TYPE_CHECKING:
    from agent.uplink import Sending

__all__ = ["ClearanceOptions", "ClearanceUplink"]

_ANEW: Final = 3
"""How often one `send` begins anew because what it had begun was purged."""


class ClearanceUplink:
    """One tenant of Genetec Clearance."""

    Options = ClearanceOptions

    def __init__(self, options: ClearanceOptions) -> None:
        """Raises `ConfigError` where the connection file or a certificate cannot be used."""
        self._options = options
        self._services = Services(options)
        self._places = Places(options.blocks)
        self._rate = Rate()
        self._compares: bool | None = None
        self._trying = asyncio.Lock()
        self._log = structlog.get_logger("uplink")

    async def send(self, sending: Sending, /) -> Receipt:
        """See `agent.uplink.Uplink`."""
        known = self._options.canary and await self._tried()
        for _ in range(_ANEW):
            bringing = Bringing(self._services, sending, self._places, self._rate)
            try:
                return self._receipt(sending, await bringing.brought(compares=known))
            except Purged as error:
                self._log.warning("upload_gone", capture=sending.holding.id, url=str(error), status=404)
                await sending.remember(None)
            except SpoolDamaged:
                # Its key has been used for other bytes: it is not used again.
                await sending.remember(None)
                raise
        raise UplinkDown("Clearance loses this upload each time", alone=True)

    def _receipt(self, sending: Sending, sent: dict[str, Any]) -> Receipt:
        digest, name = sending.holding.digest, self._options.name
        if sent["proof"] == "none":
            return Receipt(Strength.LENGTH, name, digest.length, sent=sent)
        # The ciphertext is at the service, as compared there or here; that it is this capture's, this pass has proven.
        return Receipt(Strength.DIGEST, name, digest.length, digest.sha256, sent=sent)

    async def probe(self) -> None:
        """Try whether the service refuses a wrong checksum. Raises `UplinkDown`."""
        if self._options.canary:
            await self._tried(anew=True)

    async def _tried(self, *, anew: bool = False) -> bool:
        async with self._trying:
            if anew or self._compares is None:
                try:
                    found = await compares(self._services)
                except UplinkDown:
                    raise
                except UplinkError as error:
                    raise UplinkDown(str(error), hint=error.what_to_do) from error
                if not found and self._compares is not False:
                    self._log.warning("checksums_ignored", destination=self._options.name)
                self._compares = found
            return self._compares

    async def check(self) -> list[Finding]:
        """Try name, connection, TLS, token and key, and say in plain words what a receipt is worth."""
        return await checked(
            self._services.door,
            self._greeted,
            wait=self._options.connect_timeout,
            proxy_headers=proxy_headers(self._services.http),
        )

    async def _greeted(self) -> list[Finding]:
        services, options = self._services, self._options
        await services.token(anew=True)
        tenant = services.connection.tenant
        findings = [Finding(what="token", state="ok", detail=f"given to {services.connection.principal} of {tenant}")]
        jwk = key_in((await services.ask("GET", services.places.key, gone=False)).body)
        try:
            pin = None if jwk is None else pin_of(jwk.public())
        except ValueError as error:
            raise UplinkDown(f"the agency's key cannot be used: {error}") from error
        if jwk is None or pin is None:
            raise UplinkDown("the Key Store Service gave no RSA key")
        pinned = not options.key_pins or pin in options.key_pins
        detail = f"{jwk.kid or 'unnamed'}, pin {pin}" + ("" if pinned else ": none of those in key_pins")
        todo = None if pinned else "Ask the administrator of Clearance by another way whether this is the agency's key."
        findings.append(Finding(what="key", state="ok" if pinned else "problem", detail=detail, todo=todo))
        return [*findings, await self._worth()]

    async def _worth(self) -> Finding:
        if self._options.read_back:
            return Finding(what="digests", state="ok", detail="each capture is read back, encrypted, and compared")
        if self._options.canary and await self._tried(anew=True):
            return Finding(what="digests", state="ok", detail="refused a wrong checksum and took the right one")
        return Finding(
            what="digests",
            state="warning",
            detail="whether Clearance compares what it is told is not known: what it confirms proves a length, and "
            "devices keep everything",
            todo="Set read_back = true, so that what the storage holds is read and compared"
            + ("." if self._options.canary else "; or canary = true, to try it."),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._services.aclose()
