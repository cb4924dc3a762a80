"""OpenALPR and Rekor Scout: the JSON that the agent posts, or leaves in a beanstalkd tube.

Known:        the maker's field tables and test payloads, and the source of the open daemon 2.x. `epoch_time` is seconds
              in the oldest documents and milliseconds in the source; `uuid` is opaque; `country` names the recogniser's
              training set and no country of the plate.
Not verified: what the commercial agent does with other answers than 2xx.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any, Final

from firmware_specs import SpecError
from firmware_specs.formats import json_spans

__all__ = ["RESULTS_MAX", "Told", "message", "picture"]

RESULTS_MAX: Final = 200
PICTURE_MAX: Final = 8 << 20

_ONCE: Final = frozenset({"results", "group"})
_READS: Final = frozenset({"alpr_results", "alpr_group", "alpr_alert", "vehicle"})


@dataclass(frozen=True, slots=True)
class Told:
    """One message."""

    kind: str
    """`data_type`; `alpr_results` where an old daemon tells none."""
    told: dict[str, Any]
    results: tuple[tuple[int, int], ...] = ()
    """Where each of several results lies in the body."""

    @property
    def reads(self) -> bool:
        """Whether it is about plates or vehicles."""
        return self.kind in _READS


def message(body: bytes) -> Told:
    """Read one. Raises `SpecError`."""
    told = json_spans.loads(body, once=_ONCE)
    if not isinstance(told, dict):
        raise SpecError("the message is no object")
    kind = told.get("data_type")
    if kind is None and isinstance(told.get("results"), list):
        kind = "alpr_results"
    if not isinstance(kind, str) or not kind:
        raise SpecError("the message has no data_type")
    results: tuple[tuple[int, int], ...] = ()
    if kind == "alpr_results":
        listed = told.get("results")
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise SpecError("alpr_results without results")
        if len(listed) > RESULTS_MAX:
            raise SpecError(f"more than {RESULTS_MAX} results")
        results = json_spans.entries(body, "results") if len(listed) > 1 else ()
    if kind == "alpr_alert" and not isinstance(told.get("group"), dict):
        raise SpecError("alpr_alert without its group")
    return Told(kind[:64], told, results)


def picture(told: Any, name: str) -> bytes | None:  # noqa: ANN401 - JSON
    """A picture that stands as Base64 under a name; None where there is none, or it cannot be decoded."""
    text = told.get(name) if isinstance(told, dict) else None
    if not isinstance(text, str) or not text or len(text) > PICTURE_MAX * 4 // 3 + 4:
        return None
    try:
        return binascii.a2b_base64(text.encode("ascii")) or None
    except (ValueError, UnicodeError):
        return None
