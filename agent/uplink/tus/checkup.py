"""What `evidock check` says of a tus server: its abilities in plain words, and whether it verifies what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.uplink import Finding
from agent.uplink.http.receipts import receipts
from agent.uplink.tus.canary import tried

if TYPE_CHECKING:
    from agent.uplink.tus.door import TusDoor

__all__ = ["greeted"]

_PARTS: Final = {
    True: Finding(what="parts", state="ok", detail="refused a part with a wrong SHA-256, as it should (460)"),
    False: Finding(
        what="parts",
        state="warning",
        detail="says that it verifies parts, and took one with a wrong SHA-256: its word counts for nothing",
        todo="Tell the administrator of the DEMS: its tus server ignores Upload-Checksum.",
    ),
    None: Finding(
        what="parts",
        state="warning",
        detail="does not verify parts: what breaks on the way shows only at the end",
    ),
}


async def greeted(door: TusDoor) -> list[Finding]:
    """Ask for the abilities, and try the one that nobody should be believed. Raises `UplinkDown`."""
    verifies = await tried(door)
    abilities = await door.abilities(anew=True)
    longest = "any length" if abilities.longest is None else f"up to {abilities.longest} bytes"
    creates = "creation" in abilities.extensions
    return [
        Finding(
            what="uploads",
            state="ok" if creates else "problem",
            detail=f"takes captures of {longest}" if creates else "lets nobody create uploads",
            todo=None if creates else "Does `url` name the place where the DEMS creates uploads?",
        ),
        _PARTS[verifies],
        receipts(signs=abilities.signs),
    ]
