"""What the store proves of an object: that it compares, that it has what we sent, and that it keeps it locked."""

from __future__ import annotations

import base64
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Receipt, Strength
from agent.errors import BadReceipt, UplinkDown, UplinkError
from agent.uplink.s3.named import b64, key_of, lock_asked, lock_until, upload_id
from agent.uplink.s3.trouble import Answered, NotPermitted, NotThere, WrongDigest

if TYPE_CHECKING:
    from agent.capture import Holding, Priority
    from agent.uplink import Sending
    from agent.uplink.s3.bringing import Brought
    from agent.uplink.s3.store import Store

__all__ = ["proven", "refuses_wrong"]

_WRONG: Final = b"These bytes were announced with the SHA-256 of others.\n"
_OTHERS: Final = b64(sha256(b"And these are the others, which nobody ever sends here.\n").digest())
_BLOCK: Final = 1 << 20
_A_DAY: Final = 86400.0
_SKEW: Final = timedelta(minutes=15)
"""By which the store's clock and ours may differ: S3 takes no request of a clock that is further off."""


async def refuses_wrong(store: Store) -> bool:
    """Whether the store refuses bytes that have another SHA-256 than we state: in a PUT, and in a part.

    Many take the header and compare nothing. Raises `UplinkDown`.
    """
    key = f"{store.options.prefix}evidock-canary-{uuid.uuid4()}"
    return await _refuses_put(store, key) and await _refuses_part(store, key)


async def _refuses_put(store: Store, key: str) -> bool:
    try:
        await store.ask("put_object", Key=key, Body=_WRONG, ChecksumAlgorithm="SHA256", ChecksumSHA256=_OTHERS)
    except WrongDigest:
        return True
    with suppress(UplinkError):  # where the bucket locks its objects it stays there, and is a few bytes
        await store.ask("delete_object", Key=key)
    return False


async def _refuses_part(store: Store, key: str) -> bool:
    upload = upload_id(await store.ask("create_multipart_upload", Key=key, ChecksumAlgorithm="SHA256"), store.place)
    try:
        await store.ask(
            "upload_part",
            Key=key,
            UploadId=upload,
            PartNumber=1,
            Body=_WRONG,
            ChecksumAlgorithm="SHA256",
            ChecksumSHA256=_OTHERS,
        )
    except WrongDigest:
        return True
    finally:
        with suppress(UplinkError):
            await store.ask("abort_multipart_upload", Key=key, UploadId=upload)
    return False


async def proven(store: Store, sending: Sending, brought: Brought, *, compares: bool) -> Receipt:
    """The receipt, as strong as what the store proves. `compares`: it refuses wrong digests.

    Raises `BadReceipt` where the object is not this capture, `UplinkDown` where it is not locked as it has to be.
    """
    options, holding = store.options, sending.holding
    key, kind = key_of(options, holding), await sending.class_kept()
    head = await _seen(store, key)
    _is_ours(head, holding, brought)
    if options.lock != "none" or options.held(kind):
        before = brought.existed or brought.lock != lock_asked(options, kind)
        await _is_locked(store, holding, kind, head, before=before)
    if compares and not brought.existed:
        return Receipt(Strength.DIGEST, options.name, holding.digest.length, holding.digest.sha256)
    if _own_sum(head) == holding.digest.sha256 and compares:
        return Receipt(Strength.DIGEST, options.name, holding.digest.length, holding.digest.sha256)
    if options.read_back or brought.existed:
        # An object that was there before is read: who made it, and how, nobody here has seen.
        with suppress(*(() if options.read_back else (NotPermitted,))):
            found = await _read_back(store, key, head, holding.digest.length)
            return Receipt(Strength.DIGEST, options.name, holding.digest.length, found)
    return Receipt(Strength.LENGTH, options.name, holding.digest.length)


async def _seen(store: Store, key: str) -> dict[str, Any]:
    try:
        return await store.ask("head_object", Key=key, ChecksumMode="ENABLED")
    except NotThere as error:
        raise UplinkDown(f"{store.place} took this capture, and does not have it", alone=True) from error


def _is_ours(head: dict[str, Any], holding: Holding, brought: Brought) -> None:
    length, said = head.get("ContentLength"), head.get("Metadata", {})
    wrong = []
    if length != holding.digest.length:
        wrong.append(f"it has {length} bytes, and ours has {holding.digest.length}")
    if said.get("sha256", holding.digest.sha256.hex()) != holding.digest.sha256.hex():
        wrong.append("it was announced with another SHA-256")
    theirs = str(head.get("ChecksumSHA256") or "")
    if brought.composite is not None and "-" in theirs and theirs.partition("-")[0] != b64(brought.composite):
        wrong.append("the digests of its parts are others")
    if wrong:
        raise BadReceipt(
            f"the object store has another object under capture {holding.id}: {'; '.join(wrong)}",
            hint="The administrator of the object store must look at it. The capture stays here and on the device.",
        )


