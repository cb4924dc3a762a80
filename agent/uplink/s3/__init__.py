"""The uplink `s3`: the agency's object store as the place where captures go, one object for each.

Life of an object: `bringing` sends it, by one PUT or part by part, each with its SHA-256, so that it is never there in
part and never overwritten; `proving` asks what of it can be proven: a store that was seen to refuse a wrong digest has
what we stated, any other has so many bytes, unless it is read back; and a lock counts once it was read back.
All of it goes through one `store`, where `trouble` turns what fails into a sentence. Stations that hold no keys ask a
`broker` to sign each request, and send it as it was `presigned`.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from agent.errors import UplinkDown, UplinkError
from agent.uplink import Finding
from agent.uplink.http.places import Places
from agent.uplink.s3.bringing import brought
from agent.uplink.s3.options import S3Options
from agent.uplink.s3.proving import proven, refuses_wrong
from agent.uplink.s3.store import Store
from agent.uplink.s3.trouble import DigestUnsigned

if TYPE_CHECKING:
    from agent.capture import Receipt
    from agent.uplink import Sending

__all__ = ["S3Options", "S3Uplink"]


class S3Uplink:
    """One bucket of an object store that speaks S3."""

    Options = S3Options

    def __init__(self, options: S3Options) -> None:
        """Raises `ConfigError` where keys or certificates cannot be read."""
        self._options = options
        self._store = Store(options)
        self._places = Places(options.parts)
        self._compares: bool | None = None
        self._trying = asyncio.Lock()
        self._log = structlog.get_logger("uplink")

    async def send(self, sending: Sending, /) -> Receipt:
        """See `agent.uplink.Uplink`."""
        compares = await self._tried()
        try:
            there = await brought(self._store, sending, self._places, compares=compares)
        except DigestUnsigned:  # what the store refused when it was tried, it has not been told since
            self._log.warning("checksums_ignored", destination=self._options.name)
            self._compares = compares = False
            there = await brought(self._store, sending, self._places, compares=False)
        return await proven(self._store, sending, there, compares=compares)

    async def probe(self) -> None:
        """Try whether the store refuses wrong digests. Raises `UplinkDown`."""
        await self._tried(anew=True)

    async def _tried(self, *, anew: bool = False) -> bool:
        async with self._trying:
            if anew or self._compares is None:
                found = await self._asked()
                if not found and self._compares is not False:
                    self._log.warning("checksums_ignored", destination=self._options.name)
                self._compares = found
            return self._compares

    async def _asked(self) -> bool:
        try:
            return await refuses_wrong(self._store)
        except UplinkDown:
            raise
        except UplinkError as error:  # an answer that nobody gives to a few bytes
            raise UplinkDown(str(error)) from error

    async def check(self) -> list[Finding]:
        """Try bucket, keys and digests, and say in plain words what the store proves."""
        started = time.monotonic()
        findings: list[Finding] = []
        try:
            if self._store.broker is None:
                await self._store.ask("head_bucket")
                took = (time.monotonic() - started) * 1000
                findings.append(Finding(what="bucket", state="ok", detail=f"{self._store.place} in {took:.0f} ms"))
            compares = await self._tried(anew=True)
            if self._store.broker is not None:
                detail = f"{self._store.broker.place} signs for {self._store.place}"
                findings.append(Finding(what="broker", state="ok", detail=detail))
            if self._options.lock != "none":
                findings.append(await self._lock())
        except UplinkError as error:
            first = "bucket" if self._store.broker is None else "broker"
            what = "round trip" if findings else first
            return [*findings, Finding(what=what, state="problem", detail=str(error), todo=error.what_to_do)]
        if not self._store.states_digests:
            findings.append(_UNSIGNED)
        return [*findings, _DIGESTS[compares, self._options.read_back]]

    async def _lock(self) -> Finding:
        if self._store.broker is not None:  # which signs what is done with objects, and no questions about the bucket
            return Finding(what="lock", state="ok", detail="is read back from each object before it counts as stored")
        try:
            told = await self._store.ask("get_object_lock_configuration")
            kept = told.get("ObjectLockConfiguration", {})
        except UplinkError:  # stores that know no locks answer with anything
            kept = {}
        if kept.get("ObjectLockEnabled") != "Enabled":
            return Finding(
                what="lock",
                state="problem",
                detail="the bucket does not lock objects, and `lock` asks for it: nothing counts as stored",
                todo="Have a bucket made with Object Lock, or change `lock`.",
            )
        rule = kept.get("Rule", {}).get("DefaultRetention")
        detail = "the bucket locks objects" + (f", by its own rule: {rule}" if rule else "; it has no rule of its own")
        if self._options.lock == "bucket" and not rule:
            todo = "Have a default retention set for the bucket, or name one in agent.toml."
            return Finding(what="lock", state="problem", detail=detail, todo=todo)
        return Finding(what="lock", state="ok", detail=detail)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._store.aclose()


_UNSIGNED = Finding(
    what="broker",
    state="warning",
    detail="it does not sign the header x-amz-checksum-sha256, so the store is not told what it should compare",
    todo="The agency's broker must sign that header as a header: docs/s3-broker.md.",
)


def _of_digests(*, compares: bool, read_back: bool) -> Finding:
    if compares:
        return Finding(what="digests", state="ok", detail="refused bytes with a wrong SHA-256, as it should")
    if read_back:
        return Finding(
            what="digests",
            state="warning",
            detail="took bytes with a wrong SHA-256: each capture is read back, which costs its length once more",
        )
    return Finding(
        what="digests",
        state="warning",
        detail="took bytes with a wrong SHA-256: what it confirms proves a length, and devices keep everything",
        todo="Set read_back = true, so that what was stored is read and compared.",
    )


_DIGESTS = {
    (compares, read_back): _of_digests(compares=compares, read_back=read_back)
    for compares in (True, False)
    for read_back in (True, False)
}
