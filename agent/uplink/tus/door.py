"""The way to a tus server: the words that each request carries, and what the server says that it can do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from agent.capture import printable
from agent.errors import UplinkDown
from agent.uplink.http.door import Door
from agent.uplink.tus.trouble import explained
from agent.uplink.tus.wire import VERSION, Abilities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Holding
    from agent.uplink.http.answer import Answer
    from agent.uplink.http.trip import Place
    from agent.uplink.tus.options import TusOptions

__all__ = ["TusDoor"]

ABILITIES_AGE: Final = 300.0
"""Seconds after which the server is asked again what it can do."""

IN_DOUBT_MAX: Final = 4096


class TusDoor(Door):
    """See `agent.uplink.http.door`."""

    protocol: ClassVar[str] = f"tus {VERSION}"
    longest: ClassVar[int] = 1 << 20  # the receipts of a bundle

    def __init__(self, options: TusOptions) -> None:
        """Raises `ConfigError` where a file cannot be used."""
        super().__init__(options)
        self._abilities: Abilities | None = None
        self._abilities_until = 0.0
        self.verifies: bool | None = None
        """Whether a part with a wrong checksum was refused; None as long as nobody tried."""
        self.with_creation = options.with_creation
        self.in_doubt: dict[str, None] = {}
        """Captures that a server which signs nothing may hold under an address that it told nobody."""
        self._tells = True
        """It was not heard yet to tell no digest of an upload that is complete, when asked for it."""
        self.bundles = True
        """Nothing on the way refused a request with several captures since the server was asked what it can do."""
        self._asking = asyncio.Lock()

    def worded(self, method: str) -> dict[str, str]:
        """The version, except where a server is asked for those that it speaks."""
        return {} if method == "OPTIONS" else {"Tus-Resumable": VERSION}

    def spoken(self, headers: Mapping[str, str]) -> bool:
        """Whether a tus server gave it: each of its answers says its version."""
        return headers.get("Tus-Resumable") == VERSION

    def explained(self, answer: Answer) -> UplinkDown:
        """Return why this answer is not the one that tus prescribes."""
        return explained(answer)

    @property
    def verifying(self) -> bool:
        """Whether it said so, and nothing else was found."""
        return self._abilities is not None and self._abilities.checks_parts

    async def signs(self) -> bool:
        """Whether it said so. Raises `UplinkDown`."""
        return (await self.abilities()).signs

    def surprised(self) -> None:
        """Ask the server for its abilities before the next step."""
        self._abilities = None

    def brings_whole(self, holding: Holding) -> bool:
        """Whether one request is to create this capture's upload and to fill it, as the server was last heard.

        One that signs creates an upload once, whoever asks. Any other makes another one for whoever asks again, after
        an answer that was lost: that is worth it for what is short, and once.
        """
        known = self._abilities
        if known is None or not known.takes_whole:
            return False
        return known.signs or (holding.digest.length <= self.with_creation and holding.id not in self.in_doubt)

    def doubted(self, holding: Holding) -> bool:
        """The answer to such a request was lost. Return whether there may be two uploads of this capture now."""
        if self._abilities is not None and self._abilities.signs:
            return False
        while len(self.in_doubt) >= IN_DOUBT_MAX:
            self.in_doubt.pop(next(iter(self.in_doubt)))
        self.in_doubt[holding.id] = None
        return True

    def told(self, place: Place) -> None:
        """Take down whether a server that was asked for the digest of a complete upload tells one."""
        self._tells = "Repr-Digest" in place.answer.headers

    def says_no_more(self, place: Place) -> bool:
        """Whether asking for an upload that is complete would only repeat this answer: its length, and nothing else."""
        silent = self._abilities is not None and not self._abilities.signs and not self._tells
        return silent and place.whole and "Repr-Digest" not in place.answer.headers

    def known(self) -> Abilities | None:
        """Return what the server said last, without asking it; None where it has to be asked."""
        return self._abilities

    async def abilities(self, *, anew: bool = False) -> Abilities:
        """Return what the server said some minutes ago at most. Raises `UplinkDown` unless it speaks tus 1.0.0."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if anew or self._abilities is None or now >= self._abilities_until:
                await self.renew_token()
                answer = await self.ask("OPTIONS", self.url)
                told = Abilities.told_by(answer)
                if answer.status not in {200, 204} or not told.versions:
                    raise explained(answer)
                if VERSION not in told.versions:
                    theirs = printable(", ".join(told.versions))
                    raise UplinkDown(
                        f"{self.url.authority} speaks tus {theirs}, and we speak {VERSION}",
                        hint="The DEMS must offer tus 1.0.0; ask its administrator.",
                    )
                self._abilities = replace(told, checksums=frozenset()) if self.verifies is False else told
                self._abilities_until = now + ABILITIES_AGE
                self.bundles = self._tells = True
            return self._abilities
