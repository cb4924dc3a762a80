"""What each maker's message says, as canonical reads: one file a maker, over the formats in `firmware_specs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from drivers.alpr.makers import axis, hikvision, openalpr, platerecognizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from drivers.alpr.makers.heard import Heard

__all__ = ["MAKERS", "Maker"]


@dataclass(frozen=True, slots=True)
class Maker:
    """How cameras of a maker are listened to, and what answer makes them send again."""

    heard: Callable[[bytes, str, str], Heard] | None
    """(body, content type, the camera's name) to what it says; None: by the camera's own mapping."""
    cannot: Literal["503", "close"]
    """What cannot be kept: the answer that is tried again, or none at all where any answer makes the camera forget."""
    title: str
    spec: str
    """The format in `firmware_specs` that they speak."""


MAKERS: Final = {
    # The open daemon takes any answer for success; a closed connection gives the message back to its queue.
    "openalpr": Maker(openalpr.heard, "close", "OpenALPR / Rekor Scout", "openalpr"),
    # Cameras were seen that never send again after any answer.
    "hikvision": Maker(hikvision.heard, "close", "Hikvision", "hikvision_anpr"),
    "axis": Maker(axis.heard, "503", "Axis License Plate Verifier", "axis_lpv"),
    "platerecognizer": Maker(platerecognizer.heard, "503", "Plate Recognizer Stream", "platerecognizer"),
    "generic": Maker(None, "503", "another maker", "templated"),
}
