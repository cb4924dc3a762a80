"""The manifest of one capture: what its device said apart from what the station found, bound to the entry by its hash.

Both halves together are the entry `held`, field by field: nothing is added, nothing is left out, nothing is edited. A
reader makes the manifest again from the entry, and compares.

Where a capture went encrypted, what went over the wire stands under `sent`, entry by entry: the digest of the
ciphertext and what opens it, so that a reader with the receiver's key can show that one is the other.

What was told since about officers, units and incidents stands apart from both, under `context`, entry by entry, where
there is any: what the device claimed is in `device_said`, and no word replaces another.

A recording of several captures has a manifest too: which captures the device says belong together, in what order, each
by its digest and the hash of its entry.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from agent.capture import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from agent.custody.export.dossier import Facts

__all__ = [
    "MANIFEST_TYPE",
    "OURS",
    "Clip",
    "context",
    "halves",
    "manifest",
    "recording",
    "recordings",
    "second",
    "sent",
    "write_json",
    "written",
]

MANIFEST_TYPE: Final = "https://evidock.example/manifest/v1"
RECORDING_TYPE: Final = "https://evidock.example/recording/v1"

OURS: Final[Mapping[str, frozenset[str]]] = {
    "capture": frozenset({"length", "media_type", "priority", "volatile"}),
    "device": frozenset({"driver", "family", "place", "spec"}),
}
"""Of the parts about capture and device, the fields that the station found; the others are the device's word."""


def halves(statement: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the device said, and what the station found, of an entry `held`."""
    rest = dict(statement["predicate"])
    said: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for part, ours in OURS.items():
        values = rest.pop(part)
        said[part] = {name: value for name, value in values.items() if name not in ours}
        found[part] = {name: value for name, value in values.items() if name in ours}
    return said, {**rest, **found, "digest": statement["subject"][0]["digest"]}


def manifest(facts: Facts, log: str, others: Iterable[Facts]) -> bytes:
    """The file. `others`: every capture of the bag, of which those of the same recording are named."""
    said, found = halves(facts.statement)
    told, went = context(facts.entries), sent(facts.entries)
    same = [one.id for one in others if facts.recording is not None and one.recording == facts.recording]
    return write_json(
        {
            "type": MANIFEST_TYPE,
            "capture": facts.id,
            "file": facts.file,
            "entry": {"log": log, "index": facts.held.index, "leaf_hash": facts.leaf_hash},
            "device_said": said,
            "station_found": found,
            "receipt": None if facts.receipt is None else f"custody/receipts/{facts.place}.note",
            "recording": sorted(same),
            "written": written(
                None if facts.dossier.quoted is None else facts.dossier.quoted.leaf.index,
                proven=facts.held.proof is not None,
            ),
            **({"context": told} if told else {}),
            **({"sent": went} if went else {}),
        }
    )


def sent(story: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What went to each destination instead of the capture's own bytes, by each entry that says so."""
    said = [one["predicate"] for one in story]
    told = [(one["seq"], one["receipt"]) for one in said if one["event"] in {"receipted", "copied"}]
    return [
        {"destination": receipt["destination"], "entry": seq, "sent": receipt["sent"]}
        for seq, receipt in told
        if "sent" in receipt
    ]


def context(story: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What belonged to a capture by each entry that says so, in order: the last one counts, the others stay."""
    said = [one["predicate"] for one in story]
    return [
        {"context": one["context"], "entry": one["seq"], "instead_of": one["instead_of"]}
        for one in said
        if one["event"] == "capture.context"
    ]


def written(quoted: int | None, *, proven: bool) -> dict[str, str | None]:
    """Between what the entry was written: files of the bag whose cosignatures state the times, for a reader to verify.

    It came after whoever cosigned the one, for an entry before it quotes that; and before whoever cosigned the other.
    """
    return {
        "after": None if quoted is None else f"custody/{quoted:06d}.checkpoint",
        "before": "custody/checkpoint" if proven else None,
    }


def second(at: datetime | None) -> str | None:
    """A witness's time, which has whole seconds; None stays None."""
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def recordings(captures: Iterable[Facts], log: str) -> dict[str, bytes]:
    """Name and content of a manifest for each recording of which the bag has more than one capture."""
    found: dict[tuple[str, str], list[Facts]] = {}
    for one in captures:
        if one.recording is not None:
            found.setdefault(one.recording, []).append(one)
    return dict(
        recording(device, group, log, [(one.held.index, one.statement, one.leaf_hash, one.file) for one in clips])
        for (device, group), clips in found.items()
        if len(clips) > 1
    )


Clip: TypeAlias = "tuple[int, Mapping[str, Any], str, str | None]"
"""Index, entry `held`, hash of that entry, and file in the bag."""


def recording(device: str, group: str, log: str, clips: Iterable[Clip]) -> tuple[str, bytes]:
    """Name and content of the manifest of one recording, in the device's order, then in that of the log."""
    raw = bytearray(hashlib.sha256(canonical({"device": device, "group": group})).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
    told = []
    for index, statement, hashed, file in clips:
        said, subject = statement["predicate"]["capture"], statement["subject"][0]
        told.append(
            {
                "capture": subject["name"],
                "clip": said.get("clip"),
                "began_at": said["began_at"],
                "length": said["length"],
                "sha256": subject["digest"]["sha256"],
                "file": file,
                "entry": {"index": index, "leaf_hash": hashed},
            }
        )
    told.sort(key=lambda one: (one["clip"] is not None, one["clip"] or 0, one["entry"]["index"]))
    made = {"type": RECORDING_TYPE, "log": log, "device": device, "group": group, "clips": told}
    return f"manifests/recording-{uuid.UUID(bytes=bytes(raw))}.json", write_json(made)


def write_json(value: object) -> bytes:
    """JSON for people and programs, the same bytes each time. ASCII: what cannot be seen is written as its number."""
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
