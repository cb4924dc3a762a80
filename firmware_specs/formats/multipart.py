"""Multipart bodies as cameras send them (RFC 2046, RFC 7578): whole in memory, read by span, tolerant and bounded.

Known:        cameras leave out `Content-Length` or state a wrong one, leave out types, double delimiter lines, leave
              out the closing one, end lines with LF alone, and put the delimiter's own bytes into a JPEG.
Rules:        a part's `Content-Length` counts where a delimiter or the end follows; else, in a JPEG, the delimiter is
              looked for behind the picture's own end (ITU-T T.81 annex B); else it is the first delimiter line.
Not verified: nested multipart, which no camera of these families sends; it stays one part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BODY_MAX", "PARTS_MAX", "Multipart", "Part", "boundary_of", "parse"]

BODY_MAX: Final = 64 << 20
PARTS_MAX: Final = 64
HEAD_MAX: Final = 64 * 1024
BOUNDARY_MAX: Final = 200
"""RFC 2046 says 70; cameras were seen with more."""

_HEADER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:")
_PARAMETER: Final = re.compile(r';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;]*))')
_JPEG: Final = b"\xff\xd8"
_NO_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers that stand alone."""
_SCAN: Final = 0xDA


@dataclass(frozen=True, slots=True)
class Part:
    """One part; `start` and `end` are where its content lies in the body."""

    name: str
    filename: str
    content_type: str
    headers: Mapping[str, str]
    """By name in lower case."""
    begins: int
    """Where the delimiter line of this part begins in the body."""
    start: int
    end: int

    def content(self, body: bytes) -> bytes:
        """Its bytes."""
        return body[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Multipart:
    """All parts of a body, in its order."""

    parts: tuple[Part, ...]
    closed: bool
    """The closing delimiter was there."""


def boundary_of(content_type: str, body: bytes) -> bytes | None:
    """The boundary that the header names; None where the body has none such and is no multipart by its first line."""
    named = _parameter(content_type, "boundary").encode("latin-1", "replace")
    if named and b"--" + named in body:
        return named
    line = body.lstrip(b"\r\n")[: BOUNDARY_MAX + 4].split(b"\n", 1)[0].rstrip()
    return line[2:] if line.startswith(b"--") and 0 < len(line) - 2 <= BOUNDARY_MAX else None


def parse(body: bytes, boundary: bytes) -> Multipart:
    """Every part. Raises `SpecError` where no delimiter is found, or a limit is passed."""
    if len(body) > BODY_MAX or not 0 < len(boundary) <= BOUNDARY_MAX:
        raise SpecError("a multipart body is too large, or its boundary is")
    delimiter = re.compile(rb"--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r\n|\n|\Z)")
    found = delimiter.search(body)
    if found is None:
        raise SpecError("a multipart body has no delimiter line")
    parts: list[Part] = []
    while not found[1] and found.end() < len(body):
        again = delimiter.match(body, found.end())
        if again is not None:  # a doubled delimiter line
            found = again
            continue
        headers, start = _head(body, found.end())
        end, after = _end(body, start, headers, delimiter)
        parts.append(_part(headers, found.start(), start, end))
        if len(parts) > PARTS_MAX:
            raise SpecError(f"a multipart body has more than {PARTS_MAX} parts")
        if after is None:
            return Multipart(tuple(parts), closed=False)
        found = after
    return Multipart(tuple(parts), closed=bool(found[1]))


def _head(body: bytes, at: int) -> tuple[dict[str, str], int]:
    """(headers, where the content begins)."""
    headers: dict[str, str] = {}
    first = at
    while True:
        end = body.find(b"\n", at, first + HEAD_MAX)
        line = body[at : len(body) if end < 0 else end].rstrip(b"\r")
        if not line and end >= 0:
            return headers, end + 1
        if not _HEADER.match(line):  # a part without headers, or without the empty line after them
            return headers, at
        if end < 0:
            raise SpecError("the head of a part does not end")
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").strip().lower()] = value.decode("utf-8", "replace").strip()
        at = end + 1


def _end(
    body: bytes, start: int, headers: Mapping[str, str], delimiter: re.Pattern[bytes]
) -> tuple[int, re.Match[bytes] | None]:
    """(where the content ends, the delimiter line after it; None where the body ends without one)."""
    stated = headers.get("content-length", "")
    if stated.isascii() and stated.isdigit() and len(stated) <= 10:  # noqa: PLR2004 - more cannot be true
        end = start + int(stated)
        if end == len(body):
            return end, None
        if end < len(body):
            after = end
            while body[after : after + 1] in (b"\r", b"\n") and after - end < 4:  # noqa: PLR2004 - empty lines
                after += 1
            found = delimiter.match(body, after)
            if found is not None or after == len(body):
                return end, found
    at = _picture_end(body, start) if body.startswith(_JPEG, start) else start
    while (found := delimiter.search(body, at)) is not None:
        if found.start() == start:
            return start, found
        if body[found.start() - 1 : found.start()] == b"\n":
            end = found.start() - 1
            return (end - 1 if end > start and body[end - 1 : end] == b"\r" else end), found
        at = found.start() + 2
    # Without a closing line: a picture ends where it says, if but empty lines follow.
    return (at if at > start and not body[at:].strip(b"\r\n") else len(body)), None


def _picture_end(body: bytes, start: int) -> int:
    """Where a JPEG ends by its own markers; its beginning where it cannot be followed."""
    at, length = start + 2, len(body)
    while at + 4 <= length and body[at] == 0xFF:  # noqa: PLR2004
        marker = body[at + 1]
        if marker == 0xFF:  # noqa: PLR2004 - fill
            at += 1
        elif marker in _NO_LENGTH:
            at += 2
        elif marker == 0xD9:  # noqa: PLR2004 - end of image
            return at + 2
        else:
            at += 2 + int.from_bytes(body[at + 2 : at + 4])
            if marker == _SCAN:
                at = _scan_end(body, at)
    return at + 2 if body[at : at + 2] == b"\xff\xd9" else start


def _scan_end(body: bytes, at: int) -> int:
    """The next marker after entropy-coded data."""
    while (found := body.find(b"\xff", at)) >= 0 and found + 1 < len(body):
        if body[found + 1] not in (0x00, *range(0xD0, 0xD8)):
            return found
        at = found + 2
    return len(body)


def _part(headers: dict[str, str], begins: int, start: int, end: int) -> Part:
    disposition = headers.get("content-disposition", "")
    return Part(
        name=_parameter(disposition, "name"),
        filename=_parameter(disposition, "filename"),
        content_type=headers.get("content-type", "").split(";")[0].strip().lower(),
        headers=headers,
        begins=begins,
        start=start,
        end=end,
    )


def _parameter(header: str, name: str) -> str:
    """A parameter of a structured header, quoted or not; empty where it is not there."""
    for found in _PARAMETER.finditer(header):
        if found[1].lower() == name:
            return found[3].strip() if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
    return ""
