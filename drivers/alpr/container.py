"""The capture that is made of a read: a ZIP archive without compression, the same bytes for the same message.

    read.json              the canonical read, what the message was, and each member with its length and SHA-256
    message/001.xml        the device's message, in the order of its bytes, cut where a picture begins and ends:
    message/002-plate.jpg      `unzip -p CAPTURE.zip 'message/*'` gives it back byte for byte,
    message/003.txt            and each picture of a multipart message is a file that any viewer opens
    pictures/001-plate.jpg pictures that stood in the message as Base64 text, decoded
    hit.json, ...          what a screen adds

A multipart body alone would be the truer copy, but nobody can look at it, and what must not be kept (pictures of
occupants, other reads of the same message) could not be left out of it visibly. Here it is left out, and `read.json`
says what and how long it was. Any `unzip` reads it; dates are those of the format's beginning, for a date of ours would
make of the same message another capture.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drivers.alpr.message import Message
    from drivers.alpr.read import Fact, Image, Read

__all__ = ["MEDIA_TYPE", "Container"]

MEDIA_TYPE: Final = "application/zip"
FORMAT: Final = "evidock-alpr/1"
READ: Final = "read.json"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_MODE: Final = 0o100644 << 16
_UNIX: Final = 3
_PER_MEMBER: Final = 30 + 46
_END: Final = 22
_NO_DIGEST: Final = "0" * 64
_MAGIC: Final = ((b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"BM", "bmp"))
_TEXT: Final = ((b"{", "json"), (b"[", "json"), (b"<", "xml"))


_Cut: TypeAlias = tuple[int, int, int | None, str | None]
"""(start, end, number of the part where it is a picture, why it is removed)."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    content: memoryview | bytes


class Container:
    """One capture; its length is known before any digest is computed."""

    def __init__(self, read: Read, message: Message, documents: Mapping[str, Fact] | None = None) -> None:
        self._read, self._message = read, message
        self._documents = [_Member(name, _json(value)) for name, value in (documents or {}).items()]
        self._pieces = list(_pieces(message, read.images))
        self._decoded = list(_decoded(read.images))

    @property
    def length(self) -> int:
        """Bytes of the archive."""
        members = [_Member(READ, self._told(digests=False)), *self._documents, *self._members]
        return _END + sum(_PER_MEMBER + 2 * len(one.name.encode()) + len(one.content) for one in members)

    def build(self) -> bytes:
        """The archive."""
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
            for member in [_Member(READ, self._told(digests=True)), *self._documents, *self._members]:
                about = zipfile.ZipInfo(member.name, _EPOCH)
                about.external_attr, about.create_system = _MODE, _UNIX
                archive.writestr(about, bytes(member.content))
        return made.getvalue()

    @property
    def _members(self) -> list[_Member]:
        return [piece for piece in self._pieces if isinstance(piece, _Member)] + [one for _, one in self._decoded]

    def _told(self, *, digests: bool) -> bytes:
        """`read.json`; without digests it has the same length."""

        def about(member: _Member) -> dict[str, Fact]:
            digest = hashlib.sha256(member.content).hexdigest() if digests else _NO_DIGEST
            return {"member": member.name, "length": len(member.content), "sha256": digest}

        message, whole = self._message, not self._message.removed
        digest = hashlib.sha256(message.body).hexdigest() if digests else _NO_DIGEST
        told: dict[str, Fact] = {
            "format": FORMAT,
            "read": {**self._read.facts, "images": [*self._images(digests=digests)]},
            "message": {
                "way": message.way,
                "topic": message.topic,
                "content_type": message.content_type[:300] or None,
                "length": len(message.body),
                "sha256": digest if whole else None,
                "pieces": [about(one) if isinstance(one, _Member) else one for one in self._pieces],
            },
            "documents": [about(one) for one in self._documents],
        }
        return _json(told)

    def _images(self, *, digests: bool) -> Iterator[Fact]:
        decoded = {id(image): member.name for image, member in self._decoded}
        parts = dict(_names(self._message, self._read.images))
        for image in self._read.images:
            yield {
                "role": image.role,
                "name": image.name,
                "length": len(image.content),
                "sha256": hashlib.sha256(image.content).hexdigest() if digests else _NO_DIGEST,
                "member": decoded.get(id(image)) if image.part is None else parts.get(image.part),
            }


def _names(message: Message, images: tuple[Image, ...]) -> Iterator[tuple[int, str]]:
    """The name of each picture that is a piece of the message, by the number of its part."""
    roles = {image.part: image.role for image in images}
    number = 0
    for piece in _cuts(message):
        if piece[3] is None:
            number += 1
            if piece[2] is not None:
                start, end, part = piece[0], piece[1], piece[2]
                yield part, f"message/{number:03}-{roles.get(part, 'other')}.{_kind(message.body[start:end][:4])}"


def _cuts(message: Message) -> Iterator[_Cut]:
    """The message from its first byte to its last."""
    marks: list[_Cut] = [(one.start, one.end, None, one.what) for one in message.removed]
    marks += [
        (start, end, part, None)
        for part, start, end in message.pictures
        if end > start and not any(one.start < end and start < one.end for one in message.removed)
    ]
    at = 0
    for start, end, part, why in sorted(marks, key=lambda mark: mark[0]):
        if start > at:
            yield at, start, None, None
        yield start, end, part, why
        at = end
    if at < len(message.body) or not message.body:
        yield at, len(message.body), None, None


def _pieces(message: Message, images: tuple[Image, ...]) -> Iterator[_Member | dict[str, Fact]]:
    names, view = dict(_names(message, images)), memoryview(message.body)
    number = 0
    for start, end, part, why in _cuts(message):
        if why is not None:
            yield {"removed": why, "length": end - start}
            continue
        number += 1
        piece = view[start:end]
        text = _text(bytes(piece[:64]))
        yield _Member(f"message/{number:03}.{text}" if part is None else names[part], piece)


def _decoded(images: tuple[Image, ...]) -> Iterator[tuple[Image, _Member]]:
    for number, image in enumerate((one for one in images if one.part is None), 1):
        yield image, _Member(f"pictures/{number:03}-{image.role}.{_kind(image.content[:4])}", image.content)


def _text(beginning: bytes) -> str:
    first = beginning.lstrip(b"\xef\xbb\xbf \r\n\t")
    return next((kind for mark, kind in _TEXT if first.startswith(mark)), "txt")


def _kind(beginning: bytes) -> str:
    return next((kind for mark, kind in _MAGIC if beginning.startswith(mark)), "bin")


def _json(value: Fact) -> bytes:
    return json.dumps(value, ensure_ascii=True, indent=1).encode() + b"\n"
