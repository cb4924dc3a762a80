"""Side-cars read once for each state of theirs, and what is wrong with those that cannot be read."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.driver import BLOCK_LENGTH
from agent.errors import BadCapture, DeviceGone, DeviceRefused
from drivers.interview_room.drop_folder.film import Reading
from drivers.interview_room.drop_folder.sidecars import CONTENT_MAX, digests_in, is_digest_file

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from drivers.interview_room.drop_folder.hands import Hands
    from drivers.interview_room.drop_folder.looking import Entry
    from drivers.interview_room.drop_folder.share import Share
    from drivers.interview_room.drop_folder.sidecars import Beside, Named

__all__ = ["SideCars"]


class SideCars:
    """The side-cars of one folder."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._known: dict[Entry, list[Named] | str] = {}

    def forget(self) -> None:
        """It is another folder from now on."""
        self._known.clear()

    async def read(
        self, share: Share, entries: Sequence[Entry], still: Collection[str], beside: Beside
    ) -> tuple[dict[str, list[Named]], dict[str, str]]:
        """(what each settled side-car holds, by its key; why one cannot be read, by the key of its film)."""
        read: dict[str, list[Named]] = {}
        unread: dict[str, str] = {}
        known: dict[Entry, list[Named] | str] = {}
        for entry in entries:
            if entry.key not in still or not _may_hold_digests(entry.key, beside):
                continue
            found = self._known.get(entry)
            if found is None:
                found = await self._one(share, entry)
                if found is None:
                    continue
            known[entry] = found
            film = beside.of(entry.key)
            if not isinstance(found, str):
                read[entry.key] = found
            elif film is not None and is_digest_file(entry.key):  # an XML without a digest is no broken side-car
                unread[film] = f"{entry.key}: {found}"
        self._known = known
        return read, unread

    async def _one(self, share: Share, entry: Entry) -> list[Named] | str | None:
        if entry.length > CONTENT_MAX:
            return f"it has {entry.length} bytes, and at most {CONTENT_MAX} are read"
        reading = Reading(share, entry, 0)
        try:
            content = await self._hands.call(partial(_whole, reading))
            return digests_in(entry.key, content)
        except ValueError as error:
            return str(error)
        except DeviceRefused as error:
            return str(error)
        except BadCapture:
            return None  # it changes at this moment: looked at again
        except DeviceGone:
            await self._hands.call(share.check)  # the share, or this one file alone
            return None


def _may_hold_digests(key: str, beside: Beside) -> bool:
    return is_digest_file(key) or (key.lower().endswith(".xml") and beside.of(key) is not None)


def _whole(reading: Reading) -> bytes:
    content = bytearray()
    try:
        while block := reading.next():
            content += block
            if len(content) > CONTENT_MAX + BLOCK_LENGTH:
                raise ValueError("it is longer than it says")
        return bytes(content)
    finally:
        reading.close()
