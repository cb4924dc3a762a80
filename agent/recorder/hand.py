"""The hand that drivers offer to while devices are recorded: it looks how each capture begins, and takes nothing.

A device that forgets what it pushed is answered as if there were no room: it keeps it, and sends it once more later.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agent.capture import Standing, rfc3339
from agent.errors import AgentError, DeviceError, SpoolFull
from agent.ingest.copying import closing
from agent.recorder.skeleton import skeleton

if TYPE_CHECKING:
    from agent.capture import Capture, Device, Observation
    from agent.driver import Readable
    from agent.recorder.veil import Veil

__all__ = ["RecordingHand"]

HEAD: Final = 256 * 1024
"""Bytes of a capture that are looked at."""
CAPTURES: Final = 500
OBSERVATIONS: Final = 500


class RecordingHand:
    """See `agent.driver.Intake`. Everything that it remembers is under the veil already."""

    def __init__(self, veil: Veil) -> None:
        self._veil = veil
        self.devices: dict[str, dict[str, Any]] = {}
        self.captures: dict[str, dict[str, Any]] = {}
        self.heads: dict[str, bytes] = {}
        """Skeletons, by the capture's key under the veil."""
        self.observations: list[dict[str, Any]] = []
        self.left_out = 0
        """Captures and observations beyond the bounds."""

    async def sight(self, device: Device, /) -> None:
        """Note what the device says of itself."""
        told = device.claims
        kept = {name: told[name] for name in ("driver", "family", "maker", "model", "firmware", "spec", "spec_fits")}
        veiled = {
            name: None if told[name] is None else self._veil.name(str(told[name])) for name in ("id", "serial", "place")
        }
        self.devices[veiled["id"] or ""] = {**kept, **veiled}

    async def observe(self, observation: Observation, /) -> None:
        """Note its kind, its time, and the shape of its detail."""
        if len(self.observations) >= OBSERVATIONS:
            self.left_out += 1
            return
        self.observations.append(
            {
                "device": self._veil.name(observation.device),
                "kind": observation.kind,
                "observed_at": rfc3339(observation.observed_at),
                "detail": self._veil.claims(dict(observation.detail)),
            }
        )

    async def take(self, offer: Readable, /) -> Standing:
        """Look, and take nothing."""
        capture = offer.capture
        key = self._veil.name(capture.key)
        if key not in self.captures:
            if len(self.captures) >= CAPTURES:
                self.left_out += 1
            else:
                self.captures[key] = self._said(capture, key)
                if not capture.volatile:
                    await self._look(offer, key)
        if capture.volatile:
            raise SpoolFull(
                "devices are recorded, and nothing is taken", hint="Start the daemon again: it is sent anew."
            )
        return Standing.HELD

    def _said(self, capture: Capture, key: str) -> dict[str, Any]:
        return {
            "key": key,
            "device": self._veil.name(capture.device.id),
            "began_at": None if capture.began_at is None else rfc3339(capture.began_at),
            "length": capture.length,
            "media_type": capture.media_type,
            "group": None if capture.group is None else self._veil.name(capture.group),
            "clip": capture.clip,
            "members": capture.members,
            "priority": capture.priority.name.lower(),
            "volatile": capture.volatile,
            "claims": self._veil.claims(dict(capture.claims)),
            "failed": None,
        }

    async def _look(self, offer: Readable, key: str) -> None:
        head = bytearray()
        try:
            async with closing(offer.open(0)) as source:
                async for block in source:
                    head += block
                    if len(head) >= HEAD:
                        break
        except AgentError as error:
            self.captures[key]["failed"] = type(error).__name__
            if not isinstance(error, DeviceError):
                raise
        with suppress(ValueError):
            self.heads[key] = skeleton(bytes(head[:HEAD]))
