"""One capture into the bucket: short ones by one PUT, others part by part; what is there already is not sent again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from agent.errors import BadReceipt, SpoolDamaged, UplinkDown, UplinkError
from agent.uplink.s3.multipart import Differs, Upload, in_parts
from agent.uplink.s3.named import b64, key_of, lock_asked, made_with
from agent.uplink.s3.parts import Outgoing, Part
from agent.uplink.s3.trouble import Exists, NoUpload, WrongDigest

if TYPE_CHECKING:
    from agent.uplink import Sending
    from agent.uplink.http.places import Places
    from agent.uplink.s3.store import Store

__all__ = ["Brought", "brought"]


@dataclass(frozen=True, slots=True)
class Brought:
    """An object of ours is there."""

    composite: bytes | None = None
    """SHA-256 over the digests of its parts, where it was sent in parts by this call."""
    existed: bool = False
    """It had been there before, by an earlier try whose answer was lost."""
    lock: str | None = None
    """The lock that was asked for, where it was made by this call."""


async def brought(store: Store, sending: Sending, places: Places, *, compares: bool) -> Brought:
    """Bring it. Raises `UplinkDown`, `UplinkRefused`, `BadReceipt`, `SpoolDamaged`, or what `Sending.turn` raised.

    `places`: parts that may be on their way at once, of all captures. `compares`: the store refuses wrong digests.
    """
    log = structlog.get_logger("uplink").bind(capture=sending.holding.id)
    length = sending.holding.digest.length
    for _ in range(3):
        try:
            if length <= store.options.part_length:
                return await _whole(store, sending, stated=compares)
            composite, lock = await in_parts(store, sending, places, prove=not compares)
            return Brought(composite, lock=lock)
        except NoUpload as error:
            # It was completed, and nobody heard; or the bucket's rule ended it.
            if await _there(store, sending):  # what is remembered stays: by that it is found again, and not sent again
                return Brought(existed=True)
            log.warning("upload_gone", url=str(error), status=404)
            await sending.remember(None)
        except Differs as error:
            log.warning("upload_differs", what=str(error))
            await _abort(store, sending)
            await sending.remember(None)
        except Exists:
            await _abort(store, sending)
            return Brought(existed=True)
        except WrongDigest as error:
            await _prove_spool(sending)
            raise BadReceipt(
                f"{error}; the spool has them as journaled",
                hint="Something between this station and the store changes bytes, or one of both has bad memory.",
            ) from error
    raise UplinkDown("the object store loses this upload, or changes it, each time", alone=True)


async def _whole(store: Store, sending: Sending, *, stated: bool) -> Brought:
    """By one PUT, with the digest that the journal has; its last block goes only if the spool gave what it says."""
    holding, digest = sending.holding, sending.holding.digest
    kind = await sending.class_kept()
    await sending.turn(digest.length)
    sending.progress(0)
    part = Part(1, 0, digest.length, digest.sha256)
    outgoing = Outgoing(sending, part, store.options.stall, prove=True, stated=stated)
    await store.ask(
        "put_object",
        outgoing=outgoing,
        Key=key_of(store.options, holding),
        ChecksumAlgorithm="SHA256",
        ChecksumSHA256=b64(digest.sha256),
        IfNoneMatch="*",
        **made_with(store.options, holding, kind),
    )
    sending.progress(digest.length)
    return Brought(lock=lock_asked(store.options, kind))


async def _there(store: Store, sending: Sending) -> bool:
    try:
        await store.ask("head_object", Key=key_of(store.options, sending.holding))
    except UplinkDown:
        raise
    except UplinkError:
        return False
    return True


async def _abort(store: Store, sending: Sending) -> None:
    """Give up an upload, if there is one: unfinished parts cost room at the store."""
    upload = Upload.read(sending.recall())
    if upload is not None:
        with suppress(UplinkError):
            await store.ask("abort_multipart_upload", Key=key_of(store.options, sending.holding), UploadId=upload.id)


async def _prove_spool(sending: Sending) -> None:
    """Raise `SpoolDamaged` where the kept file is not what the journal says."""
    whole = sha256()
    async for block in sending.blocks(0, sending.holding.digest.length):
        whole.update(block)
    if whole.digest() != sending.holding.digest.sha256:
        raise SpoolDamaged(f"capture {sending.holding.id} in the spool is not what the journal says")
