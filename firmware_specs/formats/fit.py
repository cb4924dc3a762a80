"""Flattened device trees, and U-Boot's FIT, which is one that holds images with their hashes.

Known:        Devicetree Specification 0.4 chapter 5; images made with `mkimage` and `dtc`.
Not verified: signatures; images whose data lie behind the tree (`mkimage -E`) on real devices.
"""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.firmware import Image, chunks, printed
from firmware_specs.formats.source import Malformed, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.source import Source

__all__ = ["tree"]

_BEGIN, _END, _PROPERTY, _NOTHING, _LAST = 1, 2, 3, 4, 9
_NAME_MAX: Final = 256
_DEPTH_MAX: Final = 16
_TOKENS_MAX: Final = 20_000
_IMAGES_MAX: Final = 64
_HASHES: Final = ("sha1", "sha256", "sha384", "sha512", "md5")
_HASH_PLACE: Final = 4  # "", images, NAME, hash-N

Nodes = dict[tuple[str, ...], dict[str, tuple[int, int]]]


def tree(source: Source) -> Image:
    """A device tree, or a FIT with the hashes of its images compared. Raises `Malformed`."""
    _, total, struct_at, strings_at, _, version, *_, strings_length, struct_length = unpack(
        ">10I", source.read(0, min(40, source.length))
    )
    if total > source.length or struct_at + struct_length > total or strings_at + strings_length > total:
        raise Malformed(f"a device tree of {total} bytes is cut, or does not hold what its header says")
    nodes = _nodes(source, (struct_at, struct_at + struct_length), (strings_at, strings_at + strings_length))
    root = nodes.get(("",), {})
    if ("", "images") not in nodes:
        words = [name for name in ("compatible", "model", "serial-number") if name in root]
        told: dict[str, Any] = {name: _text(source, root[name]) for name in words}
        return Image("device tree", {**told, "version": version})
    found = Image("U-Boot FIT", {"description": _text(source, root.get("description"))})
    if "timestamp" in root:
        found.said["time"] = _number(source, root["timestamp"])
    configurations = nodes.get(("", "configurations"), {})
    found.said["default"] = _text(source, configurations.get("default"))
    images = [path for path in nodes if len(path) == 3 and path[1] == "images"]  # noqa: PLR2004
    if len(images) > _IMAGES_MAX:
        raise Malformed(f"more than {_IMAGES_MAX} images stand in it")
    found.said["images"] = [_image(source, nodes, path, total, found) for path in images]
    return found


def _nodes(source: Source, struct: tuple[int, int], strings: tuple[int, int]) -> Nodes:
    """Each node's properties as places in the file, by the node's path."""
    found: Nodes = {}
    path: list[str] = []
    for token, place in _tokens(source, *struct):
        if token == _BEGIN:
            if len(path) >= _DEPTH_MAX:
                raise Malformed(f"its nodes lie more than {_DEPTH_MAX} levels deep")
            path.append(_name(source, place, struct[1]))
            found.setdefault(tuple(path), {})
        elif token == _END:
            if not path:
                raise Malformed("a node ends that did not begin")
            path.pop()
        else:
            length, name_at = unpack(">II", source.read(place, 8))
            if not path or place + 8 + length > struct[1]:
                raise Malformed(f"the property at byte {place} reaches beyond its tree")
            name = _name(source, strings[0] + name_at, strings[1])
            found[tuple(path)][name] = (place + 8, place + 8 + length)
    return found


def _tokens(source: Source, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(token, place of what follows it)."""
    for _ in range(_TOKENS_MAX):
        (token,) = unpack(">I", source.read(at, 4))
        at += 4
        if token == _LAST:
            return
        if token == _NOTHING:
            continue
        if token not in (_BEGIN, _END, _PROPERTY):
            raise Malformed(f"{token} at byte {at - 4} is no token of a device tree")
        yield token, at
        if token == _BEGIN:
            at += (len(_name(source, at, end).encode("latin-1")) + 4) & ~3
        elif token == _PROPERTY:
            at += 8 + ((unpack(">I", source.read(at, 4))[0] + 3) & ~3)
        if at > end:
            raise Malformed("a device tree ends before its last token")
    raise Malformed(f"more than {_TOKENS_MAX} tokens stand in it")


def _name(source: Source, at: int, end: int) -> str:
    raw = source.read(at, max(0, min(_NAME_MAX, end - at)))
    name, zero, _ = raw.partition(b"\0")
    if not zero:
        raise Malformed(f"the name at byte {at} does not end")
    return name.decode("latin-1")


def _text(source: Source, place: tuple[int, int] | None) -> str | None:
    if place is None:
        return None
    return printed(source.read(place[0], min(1024, place[1] - place[0])))


def _number(source: Source, place: tuple[int, int]) -> int:
    return int(unpack(">I", source.read(place[0], min(4, place[1] - place[0])))[0])


def _image(source: Source, nodes: Nodes, path: tuple[str, ...], total: int, found: Image) -> dict[str, Any]:
    about = nodes[path]
    words = ("description", "type", "arch", "os", "compression", "version")
    said: dict[str, Any] = {name: _text(source, about[name]) for name in words if name in about}
    said["name"] = printed(path[2].encode("latin-1"))
    data = about.get("data")
    if data is None and "data-size" in about:
        size = _number(source, about["data-size"])
        if "data-position" in about:
            start = _number(source, about["data-position"])
        elif "data-offset" in about:
            start = (total + 3 & ~3) + _number(source, about["data-offset"])
        else:
            return said
        data = (start, start + size)
    if data is None:
        return said
    said["length"] = data[1] - data[0]
    if data[1] > source.length:
        found.wrong.append(f"{data[1] - source.length} bytes of the image {said['name']} are missing")
        return said
    for place in nodes:
        if len(place) == _HASH_PLACE and place[:3] == path and place[3].startswith("hash"):
            _compare(source, nodes[place], data, said["name"], found)
    return said


def _compare(source: Source, about: dict[str, tuple[int, int]], data: tuple[int, int], name: str, found: Image) -> None:
    algorithm, value = _text(source, about.get("algo")), about.get("value")
    if value is None or value[1] - value[0] > 64:  # noqa: PLR2004 - SHA-512
        return
    told = source.read(value[0], value[1] - value[0]).hex()
    if algorithm == "crc32":
        crc = 0
        for part in chunks(source, *data):
            crc = zlib.crc32(part, crc)
        found.compare(f"the crc32 of {name}", told, f"{crc:08x}")
    elif algorithm in _HASHES:
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        for part in chunks(source, *data):
            hasher.update(part)
        found.compare(f"the {algorithm} of {name}", told, hasher.hexdigest())
