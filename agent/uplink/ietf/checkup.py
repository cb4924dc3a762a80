"""What `evidock check` says of a server of resumable uploads, in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.uplink import Finding
from agent.uplink.http.receipts import receipts
from agent.uplink.ietf.canary import tried
from agent.uplink.ietf.door import NotResumable

if TYPE_CHECKING:
    from agent.uplink.ietf.door import IetfDoor
    from agent.uplink.ietf.options import IetfOptions

__all__ = ["greeted"]

_REQUESTS: Final = {
    True: Finding(what="parts", state="ok", detail="refused bytes with a wrong SHA-256, as it should"),
    False: Finding(
        what="parts",
        state="warning",
        detail="does not verify requests (Content-Digest): what breaks on the way shows only at the end",
    ),
}


async def greeted(door: IetfDoor, options: IetfOptions) -> list[Finding]:
    """Ask what it offers, and try what nobody should be believed. Raises `UplinkDown`."""
    try:
        verifies = await tried(door, options.method)
    except NotResumable as error:
        if options.without == "wait":
            raise
        return [Finding(what="uploads", state="warning", detail=f"{error}: each capture goes in one request")]
    offer = await door.offer()
    limits = offer.limits
    longest = "any length" if limits.max_size is None else f"up to {limits.max_size} bytes"
    return [
        Finding(what="uploads", state="ok", detail=f"resumes captures of {longest}"),
        _REQUESTS[verifies],
        receipts(signs=offer.signs),
    ]