def _own_sum(head: dict[str, Any]) -> bytes | None:
    """SHA-256 of the whole object, where the store has one: of objects that came in one PUT."""
    text = str(head.get("ChecksumSHA256") or "")
    try:
        return base64.b64decode(text, validate=True) if text and "-" not in text else None
    except ValueError:
        return None


async def _is_locked(store: Store, holding: Holding, kind: Priority, head: dict[str, Any], *, before: bool) -> None:
    """Read the lock back: any answer but the one that is asked for counts as not locked.

    `before`: the object was not made just now as the class of its capture wants it now, so it tells nothing of others.

    HEAD tells it to those who may know it; where it tells nothing, it is asked for by its own name. It is never *set*
    by its own name: a store without locks takes `PUT ?retention` for the object itself, and overwrites it (OpenStack
    Swift does).
    """
    options = store.options
    if options.lock != "none" and (why := await _unlocked(store, holding, kind, head, before=before)) is not None:
        raise _not_locked(store, key_of(options, holding), why, before=before)
    if options.held(kind) and not await _is_held(store, holding, head):
        raise _not_locked(store, key_of(options, holding), "it is under no legal hold", before=before)


async def _unlocked(
    store: Store, holding: Holding, kind: Priority, head: dict[str, Any], *, before: bool
) -> str | None:
    """Why its retention is not the one that is asked for."""
    options = store.options
    mode, until = head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")
    if mode is None:
        kept = (await _told(store, holding, head, "get_object_retention")).get("Retention") or {}
        mode, until = kept.get("Mode"), kept.get("RetainUntilDate")
    least = lock_until(options, kind, now=_since(holding, head, before=before)) or datetime.now(UTC)
    right = mode is not None if options.lock == "bucket" else mode == options.lock.upper()
    if right and until is not None and until >= least:
        return None
    wanted = "" if options.lock == "bucket" else f", and {options.lock.upper()} until {least} is asked for"
    return f"its retention is {mode or 'none'} until {until}{wanted}"


def _since(holding: Holding, head: dict[str, Any], *, before: bool) -> datetime:
    """From when its days count: when it was taken, or made at the store, where our clock ran ahead when it was taken.

    No lock that is asked for once that clock is right again would ever reach as far. That it ran ahead is seen of an
    object that was made just now, and as long as that time is not over.
    """
    made: datetime | None = head.get("LastModified")
    taken = holding.held_at
    if made is None or taken <= made or (before and taken <= datetime.now(UTC)):
        return taken
    return made - _SKEW


async def _is_held(store: Store, holding: Holding, head: dict[str, Any]) -> bool:
    status = head.get("ObjectLockLegalHoldStatus")
    if status is None:
        kept = (await _told(store, holding, head, "get_object_legal_hold")).get("LegalHold") or {}
        status = kept.get("Status")
    return bool(status == "ON")


async def _told(store: Store, holding: Holding, head: dict[str, Any], operation: str) -> dict[str, Any]:
    """What the store says of the lock of this version; nothing where it has no such words."""
    words: dict[str, Any] = {"Key": key_of(store.options, holding)}
    if head.get("VersionId") is not None:
        words["VersionId"] = head["VersionId"]
    try:
        return await store.ask(operation, **words)
    except (Answered, NotPermitted, NotThere):
        return {}


def _not_locked(store: Store, key: str, why: str, *, before: bool) -> UplinkDown:
    hint = "Object Lock needs a bucket that was made with it, and keys that may set it; or change `lock`."
    if before:
        hint = "Its class may have changed since: the administrator of the store can lock this object for longer."
    return UplinkDown(
        f"{store.place} took {key} and does not keep it locked: {why}",
        hint=hint,
        retry_after=_A_DAY / 24,
        alone=before,
    )


async def _read_back(store: Store, key: str, head: dict[str, Any], length: int) -> bytes:
    """SHA-256 of what the store gives; of what is longer than it has to be, no more than shows that."""
    words = {} if head.get("VersionId") is None else {"VersionId": head["VersionId"]}
    body = await store.blocks(key, **words)
    whole, read = sha256(), 0
    try:
        while read <= length and (block := await body.read(_BLOCK)):
            whole.update(block)
            read += len(block)
    except Exception as error:
        raise UplinkDown(f"{store.place} broke off while what it stores was read back", alone=True) from error
    finally:
        body.close()
    return whole.digest()
