"""Firmware images: which one a file says that it is, and whether its own check sums are right. Nothing is flashed.

Known:        USB DFU 1.1 appendix B; U-Boot's legacy image; RAUC 1.8 bundles; images made with their makers' own tools.
Not verified: signatures: a right check sum says that the file is whole, and not who made it. The manifest of a `plain`
              RAUC bundle lies inside its squashfs and is not read.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firmware_specs.formats.source import Malformed, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from firmware_specs.formats.source import Source

__all__ = ["Image", "chunks", "crc32", "dfu", "printed", "rauc", "uimage"]

_CHUNK: Final = 1 << 20
_CMS_MAX: Final = 1 << 20


@dataclass(slots=True)
class Image:
    """What an image says of itself."""

    format: str
    said: dict[str, Any] = field(default_factory=dict)
    """As JSON without fractions."""
    wrong: list[str] = field(default_factory=list)
    """Check sums that are not right, in sentences."""
    checked: int = 0
    """Check sums that were compared."""

    def compare(self, what: str, told: object, found: object) -> None:
        """Note whether a check sum is right."""
        self.checked += 1
        if told != found:
            self.wrong.append(f"{what} is {found}, and the image says {told}")


def chunks(source: Source, start: int, end: int) -> Iterator[bytes]:
    """The bytes between two places, a part at a time."""
    while start < end:
        length = min(_CHUNK, end - start)
        yield source.read(start, length)
        start += length


def crc32(source: Source, start: int, end: int) -> int:
    """The CRC-32 of zlib over the bytes between two places."""
    crc = 0
    for part in chunks(source, start, end):
        crc = zlib.crc32(part, crc)
    return crc


def printed(raw: bytes, most: int = 200) -> str:
    """Text of an image as it can be shown."""
    return "".join(one for one in raw.split(b"\0")[0].decode("utf-8", "replace") if one.isprintable())[:most]


# -- USB DFU -----------------------------------------------------------------------------------------------------------


def dfu(source: Source) -> Image | None:
    """The suffix in the last 16 bytes; None where there is none. Its CRC is over all of the file before it."""
    if source.length < 16:  # noqa: PLR2004
        return None
    device, product, vendor, version, mark, length, crc = unpack("<HHHH3sBI", source.read(source.length - 16, 16))
    if mark != b"UFD":
        return None
    if not 16 <= length <= source.length:  # noqa: PLR2004
        raise Malformed(f"a DFU suffix of {length} bytes cannot be")
    found = Image("USB DFU")
    found.said = {
        "device": f"{device:04x}", "dfu": f"{version:04x}", "payload": source.length - length,
        "product": f"{product:04x}", "vendor": f"{vendor:04x}",
    }  # fmt: skip
    found.compare("its CRC", f"{crc:08x}", f"{crc32(source, 0, source.length - 4) ^ 0xFFFFFFFF:08x}")
    return found


# -- U-Boot legacy image -----------------------------------------------------------------------------------------------

_UIMAGE_HEADER: Final = 64
_OS: Final = {5: "Linux", 17: "U-Boot", 19: "RTEMS", 28: "TEE", 29: "OpenSBI"}
_ARCHITECTURES: Final = {
    2: "ARM",
    3: "x86",
    5: "MIPS",
    6: "MIPS64",
    7: "PowerPC",
    22: "AArch64",
    24: "x86_64",
    26: "RISC-V",
}
_TYPES: Final = {
    1: "standalone",
    2: "kernel",
    3: "ramdisk",
    4: "multi-file",
    5: "firmware",
    6: "script",
    7: "file system",
    8: "flat device tree",
}
_COMPRESSIONS: Final = {0: "none", 1: "gzip", 2: "bzip2", 3: "lzma", 4: "lzo", 5: "lz4", 6: "zstd"}


def uimage(source: Source) -> Image:
    """A legacy image of U-Boot (`mkimage`). Raises `Malformed`."""
    head = source.read(0, min(source.length, _UIMAGE_HEADER))
    _, head_crc, time, size, load, entry, data_crc, system, machine, kind, packed = unpack(">7I4B", head)
    name = printed(unpack("32s", head, 32)[0])
    found = Image("U-Boot uImage")
    found.said = {
        "architecture": _ARCHITECTURES.get(machine, machine), "compression": _COMPRESSIONS.get(packed, packed),
        "data": size, "entry": f"{entry:08x}", "load": f"{load:08x}", "name": name, "os": _OS.get(system, system),
        "time": time, "type": _TYPES.get(kind, kind),
    }  # fmt: skip
    found.compare("the header's CRC", f"{head_crc:08x}", f"{zlib.crc32(head[:4] + bytes(4) + head[8:]):08x}")
    end = _UIMAGE_HEADER + size
    if end > source.length:
        found.wrong.append(f"{end - source.length} bytes of its data are missing")
        return found
    found.compare("the data's CRC", f"{data_crc:08x}", f"{crc32(source, _UIMAGE_HEADER, end):08x}")
    return found


# -- RAUC --------------------------------------------------------------------------------------------------------------

_SQUASHFS_HEADER: Final = 48
_SEQUENCE, _OCTETS, _OID, _CONTEXT_0 = 0x30, 0x04, 0x06, 0xA0
_SIGNED_DATA: Final = bytes.fromhex("2a864886f70d010702")


def rauc(source: Source) -> Image:
    """A bundle: squashfs, CMS, length of the CMS. Its signature is not verified. Raises `Malformed`."""
    (used,) = unpack("<Q", source.read(0, min(source.length, _SQUASHFS_HEADER)), 40)
    if source.length < used + 8:
        raise Malformed(f"a squashfs of {used} bytes, and no bundle of RAUC: nothing is behind it")
    (length,) = unpack(">Q", source.read(source.length - 8, 8))
    if not 0 < length <= min(_CMS_MAX, source.length - 8 - used):
        raise Malformed("a squashfs, and no bundle of RAUC: no signature is behind it")
    content = _signed_content(source.read(source.length - 8 - length, length))
    found = Image("RAUC bundle", {"bundle": "plain" if content is None else "verity", "signature": "not verified"})
    if content is None:
        found.said["manifest"] = "inside the squashfs, not read"
        return found
    section = ""
    for one in printed_lines(content):
        if one.startswith("["):
            section = one.strip("[]")
        elif section == "update" and "=" in one:
            key, _, value = one.partition("=")
            if key.strip() in ("compatible", "version", "build", "description"):
                found.said[key.strip()] = value.strip()
    return found


def printed_lines(raw: bytes) -> list[str]:
    """Lines of a text in an image."""
    return [printed(one) for one in raw[: 1 << 16].split(b"\n")]


def _signed_content(der: bytes) -> bytes | None:
    """What CMS SignedData holds inside (RFC 5652); None where the content is detached."""
    kind, at, end = _element(der, 0, len(der))
    oid, at, oid_end = _element(der, at, end)
    if kind != _SEQUENCE or oid != _OID or der[at:oid_end] != _SIGNED_DATA:
        raise Malformed("what stands behind the squashfs is no CMS SignedData")
    _, at, end = _element(der, oid_end, end)  # [0] explicit
    _, at, end = _element(der, at, end)  # SignedData
    _, _, at = _element(der, at, end)  # version
    _, _, at = _element(der, at, end)  # digest algorithms
    _, at, end = _element(der, at, end)  # encapsulated content: its type, then perhaps the content
    _, _, at = _element(der, at, end)
    if at == end:
        return None
    _, at, end = _element(der, at, end)
    kind, at, end = _element(der, at, end)
    if kind != _OCTETS:
        raise Malformed("the content of the CMS is no octet string")
    return der[at:end]


def _element(der: bytes, at: int, end: int) -> tuple[int, int, int]:
    """(tag, begin, end) of the DER element at a place."""
    if end - at < 2:  # noqa: PLR2004
        raise Malformed("the CMS is cut")
    tag, length = der[at], der[at + 1]
    at += 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count <= 4 or end - at < count:  # noqa: PLR2004
            raise Malformed("a length in the CMS cannot be")
        length = int.from_bytes(der[at : at + count], "big")
        at += count
    if length > end - at:
        raise Malformed("the CMS is cut")
    return tag, at, at + length
