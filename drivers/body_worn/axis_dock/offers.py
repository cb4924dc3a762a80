"""Captures made of what the controller says: an object with its bytes, and the description of a container."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from agent.capture import KEY_MAX, Capture, Device, Json, Priority, printable
from agent.errors import CannotResume
from firmware_specs.formats.axis_body_worn import FIXED, Kind, kind_of, moment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from drivers.body_worn.axis_dock.body import Body
    from drivers.body_worn.axis_dock.shelf import Container, Thing

__all__ = ["Arrival", "Said", "camera", "described", "key_of", "object_capture"]

_MAKER: Final = "Axis"
_SPEC: Final = "axis_body_worn"
"""Who knows the password speaks as `firmware_specs.formats.axis_body_worn` says."""


def camera(driver: str, container: str, meta: dict[str, str], *, known_as: str | None = None) -> Device:
    """Whose recording this is, by its metadata and never by the container's name.

    `known_as`: the id that the container got when it was made; metadata that comes later changes no identity. Where no
    camera is told, and for users and the like, it is the destination itself.
    """
    serial = meta.get("Bwcserialnumber")
    told = serial if serial and container not in FIXED and serial.isascii() and serial.isprintable() else None
    device = known_as or (f"axis:{told[:64]}" if told else f"axis:destination:{driver}")
    ours = told is not None and device == f"axis:{told[:64]}"

    def said(name: str) -> str | None:
        return printable(meta[name])[:64] if ours and meta.get(name) else None

    # No place: a controller goes on sending what it copied long after the camera was docked at another one.
    return Device(
        id=device,
        family="body_worn",
        driver=driver,
        maker=_MAKER,
        model=said("Bwcmodel"),
        serial=said("Bwcserialnumber"),
        firmware=said("Firmwareversion"),
        spec=_SPEC,
    )


def key_of(container: str, name: str | None, *, version: int = 1, suffix: str = "") -> str | None:
    """The capture's key; a semicolon in it is ours. None where it is longer than a key may be."""
    parts = [container] if name is None else [container, name]
    key = "/".join(printable(part).replace(";", "%3B") for part in parts)
    key += f";{version}" if version > 1 else ""
    key += f";{suffix}" if suffix else ""
    return key if len(key) <= KEY_MAX else None


def object_capture(
    device: Device, container: Container, thing: Thing, *, length: int | None, encrypted: bool, known: dict[str, Json]
) -> Capture:
    """An object as the controller holds it out; `known` is what the controller told earlier about user and camera."""
    kind, media_type = kind_of(thing.name)
    ciphertext = encrypted and kind in (Kind.CLIP, Kind.TRAIL)
    began_at = moment(thing.meta.get("Starttimeiso")) or moment(thing.meta.get("Starttime"))
    claims: dict[str, Json] = {
        "container": container.name,
        "kind": kind.value,
        "object": _json(thing.meta),
        "recording": _json(container.meta),
        **known,
    }
    if ciphertext:
        claims["encrypted"] = "end to end; its key object is forwarded beside it, and neither is opened here"
    if thing.version > 1:
        claims["version"] = thing.version
    return Capture(
        device=device,
        key=key_of(container.name, thing.name, version=thing.version) or "",
        began_at=began_at,
        length=length,
        media_type="application/octet-stream" if ciphertext else media_type,
        group=None if container.name in FIXED else key_of(container.name, None),
        members=None if container.name in FIXED else 0,
        priority=Priority.FLAGGED if kind is Kind.BOOKMARK else Priority.ROUTINE,
        volatile=True,
        claims=claims,
    )


def _json(meta: dict[str, str]) -> Json:
    return dict(meta)


class Arrival:
    """An `Offer` of what a request brings. The sender begins anew with each request, so it opens once, at 0."""

    def __init__(self, capture: Capture, body: Body, arrived: Callable[[], Awaitable[None]]) -> None:
        self._capture, self._body, self._arrived = capture, body, arrived

    @property
    def capture(self) -> Capture:
        """What the controller says of it."""
        return self._capture

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """The bytes of the request. What arrived is noted on the shelf before the hand can keep it."""
        if offset or self._body.begun:
            raise CannotResume(f"{self._capture.key} is sent anew, from its beginning")
        async for block in self._body.blocks():
            yield block
        await self._arrived()

    async def release(self) -> None:
        """The controller forgot it when it was answered."""


class Said:
    """An `Offer` of a description that is small and at hand."""

    def __init__(self, capture: Capture, data: bytes) -> None:
        self._capture, self._data = capture, data

    @property
    def capture(self) -> Capture:
        """What it is."""
        return self._capture

    async def open(self, offset: int, /) -> AsyncIterator[bytes]:
        """Its bytes."""
        if self._data[offset:]:
            yield self._data[offset:]

    async def release(self) -> None:
        """Nobody else has it."""


def described(device: Device, container: Container, things: list[Thing], *, state: str, subject: str | None) -> Said:
    """The description of a whole recording, or of one object (`subject`) of a fixed container, as it stands now.

    It names each object with length and digests, so that one receipt for it covers the recording.
    """
    number = container.told + 1
    told: dict[str, Any] = {
        "container": container.name,
        "metadata": container.meta,
        "number": number,
        "objects": [_about(thing) for thing in things if subject is None or thing.name == subject],
        "state": state,
        "type": "https://evidock.example/axis-recording/v1",
    }
    data = json.dumps(told, ensure_ascii=False, sort_keys=True, indent=1).encode("utf-8", "backslashreplace")
    # The digest in the key: what differs is another capture, also where a crash let the same number be told again.
    suffix = f"description-{number}-{hashlib.sha256(data).hexdigest()[:12]}"
    key = key_of(container.name, subject, suffix=suffix) or f";{suffix}"
    recording = container.name not in FIXED
    began_at = moment(container.meta.get("Starttimeiso")) or moment(container.meta.get("Starttime"))
    claims: dict[str, Json] = {
        "container": container.name,
        "kind": "description",
        "recording": _json(container.meta),
        "state": state,
    }
    capture = Capture(
        device=device,
        key=key,
        began_at=began_at if recording else None,
        length=len(data),
        media_type="application/json",
        group=key_of(container.name, None) if recording else None,
        # Its objects in each of their versions, and each description of it, this one among them.
        members=sum(thing.length is not None for thing in things) + number if recording else None,
        volatile=True,
        claims=claims,
    )
    return Said(capture, data)


def _about(thing: Thing) -> dict[str, Any]:
    about: dict[str, Any] = {"metadata": thing.meta, "name": thing.name}
    if thing.length is not None:
        about |= {"key": key_of(thing.container, thing.name, version=thing.version), "length": thing.length}
        about |= {"kind": kind_of(thing.name)[0].value, "md5": thing.md5, "sha256": thing.sha256, **thing.note}
    return about
