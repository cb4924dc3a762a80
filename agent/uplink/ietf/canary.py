"""A canary with a wrong digest: a server counts as verifying requests only after it has refused one.

RFC 9530 and the draft leave it to each server whether it looks at `Content-Digest` at all. The canary is an upload of a
few bytes that is begun, sent with the digest of other ones, and given up; it is never complete.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from agent.errors import UplinkDown
from agent.uplink.http.claims import canary
from agent.uplink.ietf.fields import PARTIAL, digest_field

if TYPE_CHECKING:
    from yarl import URL

    from agent.uplink.ietf.door import IetfDoor

__all__ = ["tried"]

_WRONG: Final = b"These bytes were announced with the SHA-256 of others.\n"
_RIGHT: Final = b"And these are the others, which nobody ever sends here.\n"[: len(_WRONG)].ljust(len(_WRONG), b"\n")
_MORE: Final = 1 << 20
"""Bytes that the upload is said to have: what is sent is never the end of it, nor below a server's least append."""
_LONGEST: Final = 16 << 20
"""Bytes that are sent at most: a server that takes no less in a request is not tried, and verifies nothing for us."""

_OF_OTHER_THINGS: Final = frozenset({401, 403, 404, 405, 407, 408, 409, 410, 411, 413, 415, 421, 423, 425, 429})
"""Answers that say nothing of digests: they speak of us, of the upload, of its offset or length, of the time."""


async def tried(door: IetfDoor, method: str) -> bool:
    """Whether the server refuses wrong bytes. From now on the door knows it too. Raises `UplinkDown`."""
    # Kept only once it is known: a try that tells nothing forgets nothing.
    door.verifies = await _refuses_wrong(door, method)
    return door.verifies


async def _refuses_wrong(door: IetfDoor, method: str) -> bool:
    """Whether it refused it. Raises `UplinkDown` where it did not say."""
    offer = await door.offer(anew=True)
    if (offer.limits.min_append_size or 0) > _LONGEST:
        return False
    length = max(_MORE, (offer.limits.min_size or 0) + 1)
    if offer.limits.max_size is not None:
        length = min(length, offer.limits.max_size)
    body = _WRONG.ljust(min(offer.limits.min_append_size or 0, length), b"\n")
    headers = {
        "Upload-Complete": "?0",
        "Upload-Length": str(length),
        "Content-Type": "text/plain",
        "Repr-Digest": digest_field(sha256(_RIGHT).digest()),
        "Upload-Metadata": canary("a request with a wrong digest", sha256(_RIGHT).digest()),
    }
    created = await door.ask(method, door.url, headers, b"")
    location = created.headers.get("Location")
    if created.status not in {200, 201, 202, 204} or not created.spoken or not location:
        raise door.explained(created)
    url = door.resolved(location, created.url)
    try:
        return await _refused(door, url, body)
    finally:
        with suppress(UplinkDown):  # what was found out stays found out, and why it was not is told as it was
            await door.ask("DELETE", url)


async def _refused(door: IetfDoor, url: URL, body: bytes) -> bool:
    headers = {
        "Content-Type": PARTIAL,
        "Upload-Offset": "0",
        "Upload-Complete": "?0",
        "Content-Digest": digest_field(sha256(_RIGHT).digest()),
    }
    answer = await door.ask("PATCH", url, headers, body)
    if answer.status in _OF_OTHER_THINGS or answer.status >= 500:  # noqa: PLR2004 - and so do faults of its own
        raise door.explained(answer)
    # Whatever it answered: only an offset that stayed says that nothing was kept.
    now = await door.ask("HEAD", url)
    return answer.status >= 400 and (now.offset == 0 or now.status in {404, 410})  # noqa: PLR2004 - a no
