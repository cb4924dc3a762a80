"""One capture as a bag (RFC 8493): its bytes, their sums, and what it is, for readers that know nothing of us."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent.capture import rfc3339

if TYPE_CHECKING:
    from agent.capture import Holding, Json

__all__ = ["ABOUT", "MANIFEST", "about_of", "payload_name", "tag_files"]

ABOUT: Final = "capture.json"
MANIFEST: Final = "manifest-sha256.txt"
_SCHEMA: Final = "evidock-handover/1"
_NAME_MAX: Final = 100


def about_of(station: str) -> str:
    """The name of what another station says beside `ABOUT`: it took the same capture, by an entry of its own log."""
    return f"capture-{station}.json"


def payload_name(holding: Holding) -> str:
    """Below `data/`: the last part of the device's own name, in characters that every file system takes."""
    last = re.split(r"[/\\]", holding.origin.key)[-1]
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", last).strip("._")[-_NAME_MAX:].lstrip("._-")
    return safe or "capture"


def tag_files(holding: Holding) -> dict[str, bytes]:
    """Every file beside the payload, by name."""
    sha256 = holding.digest.sha256.hex()
    about: dict[str, Json] = {
        "schema": _SCHEMA,
        "capture": holding.id,
        "origin": holding.origin.claims,
        "sha256": sha256,
        "blake3": holding.digest.blake3.hex(),
        "length": holding.digest.length,
        "log": holding.log,
        "index": holding.index,
        "held_at": rfc3339(holding.held_at),
        "media_type": holding.media_type,
        "group": holding.group,
    }
    info = (
        f"Source-Organization: {holding.log}\n"
        f"External-Identifier: {holding.id}\n"
        f"Bagging-Date: {datetime.now(UTC).date().isoformat()}\n"
        f"Payload-Oxum: {holding.digest.length}.1\n"
    )
    files = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": info.encode(),
        MANIFEST: f"{sha256}  data/{payload_name(holding)}\n".encode(),
        ABOUT: json.dumps(about, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n",
    }
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return {**files, "tagmanifest-sha256.txt": sums.encode()}
