"""What we say of a capture when its upload is created: which one it is, and which entry of which log speaks of it."""

from __future__ import annotations

import base64
import uuid
from hashlib import sha256
from typing import TYPE_CHECKING

from agent.capture import DRILL, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Holding
    from agent.uplink.http.answer import Answer

__all__ = ["canary", "metadata", "named_in"]


def metadata(holding: Holding) -> str:
    """Return `Upload-Metadata`, as tus 1.0.0 writes it: keys in ASCII, values UTF-8 and then base64.

    The last one vouches for all before it, and for the length, on a wire that TLS does not guard.
    """
    origin = holding.origin
    pairs = {
        "capture": holding.id,
        "sha256": holding.digest.sha256.hex(),
        "blake3": holding.digest.blake3.hex(),
        "device": origin.device,
        "key": origin.key,
        "began_at": None if origin.began_at is None else rfc3339(origin.began_at),
        "log": f"{holding.log} {holding.index}",
        "media_type": holding.media_type,
        "group": holding.group,
        "group_members": str(holding.members) if holding.members else None,
    }
    # A value of no bytes is legal, yet there are servers that refuse it: what is not known is not named.
    told = _written({key: value for key, value in pairs.items() if value})
    check = sha256(f"{holding.digest.length} {told}".encode()).hexdigest()
    return f"{told},{_written({'check': check})}"


def canary(key: str, sha256: bytes) -> str:
    """Return the same for an upload of a few bytes that is begun to see what a server makes of wrong ones."""
    return _written(
        {
            "capture": str(uuid.uuid4()),
            "sha256": sha256.hex(),
            "device": f"{DRILL}canary",
            "key": key,
            "log": "canary 0",
            "media_type": "text/plain",
        }
    )


def _written(pairs: Mapping[str, str]) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def named_in(answer: Answer, key: str) -> str | None:
    """Return one value of an echoed `Upload-Metadata`, None where it is not there or cannot be read."""
    for pair in answer.headers.get("Upload-Metadata", "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name == key:
            try:
                return base64.b64decode(value, validate=True).decode()
            except ValueError:
                return None
    return None
