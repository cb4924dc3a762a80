"""A long capture part by part: several at once, continued from what the store lists after a restart.

The store's list is never believed: each part is compared with the same part of the kept file before it counts as
brought. Reading is one pass from the beginning, so the digest of everything is proven before the object is completed.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.errors import NotNow, SpoolDamaged, UplinkError
from agent.tasks import first_of
from agent.uplink.s3.named import b64, key_of, lock_asked, made_with, upload_id
from agent.uplink.s3.options import PARTS_MAX
from agent.uplink.s3.parts import Outgoing, Reading, part_length
from agent.uplink.s3.trouble import Answered, DigestUnsigned, NoUpload, WrongDigest

if TYPE_CHECKING:
    from agent.uplink import Sending
    from agent.uplink.http.places import Places
    from agent.uplink.s3.parts import Part
    from agent.uplink.s3.store import Store

__all__ = ["Differs", "Upload", "in_parts"]


class Differs(UplinkError):
    """What the store has of an upload is not what becomes the object: a part of it, or the lock that was asked for."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What is remembered of an upload in parts, before its first byte is sent."""

    id: str
    part: int
    """Bytes of one part."""
    lock: str | None
    """The lock that was asked for with it: the object gets that one, and no later one."""

    @property
    def text(self) -> str:
        """For `Sending.remember`."""
        return json.dumps({"lock": self.lock, "part": self.part, "upload": self.id})

    @classmethod
    def read(cls, text: str | None) -> Upload | None:
        """What was remembered; None where nothing was, or nothing that this uplink wrote."""
        try:
            told = json.loads(text or "")
            return cls(str(told["upload"]), int(told["part"]), told.get("lock"))
        except (ValueError, TypeError, KeyError):
            return None


async def in_parts(store: Store, sending: Sending, places: Places, *, prove: bool) -> tuple[bytes, str | None]:
    """Bring it and complete it; SHA-256 over the digests of its parts, and the lock that was asked for.

    Raises as `brought` does, and its own kinds.
    """
    upload = Upload.read(sending.recall())
    listed = {} if upload is None else await _listed(store, sending, upload)
    await _same_lock(store, sending, upload)
    if upload is None:
        upload = await _begun(store, sending)
    return await _Bringing(store, sending, places, upload, prove=prove).all(listed)


async def _same_lock(store: Store, sending: Sending, upload: Upload | None) -> None:
    """Raise `Differs` where the class of the capture, or what its class asks for, is another since it was begun."""
    if upload is not None and upload.lock != lock_asked(store.options, await sending.class_kept()):
        raise Differs("the lock")


async def _begun(store: Store, sending: Sending) -> Upload:
    holding, options = sending.holding, store.options
    kind = await sending.class_kept()
    answer = await store.ask(
        "create_multipart_upload",
        Key=key_of(options, holding),
        ChecksumAlgorithm="SHA256",
        **made_with(options, holding, kind),
    )
    length = part_length(holding.digest.length, options.part_length)
    upload = Upload(upload_id(answer, store.place), length, lock_asked(options, kind))
    await sending.remember(upload.text)
    return upload


async def _listed(store: Store, sending: Sending, upload: Upload) -> dict[int, dict[str, Any]]:
    """The parts that the store has, by number."""
    found: dict[int, dict[str, Any]] = {}
    key, marker = key_of(store.options, sending.holding), 0
    while True:
        answer = await store.ask("list_parts", Key=key, UploadId=upload.id, PartNumberMarker=marker)
        found |= {number: part for part in answer.get("Parts", ()) if 0 < (number := _number(part)) <= PARTS_MAX}
        after = int(answer.get("NextPartNumberMarker") or 0)
        if not answer.get("IsTruncated") or not marker < after < PARTS_MAX:  # else a list could go on for ever
            return found
        marker = after


def _number(part: dict[str, Any]) -> int:
    return int(part.get("PartNumber") or 0)


