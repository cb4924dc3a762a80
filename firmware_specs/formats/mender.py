"""Mender artifacts, version 3: a tar with a manifest of SHA-256 over the other members and over the payload inside.

Known:        the maker's description of the format; artifacts made with `mender-artifact`.
Not verified: signatures (`manifest.sig`), and the `-augment` parts.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.firmware import Image, chunks, printed
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firmware_specs.formats.source import Source

__all__ = ["artifact"]

_BLOCK: Final = 512
_MEMBERS_MAX: Final = 256
_TEXT_MAX: Final = 1 << 20
_HEADER_MAX: Final = 4 << 20
_PAYLOAD_MAX: Final = 4 << 30
"""Bytes of a payload that are unpacked to compare its hash."""
_OUT: Final = 1 << 20


def artifact(source: Source) -> Image:
    """Read an artifact and compare every SHA-256 of its manifest. Raises `Malformed`."""
    members = {name: (start, end) for name, start, end in _members(source)}
    version = _json(b"".join(chunks(source, *_text_member(members, "version"))))
    if version.get("format") != "mender":
        raise Malformed("a tar, and no Mender artifact")
    found = Image("Mender artifact", {"version": version.get("version"), "signed": "manifest.sig" in members})
    manifest = b"".join(chunks(source, *_text_member(members, "manifest"))).decode("utf-8", "replace")
    lines = [line.partition("  ") for line in manifest.splitlines()]
    told = {name: digest for digest, two, name in lines if two}
    for name in ("version", "header.tar.gz"):
        if name in told and name in members:
            found.compare(f"the sha256 of {name}", told[name], _sha256(chunks(source, *members[name])))
    _header(source, members, found)
    for name, place in members.items():
        if re.fullmatch(r"data/\d{4}\.tar\.gz", name):
            _payload(source, name, place, told, found)
    return found


def _members(source: Source) -> Iterator[tuple[str, int, int]]:
    """(name, begin, end) of each member of the outer tar."""
    at = 0
    for _ in range(_MEMBERS_MAX):
        if at + _BLOCK > source.length:
            return
        head = source.read(at, _BLOCK)
        if not any(head):
            return
        name, size = _head(head)
        at += _BLOCK
        if at + size > source.length:
            raise Malformed(f"the member {name} is cut")
        yield name, at, at + size
        at += size + -size % _BLOCK
    raise Malformed(f"more than {_MEMBERS_MAX} members stand in it")


def _head(head: bytes) -> tuple[str, int]:
    """(name, length) by a header of ustar, whose sum is compared."""
    told, size = (head[at : at + length].strip(b" \0") for at, length in ((148, 8), (124, 12)))
    if not re.fullmatch(rb"[0-7]{1,8}", told) or not re.fullmatch(rb"[0-7]{1,12}", size):
        raise Malformed("no header of a tar")
    if int(told, 8) != sum(head[:148]) + 8 * 32 + sum(head[156:]):
        raise Malformed("the sum of a header of the tar is wrong")
    return printed(head[:100]), int(size, 8)


def _text_member(members: dict[str, tuple[int, int]], name: str) -> tuple[int, int]:
    place = members.get(name)
    if place is None or place[1] - place[0] > _TEXT_MAX:
        raise Malformed(f"an artifact has a member {name} of at most {_TEXT_MAX} bytes")
    return place


def _json(raw: bytes) -> dict[str, Any]:
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON where it should be: {error}") from error
    if not isinstance(told, dict):
        raise Malformed("no JSON object where it should be")
    return told


def _sha256(parts: Iterable[bytes]) -> str:
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part)
    return hasher.hexdigest()


def _unpacked(source: Source, place: tuple[int, int], most: int) -> Iterator[bytes]:
    """What a gzip member holds, a part at a time, `most` bytes and no more."""
    unpacker = zlib.decompressobj(wbits=31)
    length = 0
    for part in chunks(source, *place):
        while part:
            try:
                out = unpacker.decompress(part, _OUT)
            except zlib.error as error:
                raise Malformed(f"a member is no gzip: {error}") from error
            length += len(out)
            if length > most:
                raise Malformed(f"a member unpacks to more than {most} bytes")
            if out:
                yield out
            if unpacker.eof or not out:
                break
            part = unpacker.unconsumed_tail  # noqa: PLW2901 - what is left of it
        if unpacker.eof:
            return


def _inner(parts: Iterator[bytes]) -> Iterator[tuple[str, int, Iterator[bytes]]]:
    """(name, length, bytes) of each member of a tar that comes in parts; the bytes must be read before the next."""
    held = bytearray()

    def take(length: int) -> Iterator[bytes]:
        while length:
            if not held:
                part = next(parts, None)
                if part is None:
                    raise Malformed("a tar inside is cut")
                held.extend(part)
            out = bytes(held[:length])
            del held[: len(out)]
            length -= len(out)
            yield out

    for _ in range(_MEMBERS_MAX):
        head = b"".join(take(_BLOCK))
        if not any(head):
            return
        name, size = _head(head)
        yield name, size, take(size)
        for _ in take(-size % _BLOCK):
            pass
    raise Malformed(f"more than {_MEMBERS_MAX} members stand in a tar inside")


def _header(source: Source, members: dict[str, tuple[int, int]], found: Image) -> None:
    place = members.get("header.tar.gz")
    if place is None:
        raise Malformed("an artifact has a member header.tar.gz")
    for name, size, parts in _inner(_unpacked(source, place, _HEADER_MAX)):
        raw = b"".join(parts) if size <= _TEXT_MAX else b"".join(b"" for _ in parts)
        if name == "header-info":
            told = _json(raw)
            provides, depends = told.get("artifact_provides"), told.get("artifact_depends")
            if isinstance(provides, dict):
                found.said["name"] = printed(str(provides.get("artifact_name")).encode())
            if isinstance(depends, dict) and isinstance(devices := depends.get("device_type"), list):
                found.said["devices"] = [printed(str(one).encode()) for one in devices[:16]]
            payloads = told.get("payloads")
            if isinstance(payloads, list):
                types = [one.get("type") for one in payloads[:16] if isinstance(one, dict)]
                found.said["payloads"] = [printed(str(one).encode()) for one in types]


def _payload(source: Source, name: str, place: tuple[int, int], told: dict[str, str], found: Image) -> None:
    folder = name.removesuffix(".tar.gz")
    for inner, _, parts in _inner(_unpacked(source, place, _PAYLOAD_MAX)):
        full = f"{folder}/{inner.removeprefix('./')}"
        digest = _sha256(parts)
        if full in told:
            found.compare(f"the sha256 of {full}", told[full], digest)
        else:
            found.wrong.append(f"{full} is not in the manifest")
