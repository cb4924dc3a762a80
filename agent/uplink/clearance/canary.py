"""Whether the service compares the checksum of a completion: a few bytes are completed wrongly, then rightly."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agent.errors import BadReceipt, UplinkDown, UplinkRefused
from agent.uplink.clearance.blob import Blob, block_name
from agent.uplink.clearance.envelope import Envelope
from agent.uplink.clearance.words import completion, key_in, text_in, uri_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.capture import Json
    from agent.uplink.clearance.doors import Services

__all__ = ["compares"]

_BYTES: Final = b"These bytes are completed with the checksum of others.\n"
_OTHERS: Final = b"And these are the others, which nobody ever sends here.\n"


async def compares(services: Services) -> bool:
    """Whether it refuses the wrong one and takes the right one. Raises `UplinkDown` where it cannot be tried."""
    places, options = services.places, services.options
    jwk = key_in((await services.ask("GET", places.key, gone=False)).body)
    try:
        key = None if jwk is None else jwk.public()
    except ValueError as error:
        raise UplinkDown(f"the agency's key cannot be used: {error}") from error
    if jwk is None or key is None:
        raise UplinkDown("the Key Store Service gave no RSA key")
    capture = f"canary-{uuid.uuid4()}"
    envelope = Envelope.new(services.secret, capture, key, jwk.kid or "key")
    sealing = envelope.sealing(services.secret, capture, options.checksum)
    assert sealing is not None  # noqa: S101 - it was made with this key
    content = sealing.sealed(_BYTES, last=True)
    made = await services.ask("POST", places.documents, {"Name": "Evidock canary", "Description": "No evidence."})
    evidence = text_in(made.body, "EvidenceId") or ""
    file = await services.ask("POST", places.resources(evidence), {"Name": "canary.txt", "MimeType": "text/plain"})
    resource, uri = text_in(file.body, "ResourceId"), uri_in(file.body)
    if resource is None or uri is None or not options.stores_at(urlsplit(uri).hostname):
        raise UplinkDown("Clearance does not say where the bytes of a test would go")
    blob, name = Blob(services.storage, uri, options.stall), block_name(0, content)
    await blob.put(name, content)
    await blob.commit([name], envelope.data())
    await services.ask("POST", places.resource_done(evidence, resource))
    wrong = hashlib.new(options.checksum.lower(), _OTHERS).hexdigest()
    if await _takes(services, evidence, completion(options.checksum, resource, wrong)) is not False:
        return False
    return await _takes(services, evidence, completion(options.checksum, resource, sealing.digest)) is True


async def _takes(services: Services, evidence: str, body: Mapping[str, Json]) -> bool | None:
    """Whether it takes a completion; None where its answer does not judge what it was given.

    Raises `UplinkDown` where the way there failed: such a try tells nothing, and is made again.
    """
    try:
        answer = await services.ask("POST", services.places.evidence_done(evidence), body, judged=True)
    except BadReceipt:
        return False
    except UplinkDown as error:
        if error.way:
            raise
        return None
    except UplinkRefused:
        return None
    return None if answer.status == 409 else True  # noqa: PLR2004 - a conflict: with what, it does not say
