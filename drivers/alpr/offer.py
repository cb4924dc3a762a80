"""What `take` is given of a read: a capture whose key and claims hold no plate, and the read for who screens it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Final

from agent.capture import KEY_MAX, Capture, printable
from agent.errors import CannotResume
from drivers.alpr.container import MEDIA_TYPE, Container
from drivers.alpr.read import normalise

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agent.capture import Device, Json
    from drivers.alpr.message import Message
    from drivers.alpr.read import Fact, Read

__all__ = ["ReadOffer", "key_of"]

_SHORT_PLATE: Final = 3
"""Characters from which on a plate is looked for inside of longer ids."""
_TOLD_APART: Final = 5
"""Hex digits that tell two plates of the same instant apart, and of which thousands of plates share each."""


def key_of(read: Read) -> str:
    """The capture's key: the read's own, with a plate in it replaced.

    Where a device gives its messages no id, the plate is what tells two reads of an instant apart. A digest of it could
    be found out by trying all plates; 20 bits of one cannot, for thousands of plates have the same.
    """
    plate = "" if read.plate is None else read.plate.normalized
    said = [_without(one, plate) for one in read.key[2:]]  # the first two are maker and device
    suffix = "" if read.phase == "single" else f";{read.phase}"
    return printable("/".join(said))[: KEY_MAX - len(suffix)] + suffix or "read"


def _without(text: str, plate: str) -> str:
    found = normalise(text)
    if plate and (found == plate or (len(plate) >= _SHORT_PLATE and plate in found)):
        return hashlib.sha256(b"alpr\0" + text.encode("utf-8", "surrogatepass")).hexdigest()[:_TOLD_APART]
    return text


class ReadOffer:
    """One read, as its device holds it out. `read` is for the screen; the agent itself knows no plate."""

    def __init__(
        self, device: Device, read: Read, message: Message, documents: Mapping[str, Fact] | None = None
    ) -> None:
        self.device, self.read, self.message = device, read, message
        self._documents = dict(documents or {})

    @property
    def screened_by(self) -> str:
        """See `agent.driver.Screened`."""
        return "alpr"

    def adding(self, name: str, document: Fact) -> ReadOffer:
        """The same read with a document of ours beside it, such as `hit.json`. The name is one of a file."""
        return ReadOffer(self.device, self.read, self.message, {**self._documents, name: document})

    @cached_property
    def container(self) -> Container:
        """What is kept of it."""
        return Container(self.read, self.message, self._documents)

    @cached_property
    def capture(self) -> Capture:
        """See `agent.driver.Offer`. Nothing is hashed for it but the 20 bits of a key that needs them."""
        return Capture(
            device=self.device,
            key=key_of(self.read),
            began_at=self.read.captured_at,
            length=self.container.length,
            media_type=MEDIA_TYPE,
            volatile=True,
            claims=self.claims,
        )

    @property
    def claims(self) -> dict[str, Json]:
        """What may stand in the journal: how it was read, and nothing of what."""
        read = self.read
        return {
            "captured_from": read.captured_from,
            "channel": None if read.channel is None else printable(read.channel)[:64],
            "flags": list(read.flags),
            "format": "alpr-read/1",
            "phase": read.phase,
            "pictures": len(read.images),
            "replayed": read.replayed,
            "vendor": read.vendor,
            "way": self.message.way,
        }

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The archive. It is made here: what nobody opens is never hashed."""
        if offset:
            raise CannotResume("a read is made in one piece")
        yield self.container.build()

    async def release(self) -> None:
        """Nothing to do: the camera forgot it when it was answered."""
