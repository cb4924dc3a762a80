"""Whether what a device shows, now that it was plugged in, is what was taken under these names before.

Name, time and length of a capture are the device's word. Two cameras can have one serial number, count their clips
alike and begin at the same hour. So each time that a volume is plugged in, a piece of each capture that is known is
compared with what lies in the spool, once. Where it is something else, all that is on this volume is read. Where it is
the same but for a few bits, one of the two sides decays. What lies in the spool is read then: if it decayed it is set
aside, and taken again. Else the device did: nothing is taken of it, a notice says so, and where devices forget, the
reading before that finds it once more.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import PART_LENGTH, printable
from agent.damage import looked_at
from agent.driver import BLOCK_LENGTH, GATHERED_LENGTH
from agent.errors import DeviceError, DeviceGone, SpoolDamaged, SpoolError
from agent.ingest.copying import closing
from agent.journal.versions import versions
from agent.places import Places
from agent.repairs import repair

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from agent.capture import Device
    from agent.driver import Readable
    from agent.journal import Desk
    from agent.journal.versions import Version
    from agent.spool import Spool

__all__ = ["Comparing"]

_PLUGS: Final = 256
"""Volumes of which it is remembered what was compared: of each the last time that it was plugged in."""
_OF_ONE: Final = 4096
"""Captures of one volume that are compared: of a twin each of them differs."""
_EVICTED: Final = 4
"""The same of those whose bytes have left the spool: for them up to a part is read and hashed."""
_AT_ONCE: Final = (4, 2)
"""Comparisons at once, of all volumes and of one: each has a few MiB of both sides in memory."""
_ALIGNED: Final = 4096
_DECAY_MOST: Final = 1 / 16
"""Of the bits: of two films half of them differ, and of one whose card decays a few pages."""
_TODO: Final = (
    "All that is on it is read now and held beside the other. Are there two cameras with this serial number? Have one "
    "of them given another. Is there only one? Have its card and its reader looked at."
)
_DECAYED: Final = (
    "What was taken before lies in the spool, or was sent, and is whole. Keep this device, and have its card and its "
    "reader looked at: the same film reads differently now."
)


@dataclass(slots=True)
class _Plug:
    """One volume, from when it was plugged in."""

    plugged: str
    device: Device
    compared: set[bytes] = field(default_factory=set)
    evicted: int = 0
    differs: bool = False
    """Something else lies under a name."""
    decays: bool = False
    """The same does, but for a few bits."""


class Comparing:
    """One for the whole station."""

    def __init__(self, desk: Desk, spool: Spool) -> None:
        self._desk, self._spool = desk, spool
        self._plugs: OrderedDict[tuple[str, str | None], _Plug] = OrderedDict()
        self._places = Places(*_AT_ONCE)
        self._log = structlog.get_logger("ingest")

    def differs(self, offer: Readable) -> str | None:
        """Since when it is plugged in, where something on this volume is other than what was taken under its name."""
        plugged = _plugged(offer)
        return plugged if plugged and self._plug(offer.capture.device, plugged).differs else None

    async def same(self, offer: Readable, token: bytes) -> bool:
        """Whether it is what was taken, as far as a look at a piece of it tells. True: it was compared before."""
        capture, plugged = offer.capture, _plugged(offer)
        if not plugged or not capture.length:
            return True
        plug = self._plug(capture.device, plugged)
        if token in plug.compared or len(plug.compared) >= _OF_ONE:
            return True
        async with self._places.of(capture.device.id):
            try:
                found = await self._compared(offer, token, plug)
                if found is None:
                    return False  # it is taken again, and compared with that the next time
            except DeviceGone:
                return True  # it is compared when it is back
            except (DeviceError, SpoolError) as error:
                self._log.info("not_compared", device=capture.device.id, key=printable(capture.key), error=str(error))
                found = True
        plug.compared.add(token)
        if not found:
            self._tell(plug, capture.key, _TODO)
            plug.differs = True
        return found

    async def _compared(self, offer: Readable, token: bytes, plug: _Plug) -> bool | None:
        """None: what lay in the spool was damaged, and does so no more."""
        length = offer.capture.length or 0
        known = await self._desk.read(lambda journal: versions(journal, token, length))
        spooled = [one for one in known if one.spooled]
        other = await self._other(offer, spooled)
        if len(other) < len(spooled) or not known:
            return True
        for one in other:
            holding = await self._desk.read(lambda journal, name=one.capture: journal.get(name))  # type: ignore[misc]
            if await looked_at(self._desk, self._spool, holding):
                error = f"{one.sha256.hex()} lies in the spool no longer as it was taken"
                self._log.error("spool_damaged", capture=one.capture, error=error, todo="nothing: it is taken again")
                return None
        if any(share < _DECAY_MOST for share in other.values()):
            self._tell(plug, offer.capture.key, _DECAYED)
            plug.decays = True
            return True
        evicted = [one for one in known if not one.spooled]
        if not evicted:
            return False
        if plug.evicted >= _EVICTED and len(evicted) == len(known):
            return True
        plug.evicted += 1
        begins = hashlib.sha256(await _piece(offer, 0, min(length, PART_LENGTH))).digest()
        return any(one.begins in (None, begins) for one in evicted)

    async def _other(self, offer: Readable, spooled: Sequence[Version]) -> dict[Version, float]:
        """Those that are not what the device gives, each with the share of the bits in which they differ."""
        pieces = _pieces(offer.capture.length or 0) if spooled else []
        differing = dict.fromkeys(spooled, 0)
        for offset, count in pieces:
            piece = await _piece(offer, offset, count)
            for one in spooled:
                kept = await self._kept(one, offset, count)
                differing[one] += 0 if kept == piece else await asyncio.to_thread(_differing, piece, kept)
        bits = 8 * sum(count for _, count in pieces)
        return {one: some / bits for one, some in differing.items() if some}

    async def _kept(self, one: Version, offset: int, count: int) -> bytes:
        try:
            return b"".join([block async for block in self._spool.blocks(one.sha256, offset, count)])
        except SpoolDamaged:
            return b""  # it is missing, or too short

    def _plug(self, device: Device, plugged: str) -> _Plug:
        there = (device.id, device.place)
        plug = self._plugs.get(there)
        if plug is None or plug.plugged != plugged:
            plug = self._plugs[there] = _Plug(plugged, device)
        self._plugs.move_to_end(there)
        while len(self._plugs) > _PLUGS:
            self._plugs.popitem(last=False)
        return plug

    def _tell(self, plug: _Plug, key: str, todo: str) -> None:
        """Once for each time that it is plugged in."""
        if not (plug.differs or plug.decays):
            place = printable(plug.device.place or "")
            self._log.warning("device_differs", device=plug.device.id, place=place, key=printable(key), todo=todo)

    def notices(self, here: Container[str]) -> Iterator[dict[str, str | None]]:
        """Repair notices, of devices that are here."""
        newest = {device: (place, plug) for (device, place), plug in self._plugs.items()}
        for device, (place, plug) in newest.items():
            if (plug.differs or plug.decays) and device in here:
                where = place or "no place told"
                detail = f"{device} ({where}) has other bytes under names that were taken from it before"
                todo = _TODO if plug.differs else _DECAYED
                yield repair("device.differs", "problem", f"device {device}", detail, todo)


def _plugged(offer: Readable) -> str:
    """See `agent.driver.Plugged`; asked of each capture at each look, and `isinstance` of a protocol is slow."""
    return getattr(offer, "plugged", "")


def _pieces(length: int) -> list[tuple[int, int]]:
    """(offset, length) of what is compared: all of a short one; of a long one its beginning and its middle.

    Beginnings can be alike for long: room for an index, or a picture of the maker.
    """
    if length <= GATHERED_LENGTH:
        return [(0, length)]
    return [(0, BLOCK_LENGTH), (length // 2 // _ALIGNED * _ALIGNED, BLOCK_LENGTH)]


def _differing(one: bytes, other: bytes) -> int:
    """In how many bits they differ; what only one of them has counts."""
    both = min(len(one), len(other))
    changed = int.from_bytes(one[:both], "big") ^ int.from_bytes(other[:both], "big")
    return changed.bit_count() + 8 * (len(one) + len(other) - 2 * both)


async def _piece(offer: Readable, offset: int, length: int) -> bytes:
    found = bytearray()
    async with closing(offer.open(offset)) as source:
        async for block in source:
            found += block
            if len(found) >= length:
                break
    return bytes(found[:length])
