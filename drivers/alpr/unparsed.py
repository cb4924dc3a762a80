"""A message that cannot be read: its skeleton, which names no value, and while a camera is set up, the whole of it.

Beside it, what is said of a message that could be read and not be taken, however often: its bytes lie set aside.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from agent.capture import Capture
from agent.errors import CannotResume
from firmware_specs import SpecError
from firmware_specs.formats import multipart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.capture import Device, Json

__all__ = ["Unparsed", "skeleton", "untaken"]

_NAMES_MAX: Final = 64
_LOOKED_AT: Final = 64 * 1024
_ELEMENT: Final = re.compile(rb"<([A-Za-z_][A-Za-z_:.-]{0,39})[\s/>]")
_MEMBER: Final = re.compile(rb'"([A-Za-z_][A-Za-z_]{0,39})"\s*:')
_WORD: Final = re.compile(r"[A-Za-z_.-]{1,40}")
"""Names without digits: a name with digits may be a plate."""


def skeleton(body: bytes, content_type: str) -> dict[str, Json]:
    """What a message is made of: parts, types, lengths, names of elements. No value, and no name that could be one."""
    told: dict[str, Json] = {"length": len(body), "type": _plain(content_type.partition(";")[0].strip().lower())}
    boundary = multipart.boundary_of(content_type, body)
    if boundary is None:
        return {**told, "names": _names(body)}
    try:
        found = multipart.parse(body, boundary)
    except SpecError:
        return {**told, "parts": "no multipart that can be read"}
    parts: list[Json] = [
        {
            "length": part.end - part.start,
            "name": _plain(part.name),
            "names": _names(body[part.start : min(part.end, part.start + _LOOKED_AT)]),
            "type": _plain(part.content_type),
        }
        for part in found.parts
    ]
    return {**told, "parts": parts}


def _names(data: bytes) -> list[Json]:
    first = data[:64].lstrip(b"\xef\xbb\xbf \r\n\t")[:1]
    pattern = _ELEMENT if first == b"<" else _MEMBER if first in (b"{", b"[") else None
    if pattern is None:
        return []
    return [*dict.fromkeys(one.decode("ascii") for one in pattern.findall(data[:_LOOKED_AT]))][:_NAMES_MAX]


def _plain(name: str) -> str:
    return name if _WORD.fullmatch(name.replace("/", ".")) else "?" if name else ""


def untaken(device: Device, body: bytes) -> Capture:
    """What is said of a message that is set aside as it came. Nothing of any read."""
    return _whole(device, body, "untaken", "not_taken")


def _whole(device: Device, body: bytes, name: str, flag: str) -> Capture:
    return Capture(
        device=device,
        key=f"{name}/{hashlib.sha256(body).hexdigest()[:16]}",
        began_at=None,
        length=len(body),
        volatile=True,
        claims={"flags": [flag], "format": f"alpr-{name}/1"},
    )


class Unparsed:
    """A whole message, as it came. No screen is asked: an operator said until when such are kept."""

    def __init__(self, device: Device, body: bytes) -> None:
        self._body = body
        self.capture = _whole(device, body, "unparsed", "not_parsed")

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """Its bytes."""
        if offset:
            raise CannotResume("a message is in one piece")
        yield self._body

    async def release(self) -> None:
        """Nothing to do: the camera forgot it when it was answered."""
