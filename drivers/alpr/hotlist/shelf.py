"""One list as it is in use: its index, its age, and how a newer one takes its place or does not.

The new index is built beside the old one, which answers meanwhile. It is read back, forced to the disk, and takes the
old one's name in one step; after a power cut the one or the other is there, whole. Whatever is wrong with a list, the
one before stays in use.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from agent import durable
from agent.capture import printable, rfc3339
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.index import Index
from drivers.alpr.hotlist.manifest import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from agent.errors import AgentError
    from drivers.alpr.hotlist.index import Entry
    from drivers.alpr.hotlist.layouts import Layout
    from drivers.alpr.hotlist.manifest import Manifest
    from drivers.alpr.hotlist.options import ListOptions

__all__ = ["Age", "Freshness", "Shelf"]

_AHEAD: Final = timedelta(minutes=10)
"""A list may say that it is from so much later than our clock."""
_LONGEST: Final = 3600.0
"""Seconds that a build may take."""


class Freshness(StrEnum):
    """How old a list is, in a word."""

    FRESH = "fresh"
    AGEING = "ageing"
    STALE = "stale"
    EXPIRED = "expired"
    """Past its end by our clock, whether or not that is kept right: nothing is held against it."""
    UNKNOWN = "unknown"
    """Our clock is not kept right, and does not say that it has expired: it is treated as stale."""
    MISSING = "missing"
    """There is no list."""


@dataclass(frozen=True, slots=True)
class Age:
    """How old a list is at one moment."""

    state: Freshness
    seconds: int | None

    @property
    def degraded(self) -> bool:
        """A hit by this list says less than it would by a fresh one."""
        return self.state in (Freshness.STALE, Freshness.EXPIRED, Freshness.UNKNOWN)


class Shelf:
    """One list."""

    def __init__(self, options: ListOptions, layout: Layout, folder: Path) -> None:
        self.options, self._layout, self._folder = options, layout, folder
        self._path = folder / f"{options.name}.index"
        self.index: Index | None = None
        self.trouble: str | None = None
        """Why the newest file was not put to use."""
        self.todo = BadList.hint
        """What a person does about it."""
        self._turn = asyncio.Lock()

    @property
    def building(self) -> bool:
        """A new index is being made."""
        return self._turn.locked()

    def open(self) -> None:
        """Take up the index of the run before. It was compared when it was made; `check` compares it again."""
        unfinished = (self._folder / f".{self.options.name}.{what}" for what in ("new", "fetched", "pushed"))
        for left in (*unfinished, *self._folder.glob(".build-*")):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if self.index is None and self._path.exists():
            try:
                self.index = Index.open(self._path, verify=False)
            except BadList as error:
                self.blame(error)

    async def check(self) -> None:
        """Read the index once: one that is damaged is not used."""
        if self.index is None:
            return
        try:
            (await asyncio.to_thread(Index.open, self._path)).close()
        except BadList as error:
            self.blame(error)
            self.close()

    def blame(self, error: AgentError) -> None:
        """Remember why the newest file was not put to use, and what to do."""
        self.trouble, self.todo = str(error), error.what_to_do

    def close(self) -> None:
        """Let go of the index."""
        if self.index is not None:
            self.index.close()
            self.index = None

    def find(self, plate: str) -> Sequence[Entry]:
        """What is listed with the folded form of this normalised plate."""
        return () if self.index is None else self.index.find(plate)

    @property
    def about(self) -> dict[str, Any]:
        """What is known of the list in use."""
        return {} if self.index is None else self.index.about

    @property
    def as_of(self) -> datetime | None:
        """When the list in use was made."""
        at = self.about.get("as_of")
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def age(self, now: datetime, *, synchronised: bool) -> Age:
        """How old the list in use is."""
        if self.index is None:
            return Age(Freshness.MISSING, None)
        as_of, expires_at = self.about.get("as_of"), self.about.get("expires_at")
        if as_of is None:
            return Age(Freshness.UNKNOWN, None)
        age = int(now.timestamp()) - as_of
        # A station that is cut off has neither a kept clock nor a newer list: that is when one expires. Its clock may
        # be ahead; but a list with an end is not used on the strength of not knowing whether that has come.
        if expires_at is not None and now.timestamp() >= expires_at:
            return Age(Freshness.EXPIRED, age)
        if not synchronised:
            return Age(Freshness.UNKNOWN, age)
        if age > self.options.stale_after.total_seconds():
            return Age(Freshness.STALE, age)
        return Age(Freshness.AGEING if age > self.options.warn_after.total_seconds() else Freshness.FRESH, age)

    def searched(self, age: Age) -> bool:
        """Whether reads are held against it."""
        if age.state in (Freshness.MISSING, Freshness.EXPIRED):
            return False
        return self.options.when_stale == "match" or not age.degraded

    # -- a newer one ---------------------------------------------------------------------------------------------------

    async def put_up(
        self,
        source: Path,
        manifest: Manifest | None,
        *,
        signer: str | None = None,
        digest: str | None = None,
        confirmed: bool = False,
        announce: Callable[[Mapping[str, Any]], Awaitable[None]] | None = None,
        now: datetime | None = None,
    ) -> dict[str, Any]:
        """Put a file to use; what is told of it. Raises `BadList`, and then the list before stays.

        `digest`: the hexadecimal SHA-256 that a file beside it states. `confirmed`: a person has looked at how much
        shorter or longer it became. `announce`: told when all is well, just before it takes the old one's place.
        """
        async with self._turn:
            try:
                index, new = await self._made(source, manifest, signer, digest, now or datetime.now(UTC))
                try:
                    self._may_replace(index, confirmed=confirmed, now=now or datetime.now(UTC))
                    told = _told(index)
                    if announce is not None:
                        await announce(told)
                    await asyncio.to_thread(self._rename, new)
                except BaseException:
                    index.close()
                    raise
                finally:
                    new.unlink(missing_ok=True)
            except BadList as error:
                self.blame(error)
                raise
            self.trouble = None
            old, self.index = self.index, index
            if old is not None:
                old.close()
            return told

    async def _made(
        self, source: Path, manifest: Manifest | None, signer: str | None, digest: str | None, now: datetime
    ) -> tuple[Index, Path]:
        """The new index, read back, and where it lies."""
        self.wants(manifest, now)
        modified_at = self.looked_at(source)
        about: dict[str, Any] = {
            "list": self.options.name,
            "layout": self.options.layout,
            "as_of": None if manifest is None else seconds(manifest.as_of),
            "modified_at": modified_at,
            "expires_at": None if manifest is None or manifest.expires_at is None else seconds(manifest.expires_at),
            "source": None if manifest is None else manifest.source,
            "signer": signer,
            "proof": self.options.proof,
            "source_sha256": digest if manifest is None else manifest.sha256,
        }
        new = self._folder / f".{self.options.name}.new"
        new.unlink(missing_ok=True)
        await self._built(source, new, about, None if manifest is None else manifest.entries)
        try:
            return await asyncio.to_thread(Index.open, new), new
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def looked_at(self, source: Path) -> int:
        """When the file was written: how old the list is, where nothing else says so. Raises `BadList`."""
        try:
            facts = source.stat()
        except OSError as error:
            hint = "The service reads it, as its own user: put it where that may. What was in use stays in use."
            raise BadList(f"the list cannot be read: {error.strerror}", hint=hint) from error
        if facts.st_size > self.options.largest:
            raise BadList(f"the list has {facts.st_size} bytes, and `largest` is {self.options.largest}")
        return int(facts.st_mtime)

    def wants(self, manifest: Manifest | None, now: datetime | None = None) -> None:
        """Raise `BadList` where a list with this manifest would not be put to use, whatever is in it."""
        now = now or datetime.now(UTC)
        if manifest is None:
            if self.options.proof == "signature":
                raise BadList("the list came without a signed manifest")
            return
        if manifest.list != self.options.name:
            raise BadList(f"the manifest is that of another list, and not of {self.options.name}")
        if manifest.as_of > now + _AHEAD:
            raise BadList("the list says that it is from the future: look at this station's clock")
        if manifest.expires_at is not None and manifest.expires_at <= now:
            raise BadList("the list has expired already")
        self._newer(seconds(manifest.as_of))

    def _newer(self, as_of: int | None) -> None:
        before = self.about.get("as_of")
        if before is not None and as_of is not None and as_of <= before:
            raise BadList("the list is not newer than the one in use")

    def _may_replace(self, index: Index, *, confirmed: bool, now: datetime) -> None:
        as_of = index.about.get("as_of")
        if as_of is not None and as_of > seconds(now + _AHEAD):
            raise BadList("the list says that it is from the future: look at this station's clock")
        self._newer(as_of)
        before = 0 if self.index is None else self.index.plates
        if confirmed or not before:
            return
        if index.plates < before * (1 - self.options.may_shrink):
            raise BadList(
                f"the list has {index.plates} plates, and the one in use {before}: a person must confirm that",
                hint="If it is right: evidock hotlist import FILE --confirm. What was in use stays in use until then.",
            )
        if index.plates > before * self.options.may_grow:
            raise BadList(
                f"the list has {index.plates} plates, and the one in use {before}: a person must confirm that",
                hint="If it is right: evidock hotlist import FILE --confirm. What was in use stays in use until then.",
            )

    def _rename(self, new: Path) -> None:
        # A power cut before the folder is forced: the old name still means the old index, which is whole.
        new.replace(self._path)
        with durable.folder(self._folder) as fd:
            durable.force_folder(fd)

    async def _built(self, source: Path, new: Path, about: dict[str, Any], entries: int | None) -> dict[str, Any]:
        """Let a process of its own make the index: neither its memory nor its time is ours."""
        order = {
            "source": str(source),
            "target": str(new),
            "layout": self._layout.model_dump(mode="json"),
            "about": about,
            "entries": entries,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "drivers.alpr.hotlist.building",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # a traceback could quote a line
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            async with asyncio.timeout(_LONGEST):
                out, _ = await process.communicate(json.dumps(order).encode())
        except TimeoutError as error:
            raise BadList("the index was not made within an hour") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        try:
            told: dict[str, Any] = json.loads(out)
        except ValueError as error:
            raise BadList(f"the program that makes the index ended with {process.returncode}") from error
        if "error" in told:
            raise BadList(told["error"])
        return told


def _told(index: Index) -> dict[str, Any]:
    """What the custody log is told of a list: whose it is and how much of it, and no line of it."""
    about = index.about
    as_of, expires_at = about.get("as_of"), about.get("expires_at")
    return {
        "list": about["list"],
        "layout": about["layout"],
        "plates": index.plates,
        "as_of": None if as_of is None else rfc3339(datetime.fromtimestamp(as_of, UTC)),
        "expires_at": None if expires_at is None else rfc3339(datetime.fromtimestamp(expires_at, UTC)),
        "sha256": about["source_sha256"],
        "signer": about["signer"],
        "source": None if about["source"] is None else printable(about["source"]),
        "proof": about["proof"],
        "lines": about["lines"],
        "bad": dict(about["bad"]),
        "skipped": dict(about["skipped"]),
    }
