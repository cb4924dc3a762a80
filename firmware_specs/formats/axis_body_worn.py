"""Axis body worn content destination: what a system controller sends over HTTP, and the file that tells it where to.

Known:        the vendor's description of the interface (version 1.6.13), its example server's answers (1.6.10) and the
              connection files that server writes. It is a small part of OpenStack Swift 1.0: container = recording,
              object = clip, metadata in headers, percent-encoded UTF-8.
Not verified: on a real controller. Unknown are the unit of the epoch fields (read by their size), the separators in
              `TriggerOnLocation` (kept as it is), which optional headers come, and the whole of a `.key` object.
"""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "CAPABILITIES",
    "COMPLETE",
    "CONNECTION_MAX",
    "CONTAINER",
    "FIXED",
    "OBJECT",
    "REJECTED",
    "TRAIL_MAX",
    "Kind",
    "Point",
    "categories",
    "connection_file",
    "kind_of",
    "metadata",
    "metadata_headers",
    "moment",
    "trail",
    "train",
]

CONTAINER: Final = "X-Container-Meta-"
OBJECT: Final = "X-Object-Meta-"

FIXED: Final = frozenset({"System", "Users", "Devices"})
"""Containers that are no recordings."""
REJECTED: Final = "RejectedContent_"
"""How the name of a container begins that holds what another destination, or we, did not take."""
COMPLETE: Final = "complete"
"""The `Status` of a recording that has all of its objects, in lower case."""

CONNECTION_MAX: Final = 64 * 1024
_ADDRESSES_MAX: Final = 10
TRAIL_MAX: Final = 4 << 20

CAPABILITIES: Final = json.dumps(
    {
        "Read": {"ReadCategories": True},
        "Store": {
            "StoreBookmarks": True,
            "StoreRejectedContent": True,
            "StoreUserIDKey": True,
            "StoreSignedVideo": True,
            "StoreGNSSTrackRecording": True,
        },
        "StoreAndRead": {"StoreReadSystemID": True},
    },
    indent=2,
).encode()
"""`System/Capabilities.json`: what is declared once must stay for ever, so it is everything from the beginning."""


def categories(named: Mapping[str, str]) -> bytes:
    """`System/Categories.json`, from names by id."""
    listed = [{"Name": name, "Id": identity} for identity, name in named.items()]
    return json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode()


# -- metadata in headers -----------------------------------------------------------------------------------------------


def train(name: str) -> str:
    """A header's name as everybody writes it in the end: `BWCSerialNumber` becomes `Bwcserialnumber`."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


def metadata(headers: Iterable[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """(what stands with the container's prefix, what with the object's), decoded; an empty value is kept as such.

    A value with a bad escape, or one that is no UTF-8, stays as it came.
    """
    found: tuple[dict[str, str], dict[str, str]] = ({}, {})
    for name, value in headers:
        for prefix, meta in zip((CONTAINER, OBJECT), found, strict=True):
            if name[: len(prefix)].lower() == prefix.lower() and len(name) > len(prefix):
                meta[train(name[len(prefix) :])] = _decoded(value)
    return found


def _decoded(value: str) -> str:
    try:
        text = unquote(value, errors="strict")
        text.encode()
    except UnicodeError:
        return value.encode("utf-8", "backslashreplace").decode()
    return text


def metadata_headers(prefix: str, meta: Mapping[str, str]) -> dict[str, str]:
    """The headers that tell this metadata, escaped as the vendor's server does."""
    return {f"{prefix}{name}": quote(value, safe="$&+=:@") for name, value in meta.items()}


def moment(text: str | None) -> datetime | None:
    """A time as RFC 3339, or as seconds, milliseconds or microseconds since 1970, told apart by their size."""
    if not text:
        return None
    try:
        if re.fullmatch(r"\d{1,17}(\.\d{1,9})?", text):
            since = float(text)
            while since >= 10**11:
                since /= 1000
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=since)
        found = datetime.fromisoformat(text)
        return None if found.utcoffset() is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# -- objects -----------------------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """What an object of a recording is."""

    CLIP = "clip"
    KEY = "key"
    BOOKMARK = "bookmark"
    TRAIL = "trail"
    OTHER = "other"


