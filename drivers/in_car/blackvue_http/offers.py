"""What a BlackVue recorder holds out: films, and what lies beside them. There is nothing here that deletes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.capture import Capture, Priority
from agent.errors import BadCapture, DeviceError, DeviceGone, DeviceRefused
from firmware_specs.formats import blackvue_http as spec
from firmware_specs.formats.layout import layout
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.capture import Device, Json
    from agent.fetching import Fetcher

__all__ = ["FORGETS", "Beside", "File", "described", "recording"]

FORGETS: Final = "overwrites its oldest recordings by itself"

METADATA_MAX: Final = 8 << 20
"""Bytes of an answer with a thumbnail or the positions of one film, which have some tens of thousands."""

_FOLDER: Final = "BlackVue/Record/"
"""Where files lie on the card: keys are the same by HTTP and by a card reader, and so is the layout."""
_URGENCY: Final = {"routine": Priority.ROUTINE, "flagged": Priority.FLAGGED}


def recording(film: spec.Film) -> str:
    """What a film is a part of: others of the same moment, and what lies beside them, have the same."""
    place = layout("blackvue").place(_FOLDER + film.name)
    return film.name if place is None or place.group is None else place.group


def described(device: Device, film: spec.Film, name: str, length: int | None, members: int) -> Capture:
    """A file of a recorder as its name describes it, by the layout of its cards. `members`: files of its recording."""
    key = _FOLDER + name
    place = layout("blackvue").place(key)
    claims: dict[str, Json] = {"captured_local": film.time, "layout": "blackvue", "zone": "not told"}
    if place is None:
        return Capture(device, key, film.began_at, length, forgets=FORGETS, claims=claims)
    claims["role"] = place.rule.role
    if said := place.said:
        claims["said"] = dict(said)
    return Capture(
        device,
        key,
        film.began_at,
        length,
        media_type=place.media_type,
        group=place.group,
        members=None if place.group is None else members,
        priority=_URGENCY[place.rule.urgency],
        forgets=FORGETS,
        claims=claims,
    )


class File:
    """An `agent.driver.Readable`: a file that is fetched, from any byte on."""

    def __init__(self, capture: Capture, path: str, fetcher: Fetcher, doubt: Callable[[str], None]) -> None:
        """`doubt` is told a path of which something else was known."""
        self.capture, self._path, self._fetcher, self._doubt = capture, path, fetcher, doubt

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on."""
        try:
            async for block in self._fetcher.read(self._path, offset, self.capture.length):
                yield block
        except (BadCapture, DeviceGone, DeviceRefused):
            self._doubt(self._path)
            raise


class Beside:
    """An `agent.driver.Readable`: what newer firmware tells of a film in JSON, decoded to the bytes of the old file."""

    def __init__(
        self, capture: Capture, film: spec.Film, kind: str, fetcher: Fetcher, doubt: Callable[[str], None]
    ) -> None:
        self.capture, self._film, self._kind, self._fetcher, self._doubt = capture, film, kind, fetcher, doubt

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes from `offset` on."""
        try:
            found = await asked(self._fetcher, self._film, self._kind)
            if found is None or len(found) != self.capture.length:
                raise BadCapture(f"the recorder tells something else now of the {self._kind} of {self._film.name}")
        except DeviceError:
            self._doubt(self.capture.key.removeprefix(_FOLDER))
            raise
        if offset < len(found):
            yield found[offset:]


async def asked(fetcher: Fetcher, film: spec.Film, kind: str) -> bytes | None:
    """`/vodMetadata`. None: it has none, or does not tell. Raises `DeviceGone`."""
    try:
        answer = await fetcher.post("/vodMetadata", {"file": film.name, "types": [kind]}, most=METADATA_MAX)
        return spec.metadata(answer, kind)
    except (DeviceRefused, Malformed):
        return None
