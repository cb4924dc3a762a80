"""The same facts in CASE/UCO (caseontology.org), as JSON-LD, for tools that read investigations.

Every identifier is made from what it stands for, so that the same captures give the same graph. What a device said
stands in the facets of device and file; what the station found stands in the actions.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Any, Final

from agent.custody.export.manifest import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.custody.export.dossier import Facts, Sealed

__all__ = ["describe"]

_UCO: Final = "https://ontology.unifiedcyberontology.org/uco"
_CONTEXT: Final = {
    "kb": "https://evidock.example/kb/",
    "case-investigation": "https://ontology.caseontology.org/case/investigation/",
    "uco-action": f"{_UCO}/action/",
    "uco-core": f"{_UCO}/core/",
    "uco-identity": f"{_UCO}/identity/",
    "uco-observable": f"{_UCO}/observable/",
    "uco-tool": f"{_UCO}/tool/",
    "uco-types": f"{_UCO}/types/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
_Node = dict[str, Any]


def describe(captures: Sequence[Facts], under: Sealed, version: str) -> bytes:
    """The file `case.jsonld`."""
    tool: _Node = {
        "@id": _name("tool", version),
        "@type": "uco-tool:Tool",
        "uco-core:name": "Evidock",
        "uco-tool:version": version,
    }
    station: _Node = {
        "@id": _name("identity", under.seal.log),
        "@type": "uco-identity:Identity",
        "uco-core:name": under.seal.log,
    }
    devices: dict[str, _Node] = {}
    graph = [tool, station]
    for facts in captures:
        device = _device(facts)
        devices.setdefault(device["@id"], device)
        file = _file(facts)
        record = _record(facts, file)
        action = {
            "@id": _name("action", facts.leaf_hash),
            "@type": "case-investigation:InvestigativeAction",
            "uco-core:name": "acquisition",
            "uco-core:description": f"Entry {facts.held.index} of the log {under.seal.log}",
            "uco-action:endTime": _time(facts.predicate["recorded_at"]),
            "uco-action:instrument": _to(tool),
            "uco-action:performer": _to(station),
            "uco-action:object": _to(device),
            "uco-action:result": [_to(file), _to(record)],
        }
        graph += [file, record, action]
    return write_json({"@context": _CONTEXT, "@graph": [*graph, *devices.values()]})


def _device(facts: Facts) -> _Node:
    device = facts.device
    facet: _Node = {"@id": _name("device-facet", device["id"]), "@type": "uco-observable:DeviceFacet"}
    for ours, theirs in (("model", "model"), ("serial", "serialNumber")):
        if device.get(ours) is not None:
            facet[f"uco-observable:{theirs}"] = device[ours]
    told = [f"{name}: {device[name]}" for name in ("id", "maker", "firmware") if device.get(name) is not None]
    return {
        "@id": _name("device", device["id"]),
        "@type": "uco-observable:ObservableObject",
        "uco-core:description": "; ".join(told),
        "uco-core:hasFacet": facet,
    }


def _file(facts: Facts) -> _Node:
    hashes = [
        {
            "@id": _name("hash", f"{method} {facts.id}"),
            "@type": "uco-types:Hash",
            "uco-types:hashMethod": kind,
            "uco-types:hashValue": {"@type": "xsd:hexBinary", "@value": facts.digest[method].upper()},
        }
        for method, kind in (
            ("sha256", "SHA256"),
            ("blake3", "BLAKE3"),
        )
    ]
    content: _Node = {
        "@id": _name("content-facet", facts.id),
        "@type": "uco-observable:ContentDataFacet",
        "uco-observable:hash": hashes,
        "uco-observable:mimeType": str(facts.capture.get("media_type", "application/octet-stream")),
        "uco-observable:sizeInBytes": facts.length,
    }
    name: _Node = {
        "@id": _name("file-facet", facts.id),
        "@type": "uco-observable:FileFacet",
        "uco-observable:fileName": str(facts.capture["key"]).rpartition("/")[2],
        "uco-observable:filePath": facts.capture["key"],
        "uco-observable:isDirectory": False,
        "uco-observable:sizeInBytes": facts.length,
    }
    if facts.capture.get("began_at") is not None:
        name["uco-observable:observableCreatedTime"] = _time(facts.capture["began_at"])
    return {
        "@id": f"kb:file-{facts.id}",
        "@type": "uco-observable:File",
        "uco-core:name": facts.file or facts.id,
        "uco-core:hasFacet": [name, content],
    }


def _record(facts: Facts, file: _Node) -> _Node:
    return {
        "@id": _name("provenance", facts.id),
        "@type": "case-investigation:ProvenanceRecord",
        "uco-core:description": f"custody/story-{facts.id}.jsonl",
        "case-investigation:exhibitNumber": facts.id,
        "uco-core:object": _to(file),
    }


def _to(node: _Node) -> _Node:
    return {"@id": node["@id"]}


def _time(text: str) -> _Node:
    return {"@type": "xsd:dateTime", "@value": text}


def _name(kind: str, what: str) -> str:
    """An identifier ending in a UUID, as the validator asks for: version 8 over what it stands for."""
    raw = bytearray(hashlib.sha256(f"{kind}\n{what}".encode("utf-8", "backslashreplace")).digest()[:16])
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return f"kb:{kind}-{uuid.UUID(bytes=bytes(raw))}"