class _Bringing:
    """One upload under way."""

    def __init__(self, store: Store, sending: Sending, places: Places, upload: Upload, *, prove: bool) -> None:
        self._store, self._sending, self._places, self._upload = store, sending, places, upload
        self._prove = prove
        self._key, self._length = key_of(store.options, sending.holding), sending.holding.digest.length
        self._reading = Reading(sending, upload.part)
        self._tags: dict[int, str] = {}
        self._waits: NotNow | Answered | None = None
        """Why no more is begun now. What is on its way arrives first: cut off, it would be sent again."""
        self._told = 0

    async def all(self, listed: dict[int, dict[str, Any]]) -> tuple[bytes, str | None]:
        """Send what is not listed, and complete the object."""
        count = -(-self._length // self._upload.part)
        self._sending.progress(0)
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(1, count + 1):
                    if self._waits is not None:
                        break
                    if (known := listed.get(number)) is not None:
                        await self._compare(known, number)
                        continue
                    try:
                        part, outgoing = await self._next(number)
                    except NotNow as error:
                        self._waits = error
                        break
                    # Not by the task itself: one that is ended before it begins does nothing at all.
                    sent = group.create_task(self._send(part, outgoing))
                    sent.add_done_callback(lambda _: self._places.release())
        except BaseExceptionGroup as errors:
            raise first_of(errors, SpoolDamaged, WrongDigest, DigestUnsigned, NoUpload, Differs) from errors
        if self._waits is not None:
            raise self._waits
        parts = [
            {"ETag": tag, "PartNumber": number, "ChecksumSHA256": b64(self._reading.digests[number])}
            for number, tag in sorted(self._tags.items())
        ]
        await _same_lock(self._store, self._sending, self._upload)
        await self._store.ask(
            "complete_multipart_upload",
            Key=self._key,
            UploadId=self._upload.id,
            MultipartUpload={"Parts": parts},
            MpuObjectSize=self._length,
            IfNoneMatch="*",
        )
        return self._reading.composite(), self._upload.lock

    async def _next(self, number: int) -> tuple[Part, Outgoing]:
        """The next part, as soon as there is a place for it and it may go. Who sends it gives the place back."""
        await self._places.acquire()
        try:
            await _same_lock(self._store, self._sending, self._upload)
            await self._sending.turn(min(self._upload.part, self._length - (number - 1) * self._upload.part))
            part = await self._reading.part(number)
            outgoing = Outgoing(
                self._sending, part, self._store.options.stall, prove=self._prove, stated=not self._prove
            )
            await outgoing.begin()
        except BaseException:
            self._places.release()
            raise
        return part, outgoing

    async def _send(self, part: Part, outgoing: Outgoing) -> None:
        try:
            with self._places.watched():
                async with aclosing(outgoing):
                    answer = await self._store.ask(
                        "upload_part",
                        outgoing=outgoing,
                        Key=self._key,
                        UploadId=self._upload.id,
                        PartNumber=part.number,
                        ChecksumAlgorithm="SHA256",
                        ChecksumSHA256=b64(part.sha256),
                    )
        except Answered as error:
            self._waits = error
            return
        self._brought(part.number, str(answer.get("ETag", "")))

    async def _compare(self, listed: dict[str, Any], number: int) -> None:
        """Believe a part that the store lists where it is the same part of the kept file; raise `Differs` else."""
        async with self._places:
            part = await self._reading.part(number)
            theirs = listed.get("ChecksumSHA256")
            tag = "" if theirs else await self._reading.tag(part)
            same = theirs == b64(part.sha256) if theirs else str(listed.get("ETag")).strip('"') == tag
        if not same or listed.get("Size") != part.length:
            raise Differs(f"part {number}")
        self._brought(number, str(listed.get("ETag", "")))

    def _brought(self, number: int, tag: str) -> None:
        self._tags[number] = tag
        while self._told + 1 in self._tags:
            self._told += 1
        self._sending.progress(min(self._told * self._upload.part, self._length))
