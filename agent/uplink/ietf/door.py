"""The way to a server that speaks resumable uploads: the draft's version, and what the server says that it offers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final

from agent.errors import UplinkDown
from agent.uplink.http import RECEIPT, STRETCHES, Door, number
from agent.uplink.ietf.fields import Limits, limits_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.uplink.http import Answer
    from agent.uplink.ietf.options import IetfOptions

__all__ = ["IetfDoor", "NotResumable", "Offer", "is_page"]

OFFER_AGE: Final = 300.0
"""Seconds after which the server is asked again what it offers."""
_SIGNS: Final = ("Upload-Complete", "Upload-Offset", "Upload-Limit")


class NotResumable(UplinkDown):
    """The DEMS answers, and does not offer to resume uploads: an administrator must decide."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a server says when it is asked with OPTIONS."""

    limits: Limits
    signs: bool
    """Every answer for a complete upload carries a signed receipt, and creating is idempotent by capture."""
    checks: bool
    """It wants `Content-Digest` with each request."""
    stretch: int | None = None
    """Least bytes of the stretches whose digests it takes beside a request's."""
    wants: str = "sha-256=10"
    """What `Want-Repr-Digest` says to it."""


class IetfDoor(Door):
    """See `agent.uplink.http.door`."""

    protocol: ClassVar[str] = "resumable upload"

    def __init__(self, options: IetfOptions) -> None:
        """Raises `ConfigError` where a file cannot be used."""
        super().__init__(options)
        self._interop = options.interop
        self._offer: Offer | NotResumable | None = None
        self._offer_until = 0.0
        self.verifies: bool | None = None
        """Whether bytes with a wrong `Content-Digest` were refused; None as long as nobody tried."""
        self._asking = asyncio.Lock()

    def worded(self, method: str) -> dict[str, str]:  # noqa: ARG002 - each request says it
        """The draft's version (Appendix: Draft Version Identification)."""
        return {"Upload-Draft-Interop-Version": str(self._interop)}

    def spoken(self, headers: Mapping[str, str]) -> bool:
        """Whether the answer speaks of an upload, as no proxy and no login page does."""
        return any(name in headers for name in _SIGNS)

    @property
    def verifying(self) -> bool:
        """Whether it wants digests or refused a wrong one, and nothing else was found."""
        return isinstance(self._offer, Offer) and (self._offer.checks if self.verifies is None else self.verifies)

    async def signs(self) -> bool:
        """Whether it said so; who does not resume uploads does not. Raises `UplinkDown`."""
        try:
            return (await self.offer()).signs
        except NotResumable:
            return False

    async def checks(self) -> bool:
        """Whether `Content-Digest` is worth computing: it was asked for, or proven to count. Raises `UplinkDown`."""
        return (await self.offer()).checks if self.verifies is None else self.verifies

    def surprised(self) -> None:
        """Ask the server what it offers before the next step."""
        self._offer = None

    async def offer(self, *, anew: bool = False) -> Offer:
        """Return what the server said some minutes ago at most. Raises `NotResumable` where it resumes nothing."""
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if anew or self._offer is None or now >= self._offer_until:
                await self.renew_token()
                answer = await self.ask("OPTIONS", self.url)
                self._offer, self._offer_until = self._told(answer), now + OFFER_AGE
            if isinstance(self._offer, NotResumable):
                # Another one each time: whatever is raised keeps the frames, and what lies in them, of each raising.
                raise NotResumable(str(self._offer), hint=self._offer.what_to_do)
            return self._offer

    def limited(self, limits: Limits) -> None:
        """It told these limits when it refused a request; they count until it is asked again."""
        if isinstance(self._offer, Offer):
            self._offer = replace(self._offer, limits=limits.over(self._offer.limits))

    def _told(self, answer: Answer) -> Offer | NotResumable:
        """Read the answer. The draft, section 4.1.4: who resumes uploads answers OPTIONS with its limits."""
        limits = limits_in(answer)
        if limits is not None:
            return Offer(
                limits=limits,
                signs=answer.headers.get(RECEIPT, "").strip() == "signed",
                checks="sha-256" in answer.headers.get("Want-Content-Digest", ""),
                stretch=number(answer.headers.get(STRETCHES)) or None,
                wants=_wants(answer.headers.get("Want-Repr-Digest", "")),
            )
        if "Tus-Version" in answer.headers:
            return NotResumable(
                f"{self.url.authority} speaks tus, and not the resumable uploads of the IETF",
                hint='Write use = "tus" for it, or add a second [[uplink]] with use = "tus" and role = "fallback".',
            )
        if answer.status == 200 and answer.body and "Allow" not in answer.headers and is_page(answer):  # noqa: PLR2004
            raise self.explained(answer)  # of a network that wants a login: nobody's answer to OPTIONS
        if answer.status in {200, 204, 404, 405, 501}:
            return NotResumable(
                f"{self.url.authority} does not offer to resume uploads ({answer.status} without Upload-Limit)",
                hint='Does `url` name the place of the DEMS for uploads? without = "send" sends each capture in one '
                "request, from its first byte again after each cut.",
            )
        raise self.explained(answer)


def is_page(answer: Answer) -> bool:
    """Whether it is one for people to look at."""
    return answer.headers.get("Content-Type", "").lower().startswith("text/html")


def _wants(theirs: str) -> str:
    """In the server's own spelling: RFC 9530 section 4 has weights, and some read and write a list without them."""
    return "sha-256" if theirs and "=" not in theirs else "sha-256=10"
