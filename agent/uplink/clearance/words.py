"""The words of Clearance's services: which of them its guide gives, and which are assumed, each said where it stands.

*Documented*: developer.genetec.com, Clearance Developer Guide (Uploading a file, File encryption, Checksum, Document
Service API, Using custom fields, Authentication). *Assumed*: only in the maker's interactive documentation, which asks
for a tenant; nobody has tried it from here against the real service.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import ValidationError

from agent.capture import printable, rfc3339
from agent.uplink.clearance.connection import Jwk

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Holding, Json
    from agent.uplink.clearance.connection import Connection

__all__ = [
    "GRANT",
    "Places",
    "completion",
    "evidence",
    "key_in",
    "listed",
    "resource",
    "text_in",
    "uri_in",
]

GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
"""Documented; RFC 7523 section 2.1."""
_NAME_MAX: Final = 200


class Places:
    """Where to ask."""

    def __init__(self, connection: Connection) -> None:
        self.token = f"{connection.tokens[0]}/token"
        """Documented."""
        tenant = quote(connection.tenant, safe="")
        self.documents = f"{connection.documents[0]}/tenant/{tenant}/evidence"
        """Documented for reading and completing; that POST there creates an item is assumed."""
        self.key = f"{connection.keys[0]}/tenant/{tenant}/key"
        """Assumed: the guide only says that the public key comes from the Key Store Service."""

    def resources(self, evidence_: str) -> str:
        """GET is documented; that POST creates one is assumed."""
        return f"{self.documents}/{quote(evidence_, safe='')}/resource"

    def resource(self, evidence_: str, resource_: str) -> str:
        """Assumed: that GET gives it with a fresh address for its bytes."""
        return f"{self.resources(evidence_)}/{quote(resource_, safe='')}"

    def resource_done(self, evidence_: str, resource_: str) -> str:
        """Documented."""
        return f"{self.resource(evidence_, resource_)}/complete"

    def evidence_done(self, evidence_: str) -> str:
        """Assumed, as it follows from the one above: the guide says only that it is told."""
        return f"{self.documents}/{quote(evidence_, safe='')}/complete"


def evidence(holding: Holding) -> dict[str, Json]:
    """The body that creates an item: fields of the evidence model, which is documented for reading."""
    origin = holding.origin
    told: dict[str, Json] = {
        "Name": printable(origin.key)[-_NAME_MAX:],
        "Description": (
            f"Evidock capture {holding.id}, SHA-256 {holding.digest.sha256.hex()}, {holding.digest.length} bytes, "
            f"entry {holding.index} of {holding.log}"
        ),
        "SourceId": holding.id,
        "Device": {"ExternalId": origin.device, "SerialNumber": origin.device.rpartition(":")[2] or origin.device},
    }
    if origin.began_at is not None:
        told["StartTimeUtc"] = rfc3339(origin.began_at)
    return told


def resource(holding: Holding) -> dict[str, Json]:
    """The body that creates a file of an item: fields of the resource list, which is documented for reading."""
    told: dict[str, Json] = {"Name": printable(holding.origin.key)[-_NAME_MAX:], "MimeType": holding.media_type}
    if holding.origin.began_at is not None:
        told["StartTimeUtc"] = rfc3339(holding.origin.began_at)
    return told


def completion(checksum: str, resource_: str, digest: str) -> dict[str, Json]:
    """Documented; that it belongs to the call that completes the item is assumed, for it lists all files of it."""
    return {
        "ChecksumAlgorithm": checksum,
        "CompleteEvidenceResources": [{"ResourceId": resource_, "Checksum": digest}],
    }


def text_in(body: bytes, name: str) -> str | None:
    """A short text or number of an answer, such as `EvidenceId` (documented)."""
    value = _json(body).get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value if isinstance(value, str) and 0 < len(value) <= 128 and value.isprintable() else None  # noqa: PLR2004


def uri_in(body: bytes) -> str | None:
    """The address with an Azure SAS token: documented to be there, and not under which name."""
    for value in _json(body).values():
        if isinstance(value, str) and len(value) <= 4096 and value.isascii() and value.isprintable():  # noqa: PLR2004
            try:
                parts = urlsplit(value)
                signed = "sig" in parse_qs(parts.query)
            except ValueError:  # no address, such as one with half a bracket
                continue
            if parts.scheme in {"http", "https"} and parts.hostname and signed:
                return value
    return None


def key_in(body: bytes) -> Jwk | None:
    """The agency's public key: assumed to be a JWK, bare or as Azure Key Vault gives it (`{"key": {...}}`)."""
    told = _json(body)
    inner = told.get("key", told)
    try:
        return Jwk.model_validate(inner)
    except ValidationError:
        return None


def listed(body: bytes, resource_: str) -> Mapping[str, Any] | None:
    """One file in the list of an item's files (documented): found by its id, for the service adds files of its own."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = (one for one in told if isinstance(one, dict)) if isinstance(told, list) else ()
    return next((one for one in found if str(one.get("ResourceId")) == resource_), None)


def _json(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
