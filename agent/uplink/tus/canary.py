"""A canary with a wrong checksum: a server counts as verifying parts only after it has refused one with 460.

There are servers that advertise `checksum` and look at nothing. The canary is an upload of a few bytes, announced with
the SHA-256 of other ones; whatever the server makes of it, it is given up afterwards.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.errors import UplinkDown
from agent.uplink.http.claims import canary
from agent.uplink.http.proofs import Proof
from agent.uplink.tus.trouble import explained
from agent.uplink.tus.wire import BYTES_TYPE, CHECKSUM_MISMATCH, stated

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink.tus.door import TusDoor

__all__ = ["tried"]

_WRONG: Final = b"These bytes were announced with the SHA-256 of others.\n"
_RIGHT: Final = b"And these are the others, which nobody ever sends here.\n"[: len(_WRONG)].ljust(len(_WRONG), b"\n")


async def tried(door: TusDoor) -> bool | None:
    """Whether the server refuses wrong parts; None for one that does not say so. From now on the door knows it too.

    Raises `UplinkDown`.
    """
    known, door.verifies = door.verifies, None
    try:
        abilities = await door.abilities(anew=True)
        if abilities.checks_parts and "creation" in abilities.extensions:
            door.verifies = await _refuses_wrong_parts(door)
    except BaseException:
        door.verifies = known  # a try that tells nothing forgets nothing: one that was found out is not believed again
        raise
    finally:
        if door.verifies is False:
            door.surprised()  # its next word on what it can do is read with this in mind
    return door.verifies


async def _refuses_wrong_parts(door: TusDoor) -> bool:
    """Whether the server refused it. Raises `UplinkDown` where it answered with something else than tus prescribes."""
    named = canary("a part with a wrong checksum", sha256(_RIGHT).digest())
    created = await door.ask("POST", door.url, {"Upload-Length": str(len(_WRONG)), "Upload-Metadata": named})
    location = created.headers.get("Location")
    if created.status != 201 or not created.spoken or not location:  # noqa: PLR2004 - Created
        raise explained(created)
    url = door.resolved(location, created.url)
    try:
        return await _refused(door, url)
    finally:
        # Where termination is not offered the server lets it expire, as it says of each upload that is not finished.
        with suppress(UplinkDown):  # what was found out stays found out, and why it was not is told as it was
            await door.ask("DELETE", url)


async def _refused(door: TusDoor, url: URL) -> bool:
    headers = {
        "Content-Type": BYTES_TYPE,
        "Upload-Offset": "0",
        "Upload-Checksum": stated(Proof(sha256(_RIGHT).digest())),
    }
    answer = await door.ask("PATCH", url, headers, _WRONG)
    if answer.spoken and answer.status in {CHECKSUM_MISMATCH, 200, 204}:
        return answer.status == CHECKSUM_MISMATCH
    raise explained(answer)
