"""Firmware in each container that is read, as its tool writes it: small images, made anew."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zlib
from hashlib import sha256

PAYLOAD = bytes(range(64))


def dfu_image() -> bytes:
    whole = PAYLOAD + struct.pack("<HHHH3sB", 0x0123, 0x0001, 0x1209, 0x0100, b"UFD", 16)
    return whole + struct.pack("<I", zlib.crc32(whole) ^ 0xFFFFFFFF)


def uboot_image() -> bytes:
    rest = struct.pack(">6I4B32s", 0, 0, 0, 0, 0, 0, 5, 2, 5, 0, b"BWC fw 1.2.3")
    rest = struct.pack(">5I", 1_763_800_000, len(PAYLOAD), 0x80008000, 0x80008000, zlib.crc32(PAYLOAD)) + rest[24:]
    crc = zlib.crc32(b"\x27\x05\x19\x56" + bytes(4) + rest)
    return b"\x27\x05\x19\x56" + struct.pack(">I", crc) + rest + PAYLOAD


def fit_image() -> bytes:
    """A flattened tree of one image with its hash."""
    names: dict[str, int] = {}
    strings = b""

    def prop(name: str, value: bytes) -> bytes:
        nonlocal strings
        if name not in names:
            names[name] = len(strings)
            strings += name.encode() + b"\0"
        return struct.pack(">III", 3, len(value), names[name]) + value + bytes(-len(value) % 4)

    def node(name: str, *inside: bytes) -> bytes:
        raw = name.encode() + b"\0"
        return struct.pack(">I", 1) + raw + bytes(-len(raw) % 4) + b"".join(inside) + struct.pack(">I", 2)

    hashed = node("hash-1", prop("algo", b"sha256\0"), prop("value", sha256(PAYLOAD).digest()))
    image = node("firmware-1", prop("description", b"fw 1.2.3\0"), prop("data", PAYLOAD), hashed)
    chosen = node("configurations", prop("default", b"conf-1\0"))
    tree = node("", prop("description", b"BWC FIT\0"), prop("timestamp", bytes(4)), node("images", image), chosen)
    tree += struct.pack(">I", 9)
    total = 56 + len(tree) + len(strings)
    head = struct.pack(">10I", 0xD00DFEED, total, 56, 56 + len(tree), 40, 17, 16, 0, len(strings), len(tree))
    return head + bytes(16) + tree + strings


def rauc_bundle() -> bytes:
    """A verity bundle: the manifest is what the CMS holds."""

    def der(tag: int, *inside: bytes) -> bytes:
        raw = b"".join(inside)
        length = bytes([len(raw)]) if len(raw) < 0x80 else b"\x82" + struct.pack(">H", len(raw))
        return bytes([tag]) + length + raw

    manifest = b"[update]\ncompatible=BWC-1\nversion=1.2.3\n"
    data, signed = bytes.fromhex("2a864886f70d010701"), bytes.fromhex("2a864886f70d010702")
    content = der(0x30, der(0x06, data), der(0xA0, der(0x04, manifest)))
    cms = der(0x30, der(0x06, signed), der(0xA0, der(0x30, der(0x02, b"\3"), der(0x31), content)))
    squashfs = b"hsqs" + bytes(36) + struct.pack("<Q", 64) + bytes(16)
    return squashfs + cms + struct.pack(">Q", len(cms))


def mender_artifact() -> bytes:
    def tar(members: dict[str, bytes]) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, data in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
        length = sum(512 + len(data) + -len(data) % 512 for data in members.values())
        return made.getvalue()[: length + 1024]  # without the padding to a record of tape

    told = {"payloads": [{"type": "single-file"}], "artifact_provides": {"artifact_name": "fw-1.2.3"}}
    told["artifact_depends"] = {"device_type": ["bwc-1"]}
    header = gzip.compress(tar({"header-info": json.dumps(told).encode()}), mtime=0)
    version = b'{"format":"mender","version":3}'
    named = {"version": version, "header.tar.gz": header, "data/0000/payload.bin": PAYLOAD}
    manifest = "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in named.items()).encode()
    payload = gzip.compress(tar({"payload.bin": PAYLOAD}), mtime=0)
    return tar({"version": version, "manifest": manifest, "header.tar.gz": header, "data/0000.tar.gz": payload})
