"""One capture to Clearance: an item is made, its encrypted bytes are brought block by block, and both are completed.

What is there after a crash: an item that nobody completes, which the service purges; or one of which is remembered
where its bytes go and how they are encrypted, so that the same blocks are made again and those that are there are kept.
An upload that was purged is never taken for one that arrived: it begins anew, as another item and with another key.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from hashlib import new as hash_of
from typing import TYPE_CHECKING, Any, Final

import structlog
from yarl import URL

from agent.errors import BadReceipt, NotNow, SpoolDamaged, UplinkDown
from agent.tasks import first_of
from agent.uplink.clearance.blob import ENCRYPTION_DATA, Blob, NotSigned, number_of
from agent.uplink.clearance.doors import Purged
from agent.uplink.clearance.envelope import Envelope, cipher_length, pin_of
from agent.uplink.clearance.sealed import Reading, block_length
from agent.uplink.clearance.upload import Upload
from agent.uplink.clearance.words import completion, evidence, key_in, listed, resource, text_in, uri_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent.capture import Json
    from agent.uplink import Sending
    from agent.uplink.clearance.doors import Services
    from agent.uplink.clearance.rate import Rate
    from agent.uplink.clearance.sealed import Block
    from agent.uplink.http.places import Places

__all__ = ["Bringing"]

_ADMINISTRATOR: Final = "The administrator of Clearance must look at it. The capture stays here and on the device."


class Bringing:
    """One `send`, of which every step may have been done before."""

    def __init__(self, services: Services, sending: Sending, places: Places, rate: Rate) -> None:
        """`places`: blocks that may lie in memory at once, of all captures."""
        self._services, self._sending, self._places, self._rate = services, sending, places, rate
        self._options = services.options
        self._holding = sending.holding
        self._renewing = asyncio.Lock()
        self._asking = asyncio.Lock()  # what a turn has granted is for the bytes that follow it
        self._log = structlog.get_logger("uplink").bind(capture=sending.holding.id)

    async def brought(self, *, compares: bool) -> dict[str, Any]:
        """Bring it and complete it; what went over the wire, for the entry. Raises as `Uplink.send`, and `Purged`.

        `compares`: the service refuses wrong checksums.
        """
        upload = Upload.read(self._sending.recall())
        if upload is not None and upload.sent is not None:
            await self._is_there(upload)
            self._sending.progress(self._holding.digest.length)
            return upload.sent
        if upload is None or upload.resource is None:
            # An item may have got a file of which nobody heard, and would never be complete: it is left to the purge.
            upload = await self._placed(await self._begun())
        if (datetime.now(UTC) - upload.began_at).total_seconds() > self._options.unfinished:
            raise Purged("this upload is older than what is not complete lives")
        sealing = upload.envelope.sealing(self._services.secret, self._holding.id, self._options.checksum)
        if sealing is None:
            raise Purged("the integration has another private key since this upload was begun")
        reading = Reading(self._sending, upload.block, sealing)
        upload = await self._blocks(upload, reading)
        return await self._completed(upload, reading, compares=compares)

    # -- an item and its file -----------------------------------------------------------------------------------------

    async def _begun(self) -> Upload:
        holding, places = self._holding, self._services.places
        self._rate.require(holding.digest.length, self._options.unfinished)
        answer = await self._services.ask("GET", places.key, gone=False)
        jwk = key_in(answer.body)
        if jwk is None:
            raise UplinkDown("the Key Store Service gave no RSA key", hint=_ADMINISTRATOR)
        try:
            key = jwk.public()
        except ValueError as error:
            raise UplinkDown(f"the agency's key cannot be used: {error}", hint=_ADMINISTRATOR) from error
        if self._options.key_pins and pin_of(key) not in self._options.key_pins:
            raise UplinkDown(
                "the Key Store Service gave a key that is none of those in `key_pins`",
                hint="If the agency has a new key, add it to `key_pins`, after its administrator has told it to you.",
            )
        envelope = Envelope.new(self._services.secret, holding.id, key, jwk.kid or pin_of(key))
        answer = await self._services.ask("POST", places.documents, evidence(holding))
        name = text_in(answer.body, "EvidenceId")
        if name is None:
            raise UplinkDown("Clearance made an item and does not say which", hint=_ADMINISTRATOR)
        block = block_length(holding.digest.length, self._options.block_length)
        return await self._kept(Upload.new(name, datetime.now(UTC), block, envelope))

    async def _placed(self, upload: Upload) -> Upload:
        url = self._services.places.resources(upload.evidence)
        answer = await self._services.ask("POST", url, resource(self._holding))
        name, uri = text_in(answer.body, "ResourceId"), uri_in(answer.body)
        if name is None or uri is None:
            raise UplinkDown("Clearance made a file and does not say where its bytes go", hint=_ADMINISTRATOR)
        return await self._kept(upload.given(resource=name, uri=self._permitted(uri)))

    async def _renewed(self, upload: Upload, old: str | None) -> Upload:
        """The same with a fresh address, once for all blocks that are under way."""
        async with self._renewing:
            known = Upload.read(self._sending.recall())
            if known is not None and known.uri not in (None, old):
                return known
            url = self._services.places.resource(upload.evidence, str(upload.resource))
            answer = await self._services.ask("GET", url)
            uri = uri_in(answer.body)
            if uri is None:
                raise UplinkDown("Clearance gives no fresh address for this upload", alone=True)
            return await self._kept(upload.given(uri=self._permitted(uri)))

    def _permitted(self, uri: str) -> str:
        url = URL(uri, encoded=True)
        secure = url.scheme in {"https", self._services.door.url.scheme}
        if not secure or url.user is not None or not self._options.stores_at(url.host):
            raise UplinkDown(
                f"Clearance sends this capture to {url.scheme}://{url.host}, which nobody permitted",
                hint="If the tenant's storage is there, add its host to `storage`.",
            )
        return uri

    async def _kept(self, upload: Upload) -> Upload:
        await self._sending.remember(upload.text)
        return upload

    # -- its bytes ----------------------------------------------------------------------------------------------------

    async def _signed(
        self,
        upload: Upload,
        act: Callable[[Blob], Awaitable[Any]],
        *,
        again: Callable[[], Awaitable[None]] | None = None,
    ) -> tuple[Any, Upload]:
        """Do something with the blob; once more with a fresh address where the old one is not accepted any more.

        `again` is awaited before that.
        """
        try:
            return await act(self._blob(upload)), upload
        except NotSigned:
            renewed = await self._renewed(upload, upload.uri)
            if renewed.uri == upload.uri:
                raise  # the service thinks that it is good: it does not permit this
            if again is not None:
                await again()
            return await act(self._blob(renewed)), renewed

    def _blob(self, upload: Upload) -> Blob:
        return Blob(self._services.storage, str(upload.uri), self._options.stall)

    async def _blocks(self, upload: Upload, reading: Reading) -> Upload:
        there, upload = await self._there(upload)
        known, names = {number_of(name) for name in there}, list[str]()
        done: set[int] = set()
        self._sending.progress(0)
        waits: NotNow | None = None

        async def send(block: Block) -> None:
            nonlocal waits
            started = time.monotonic()
            current = Upload.read(self._sending.recall()) or upload
            put, again = (
                partial(Blob.put, name=block.name, content=block.content),
                partial(self._has_turn, reading, block),
            )
            try:
                with self._places.watched():
                    await self._signed(current, put, again=again)
            except NotNow as error:
                waits = error
                return
            self._rate.took(len(block.content), time.monotonic() - started)
            self._came(done, block, reading)

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(reading.count):
                    if waits is not None:
                        break
                    try:
                        block = await self._next(reading, number, there, listed_=number in known)
                    except NotNow as error:
                        waits = error  # what is on its way arrives first: cut off, it would be sent again
                        break
                    names.append(block.name)
                    if there.get(block.name) == len(block.content):
                        self._places.release()
                        self._came(done, block, reading)
                    else:
                        # Not by the task itself: one that is ended before it begins does nothing at all.
                        group.create_task(send(block)).add_done_callback(lambda _: self._places.release())
        except BaseExceptionGroup as errors:
            raise first_of(errors, SpoolDamaged, Purged, BadReceipt) from errors
        if waits is not None:
            raise waits
        upload = Upload.read(self._sending.recall()) or upload
        data = upload.envelope.data()
        made, upload = await self._signed(upload, lambda blob: blob.commit(names, data))
        return upload if made else await self._was_there(upload, names)

    async def _next(self, reading: Reading, number: int, there: Mapping[str, int], *, listed_: bool) -> Block:
        """Read and encrypt the next block, as soon as there is a place for it. Whoever is done gives the place back.

        What is listed needs no turn, as long as it is the same block: else it has its turn once that is known.
        """
        await self._places.acquire()
        try:
            if not listed_:
                async with self._asking:
                    await self._sending.turn(reading.plain(number))
                    return await reading.block(number, paced=True)
            block = await reading.block(number, paced=False)
            if there.get(block.name) != len(block.content):
                await self._has_turn(reading, block)
        except BaseException:
            self._places.release()
            raise
        return block

    async def _has_turn(self, reading: Reading, block: Block) -> None:
        """A turn for a block that was read before, and its time at the pace that the policy allows."""
        async with self._asking:
            await self._sending.turn(reading.plain(block.number))
            await reading.pass_by(block.number)

    def _came(self, done: set[int], block: Block, reading: Reading) -> None:
        done.add(block.number)
        first = next((number for number in range(reading.count) if number not in done), reading.count)
        self._sending.progress(min(first * reading.plain(0), self._holding.digest.length))

    async def _there(self, upload: Upload) -> tuple[dict[str, int], Upload]:
        """Blocks that the storage lists; none where the address does not permit that, and then all are sent again."""
        try:
            found, upload = await self._signed(upload, Blob.listed)
        except NotSigned:
            self._log.warning("blocks_not_listed", destination=self._options.name)
            return {}, Upload.read(self._sending.recall()) or upload
        return found, upload

    async def _was_there(self, upload: Upload, names: list[str]) -> Upload:
        """A blob is there already: ours, of which nobody heard, or an empty one, of which ours may take the place."""
        head, upload = await self._signed(upload, Blob.head)
        if head.headers.get(ENCRYPTION_DATA) == upload.envelope.data():
            return upload
        if head.headers.get("Content-Length") == "0":
            tag, data = head.headers.get("ETag", ""), upload.envelope.data()
            made, upload = await self._signed(upload, lambda blob: blob.commit(names, data, instead_of=tag))
            if made:
                return upload
        raise BadReceipt("Clearance has other bytes where this capture belongs", hint=_ADMINISTRATOR)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _completed(self, upload: Upload, reading: Reading, *, compares: bool) -> dict[str, Any]:
        places, options = self._services.places, self._options
        upload = await self._weighed(upload, reading)
        proof = "checksum" if compares else "none"
        if options.read_back:
            found, upload = await self._signed(upload, self._read)
            if found != reading.sealing.digest:
                raise BadReceipt("the storage gave back other bytes than it was given", hint=_ADMINISTRATOR)
            proof = "read back"
        name = str(upload.resource)
        await self._services.ask("POST", places.resource_done(upload.evidence, name))
        body = completion(options.checksum, name, reading.sealing.digest)
        answer = await self._services.ask("POST", places.evidence_done(upload.evidence), body, judged=True)
        if answer.status == 409:  # noqa: PLR2004 - Conflict: it was completed before, or it never will be
            await self._is_there(upload)
            proof = proof if options.read_back else "none"
        sent: dict[str, Json] = {
            "checksum": {"algorithm": options.checksum, "digest": reading.sealing.digest},
            "encryption": upload.envelope.told(),
            "evidence": upload.evidence,
            "length": reading.sealing.length,
            "proof": proof,
            "resource": name,
            "tenant": self._services.connection.tenant,
        }
        upload = await self._kept(upload.given(sent=sent, uri=None))
        await self._is_there(upload)
        return sent

    async def _weighed(self, upload: Upload, reading: Reading) -> Upload:
        """The storage has as many bytes as were sent, where the address permits to ask it."""
        try:
            head, upload = await self._signed(upload, Blob.head)
        except NotSigned:
            return Upload.read(self._sending.recall()) or upload
        length, ours = head.headers.get("Content-Length"), reading.sealing.length
        if length != str(ours) or ours != cipher_length(self._holding.digest.length):
            raise BadReceipt(
                f"the storage has {length} bytes of this capture, and {ours} were sent", hint=_ADMINISTRATOR
            )
        return upload

    async def _is_there(self, upload: Upload) -> None:
        """The service lists the file of this item as uploaded. Raises `Purged`, `UplinkDown`."""
        answer = await self._services.ask("GET", self._services.places.resources(upload.evidence))
        found = listed(answer.body, str(upload.resource))
        if found is None:
            raise Purged("Clearance does not list this capture under its item")
        if found.get("UploadedTimeUtc") is None:
            raise UplinkDown("Clearance lists this capture and does not call it uploaded", alone=True)

    async def _read(self, blob: Blob) -> str:
        whole, left = hash_of(self._options.checksum.lower()), cipher_length(self._holding.digest.length)
        async with aclosing(blob.blocks()) as blocks:
            async for block in blocks:
                whole.update(block)
                left -= len(block)
                if left < 0:  # it is something else already, and may have no end
                    break
        return whole.hexdigest()