def kind_of(name: str) -> tuple[Kind, str]:
    """(what it is, its media type), by the object's name."""
    lower = name.lower()
    if lower.endswith(".key"):
        return Kind.KEY, "application/json"
    if lower.startswith("bookmark_"):
        return Kind.BOOKMARK, "text/plain"
    if lower.endswith("gpstrail.json"):
        return Kind.TRAIL, "application/json"
    if lower.endswith(".mkv"):
        return Kind.CLIP, "video/x-matroska"
    if lower.endswith(".mp4"):
        return Kind.CLIP, "video/mp4"
    return Kind.OTHER, "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Point:
    """One entry of a location object."""

    latitude: float
    longitude: float
    after: float | None
    """Seconds from the recording's `StartTime`, which lies before the trigger."""
    at: datetime | None


_EAST_MAX, _NORTH_MAX = 180.0, 90.0
_WKT: Final = re.compile(r"\s*POINT\s*Z?\s*\(\s*(\S+)\s+(\S+)(?:\s+\S+)?\s*\)\s*", re.ASCII | re.IGNORECASE)


def trail(data: bytes) -> list[Point]:
    """The points of a location object, in the order in which they stand (which is not promised to be that of time).

    WKT gives longitude before latitude. Raises `SpecError`.
    """
    if len(data) > TRAIL_MAX:
        raise SpecError(f"a location object of {len(data)} bytes is not read")
    try:
        told = json.loads(data)
        entries = told["CoordinateEntries"]
        if not isinstance(entries, list):
            raise TypeError("CoordinateEntries is no list")  # noqa: TRY301 - its handling is below
        return [_point(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise SpecError(f"no location object: {error}") from error


def _point(entry: Any) -> Point:  # noqa: ANN401 - whatever JSON holds
    found = _WKT.fullmatch(str(entry["LocationWKT"]))
    if found is None:
        raise ValueError("LocationWKT is no POINT")
    longitude, latitude = float(found[1]), float(found[2])
    if not (abs(longitude) <= _EAST_MAX and abs(latitude) <= _NORTH_MAX):
        raise ValueError("LocationWKT lies nowhere on Earth")
    after = entry.get("SecondsFromStart")
    if after is not None and not (isinstance(after, (int, float)) and math.isfinite(after)):
        raise ValueError("SecondsFromStart is no number")
    return Point(latitude, longitude, None if after is None else float(after), moment(entry.get("Timestamp")))


# -- the connection file -----------------------------------------------------------------------------------------------


def connection_file(  # noqa: PLR0913 - its fields
    *,
    site: str,
    version: str,
    urls: Iterable[str],
    user: str,
    password: str,
    certificate: bytes | None,
    container_type: str,
    public_key: tuple[str, bytes] | None,
    time_server: bool,
) -> bytes:
    """The JSON that an administrator imports in AXIS Body Worn Manager. Raises `SpecError` where a field is too long.

    `certificate` is PEM; it and the public key (its id, its PEM) stand there as base64 *of the PEM text*. Without a
    certificate the controller speaks plain HTTP. Encryption once asked for stays for ever.
    """
    addresses = list(urls)
    told: dict[str, Any] = {
        "ConnectionFileVersion": "1.0",
        "SiteName": _at_most(64, "site name", site),
        "ApplicationName": "Evidock",
        "ApplicationVersion": _at_most(128, "version", version),
        "ContentDestinationAsNTPServer": time_server,
        "AuthenticationTokenURI": [_at_most(512, "address", url) for url in addresses],
        "BlobAPI": "Swift 1.0",
        "BlobAPIKey": _at_most(64, "password", password),
        "BlobAPIUserName": _at_most(64, "user name", user),
        "ContainerType": container_type,
        "WantEncryption": public_key is not None,
        "FullStoreAndReadSupport": False,
    }
    if not 1 <= len(addresses) <= _ADDRESSES_MAX:
        raise SpecError(f"a connection file holds 1 to {_ADDRESSES_MAX} addresses, and not {len(addresses)}")
    if certificate is not None:
        told["HTTPSCertificate"] = [_at_most(16384, "certificate", _encoded(certificate))] * len(addresses)
    if public_key is not None:
        told["PublicKeyId"] = _at_most(128, "id of the public key", public_key[0])
        told["PublicKey"] = _at_most(2048, "public key", _encoded(public_key[1]))
    made = json.dumps(told, ensure_ascii=False, indent=0).encode()
    if len(made) > CONNECTION_MAX:
        raise SpecError(f"a connection file may have {CONNECTION_MAX} bytes, and this one has {len(made)}")
    return made


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def _at_most(length: int, what: str, text: str) -> str:
    if not 0 < len(text) <= length:
        raise SpecError(f"the {what} of a connection file has 1 to {length} characters, and not {len(text)}")
    return text
