"""A device on the bench: it holds clips, offers them as often as it is asked, and fails where a short string says so.

A wire is one letter for each block that is read, over all readings of a clip; where it ends, everything goes well:

    r   the block comes whole                     E   the device reports an I/O error (`DeviceRefused`)
    s   half of it comes, the rest with the next  G   the device goes away (`DeviceGone`) until it is plugged in again
    D   it comes late                             S   the reading ends here, too short, and nobody says so
    F   one bit of it is flipped                  X   the device itself notices a contradiction (`BadCapture`)

So `"rrrE"` is: three blocks, then an I/O error, and from then on all is well.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from agent.capture import NO_CLAIMS, Capture, Device, Json, Priority
from agent.driver import BLOCK_LENGTH, DriverOptions, Intake, offer_all
from agent.errors import BadCapture, CannotResume, DeviceError, DeviceGone, DeviceRefused
from agent.testing.audit import Exhibit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from pathlib import Path

__all__ = ["LETTERS", "BenchDevice", "BenchDriver", "BenchOffer", "Clip", "Content", "some_bytes"]

Content: TypeAlias = "bytes | Path"
"""What a clip is made of; a file is read block by block, so that it may be larger than memory, or sparse."""

LETTERS: Final = frozenset("rsDFEGSX")
BEGAN_AT: Final = datetime(2026, 11, 22, 7, 2, 17, 123000, tzinfo=UTC)
LATE: Final = 0.02
"""Seconds by which a `D` comes late."""


def some_bytes(length: int, seed: int | str = 0) -> bytes:
    """Bytes that look like any, the same for the same seed."""
    return hashlib.shake_128(f"{seed}".encode()).digest(length)


@dataclass(slots=True)
class Clip:
    """One capture that a bench device holds."""

    key: str
    content: Content
    began_at: datetime | None = BEGAN_AT
    says: int | None = None
    """The length that the device states; None where it does not know."""
    wire: str = ""
    claims: Mapping[str, Json] = field(default_factory=lambda: NO_CLAIMS)
    media_type: str = "video/mp4"
    group: str | None = None
    members: int | None = None
    """How many clips of its recording the device states; -1: as many as it lists."""
    priority: Priority = Priority.ROUTINE
    given: int = 0
    """Bytes that were given over the wire, those that were given twice counted twice."""
    opened_at: list[int] = field(default_factory=list)
    """The offset of each reading."""

    @property
    def length(self) -> int:
        """Bytes that there are, whatever the device says."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def exhibit(self) -> tuple[str, bytes]:
        """(key, SHA-256) of what is really there."""
        if isinstance(self.content, bytes):
            return self.key, hashlib.sha256(self.content).digest()
        with self.content.open("rb") as file:
            return self.key, hashlib.file_digest(file, "sha256").digest()

    def block(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset` on."""
        if isinstance(self.content, bytes):
            return self.content[offset : offset + length]
        with self.content.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def next_letter(self) -> str:
        """What the wire does to the next block."""
        letter, self.wire = self.wire[:1] or "r", self.wire[1:]
        return letter


class BenchDevice:
    """One device; `offers()` is what a driver would hold out of it now."""

    def __init__(
        self,
        name: str = "bench:cam-1",
        *,
        driver: str = "bench",
        volatile: bool = False,
        resumable: bool = True,
        block: int = BLOCK_LENGTH,
    ) -> None:
        self.device = Device(id=name, family="body_worn", driver=driver, maker="Bench", serial=name)
        self.clips: dict[str, Clip] = {}
        self.released: list[str] = []
        """Keys, in the order in which they were forgotten."""
        self.present = True
        self.release_fails: list[DeviceError] = []
        """Raised by the next releases, one each."""
        self.block = block
        self._volatile, self._resumable = volatile, resumable
        self._ever: list[Exhibit] = []

    def record(  # noqa: PLR0913 - what a device may say of a clip
        self,
        key: str,
        content: Content,
        *,
        wire: str = "",
        says: int | None = -1,
        began_at: datetime | None = BEGAN_AT,
        claims: Mapping[str, Json] = NO_CLAIMS,
        priority: Priority = Priority.ROUTINE,
        group: str | None = None,
        members: int | None = -1,
    ) -> Clip:
        """Put a clip on the device, in the place of one with the same key. `says=None`: the device knows no length.

        `members`: how many clips the recording `group` has; else the device counts those that it lists.
        """
        if unknown := set(wire) - LETTERS:
            raise ValueError(f"{''.join(sorted(unknown))} is nothing that a wire does")
        clip = Clip(key, content, began_at, None, wire, claims=claims, priority=priority, group=group, members=members)
        clip.says = clip.length if says == -1 else says
        if (before := self.clips.get(key)) is not None:  # it overwrote its own recording, as cameras do
            self._ever.remove(Exhibit(self.device.id, *before.exhibit))
        self.clips[key] = clip
        self._ever.append(Exhibit(self.device.id, *clip.exhibit))
        return clip

    def unplug(self) -> None:
        """Pull it out: every reading fails, and nothing is offered."""
        self.present = False

    def plug_in(self) -> None:
        """Put it back."""
        self.present = True

    def offers(self) -> list[BenchOffer]:
        """Everything it holds, if it is plugged in."""
        return [BenchOffer(self, clip) for clip in self.clips.values()] if self.present else []

    def offer(self, key: str) -> BenchOffer:
        """One of them."""
        return BenchOffer(self, self.clips[key])

    def capture(self, clip: Clip) -> Capture:
        """What the device says of a clip."""
        return Capture(
            device=self.device,
            key=clip.key,
            began_at=clip.began_at,
            length=clip.says,
            media_type=clip.media_type,
            group=clip.group,
            members=self._members(clip),
            priority=clip.priority,
            volatile=self._volatile,
            claims=clip.claims,
        )

    def _members(self, clip: Clip) -> int | None:
        if clip.group is None or clip.members != -1:
            return clip.members if clip.group is not None else None
        return sum(one.group == clip.group for one in self.clips.values())

    @property
    def given(self) -> int:
        """Bytes that were given of all clips that are there."""
        return sum(clip.given for clip in self.clips.values())

    def ever(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`."""
        return self._ever

    def still(self) -> Iterable[Exhibit]:
        """See `agent.testing.audit.Witness`. What a volatile device forgets is no business of a release."""
        if self._volatile:
            return self._ever
        return [Exhibit(self.device.id, *clip.exhibit) for clip in self.clips.values()]

    async def read(self, clip: Clip, offset: int) -> AsyncIterator[bytes]:
        """Give a clip over its wire."""
        if offset and not self._resumable:
            raise CannotResume(f"{clip.key} can only be read from its beginning")
        clip.opened_at.append(offset)
        while True:
            if not self.present:
                raise DeviceGone(f"{self.device.id} is not plugged in")
            if not (block := clip.block(offset, self.block)) and not clip.wire:
                return
            match letter := clip.next_letter():
                case "E":
                    raise DeviceRefused(f"{clip.key}: input/output error at byte {offset}")
                case "X":
                    raise BadCapture(f"{clip.key}: the device's index contradicts it")
                case "G":
                    self.unplug()
                    raise DeviceGone(f"{self.device.id} went away at byte {offset} of {clip.key}")
                case "S":
                    return
            if not block:
                return
            block = _over_the_wire(letter, block)
            offset += len(block)
            clip.given += len(block)
            # A device lets others work while it is read, at the least this long.
            await asyncio.sleep(LATE if letter == "D" else 0)
            yield block

    async def forget(self, clip: Clip) -> None:
        """What `Offer.release` does here."""
        if not self.present:
            raise DeviceGone(f"{self.device.id} is not plugged in")
        if self.release_fails:
            raise self.release_fails.pop(0)
        if self.clips.get(clip.key) is clip:
            del self.clips[clip.key]
            self.released.append(clip.key)


@dataclass(frozen=True, slots=True)
class BenchOffer:
    """See `agent.driver.Offer`."""

    bench: BenchDevice
    clip: Clip

    @property
    def capture(self) -> Capture:
        """What the device says of it."""
        return self.bench.capture(self.clip)

    def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on, over the wire."""
        return self.bench.read(self.clip, offset)

    async def release(self) -> None:
        """Forget it."""
        await self.bench.forget(self.clip)


class BenchDriver:
    """See `agent.driver.Driver`: offers what bench devices hold."""

    class Options(DriverOptions):
        """No more than every driver has."""

    def __init__(self, options: Options | None = None, *devices: BenchDevice) -> None:
        self.options = options or self.Options(use="bench", name="bench", rescan=0.05)
        self.devices = devices

    async def run(self, intake: Intake, /) -> None:
        """Offer everything, again and again."""
        while True:
            for device in self.devices:
                if device.present:
                    await intake.sight(device.device)
                    await offer_all(intake, device.offers())
            await asyncio.sleep(self.options.rescan)


def _over_the_wire(letter: str, block: bytes) -> bytes:
    if letter == "s":
        return block[: max(1, len(block) // 2)]
    if letter == "F":
        return bytes([block[0] ^ 0x01]) + block[1:]
    return block
