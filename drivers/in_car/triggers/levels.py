"""Inputs that are on or off: debounced, told when they are first known and whenever they change."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from agent.capture import Observation
from agent.clock import Clock
from agent.driver import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from agent.capture import Json, Stamp
    from agent.driver import Intake

__all__ = ["InputWords", "Levels", "kind_of"]

_VEHICLE: Final = frozenset({"ignition", "light_bar", "siren"})
CHATTER: Final = 10
"""Changes within a second after which a line is broken: nobody turns a light bar on and off like that."""


class InputWords(BaseModel):
    """What the operator says of one input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    """`ignition`, `light_bar`, `siren`, or what it is called in this fleet: `trigger.NAME` in the record."""
    inverted: bool = False
    """The contact is closed, or the wire carries voltage, while it is off."""
    debounce: Annotated[float, Field(ge=0, le=60)] = 0.03
    """Seconds for which a new level must last before it counts."""


def kind_of(name: str) -> str:
    """The observation's kind."""
    return f"vehicle.{name}" if name in _VEHICLE else f"trigger.{name}"


@dataclass(slots=True)
class _Input:
    words: InputWords
    source: str
    told: bool | None = None
    wanted: bool | None = None
    since: float = 0.0
    at: datetime | None = None
    changes: deque[float] = field(default_factory=deque)
    broken: bool = False


class Levels:
    """The inputs of one device. `inputs`: by what the driver calls each, its words and where it is wired."""

    def __init__(
        self,
        device: str,
        inputs: Mapping[str, tuple[InputWords, str]],
        *,
        stamp: Callable[[], Stamp] | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._device = device
        self._stamp = stamp or Clock().stamp
        self._now = now or (lambda: asyncio.get_running_loop().time())
        self._inputs = {key: _Input(words, source) for key, (words, source) in inputs.items()}

    async def seen(self, levels: Mapping[str, bool], intake: Intake) -> None:
        """These are the levels now, as they come off the wire."""
        now, stamp = self._now(), self._stamp()
        for key, level in levels.items():
            one = self._inputs[key]
            wanted = level != one.words.inverted
            if wanted != one.wanted:
                self._changed(one, now)
                one.wanted, one.since, one.at = wanted, now, stamp.at
            # It was seen so at least twice: a single reading that was disturbed tells nothing.
            elif wanted != one.told and now - one.since >= one.words.debounce and not one.broken and one.at is not None:
                await self._tell(one, one.at, intake)
            self._calmed(one, now)

    def lost(self) -> None:
        """The device is away: its levels are not known, and are told anew when it is back."""
        for one in self._inputs.values():
            one.told = one.wanted = None

    def state(self) -> str:
        """In a few words."""
        return ", ".join(self._words()) or "no level known yet"

    def notices(self) -> Iterator[Notice]:
        """Inputs that cannot be what they seem."""
        for one in self._inputs.values():
            if one.broken:
                detail = (
                    f"the input {one.words.name} ({one.source}) changes many times a second and is not told any more"
                )
                yield Notice("input.chatters", "warning", one.words.name, detail, "Look at its wire and its contact.")

    async def _tell(self, one: _Input, at: datetime, intake: Intake) -> None:
        detail: dict[str, Json] = {
            "debounced_ms": round(one.words.debounce * 1000),
            "edge": "start" if one.told is None else "rise" if one.wanted else "fall",
            "on": bool(one.wanted),
            "source": one.source,
            "time": {"source": "station"},
        }
        one.told = one.wanted
        await intake.observe(Observation(self._device, kind_of(one.words.name), at, detail))

    def _changed(self, one: _Input, now: float) -> None:
        one.changes.append(now)
        self._calmed(one, now)
        if len(one.changes) > CHATTER:
            one.broken = True

    def _calmed(self, one: _Input, now: float) -> None:
        while one.changes and now - one.changes[0] > 1.0:
            one.changes.popleft()
        if not one.changes:
            one.broken = False

    def _words(self) -> Iterator[str]:
        for one in self._inputs.values():
            if one.broken:
                yield f"{one.words.name} broken"
            elif one.told is not None:
                yield f"{one.words.name} {'on' if one.told else 'off'}"
