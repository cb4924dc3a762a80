"""What the messages say of this station: made fresh from journal and daemon each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from agent.broker.messages import CaptureTold, DeviceTold, HitTold, LinkTold, NoticeTold, StateTold, StatusTold
from agent.capture import Standing, canonical, rfc3339
from agent.journal import queries
from agent.journal.entry import agent_version

if TYPE_CHECKING:
    from pydantic import JsonValue

    from agent.broker.outbox import Due
    from agent.capture import Stamp
    from agent.station.running import Running
    from agent.station.views import View

__all__ = ["capture", "notices", "state", "status"]

_DEVICES_TOLD: Final = 100
_NOTICES_TOLD: Final = 30
_TEXT_MAX: Final = 400
"""Characters of each text of a notice."""
_TEXT_BYTES: Final = 600
"""The same in bytes as it is sent, for what devices name in other scripts: thirty notices must fit into one payload."""


async def state(running: Running, birth: int) -> StateTold:
    """Our birth."""
    tally, oldest = await running.desk.read(lambda journal: (queries.tally(journal), queries.oldest_held(journal)))
    held = tally.get(Standing.HELD)
    stamp = running.clock.stamp()
    here = [seen.device for seen in running.devices.values() if seen.present][:_DEVICES_TOLD]
    return StateTold(
        online=True,
        bd=birth,
        boot=stamp.boot_id,
        agent=agent_version(),
        since=rfc3339(running.started_at),
        log=running.config.station.log,
        devices=tuple(DeviceTold(device=one.id, family=one.family) for one in here),
        held=0 if held is None else held.captures,
        oldest_held_at=None if oldest is None else rfc3339(oldest),
        clock=_clock(stamp),
    )


def status(running: Running, birth: int, told: View) -> StatusTold:
    """Figures, from what the daemon shows of itself."""
    return StatusTold(
        at=told["clock"]["at"],
        bd=birth,
        captures={standing: one["captures"] for standing, one in told["tally"].items()},
        held_bytes=told["tally"]["held"]["bytes"],
        room=max(0, told["room"]["usable"]),
        entries=told["log"]["size"],
        devices=sum(seen.present for seen in running.devices.values()),
        links=tuple(LinkTold.model_validate(one) for one in told["links"]),
        notices=len(told["problems"]),
        clock={name: value for name, value in told["clock"].items() if name != "at"},
    )


def notices(told: View) -> tuple[NoticeTold, ...]:
    """The worst repair notices, each short enough for thirty of them in one message."""
    return tuple(NoticeTold.model_validate(_short(one)) for one in told["problems"][:_NOTICES_TOLD])


def _short(told: View) -> View:
    return {name: _cut(value) if isinstance(value, str) else value for name, value in told.items()}


def _cut(text: str) -> str:
    text = text[:_TEXT_MAX]
    while len(canonical(text)) > _TEXT_BYTES:
        text = text[: len(text) * 9 // 10]
    return text


def capture(due: Due) -> CaptureTold:
    """The announcement of a capture, or of a hit."""
    holding, origin = due.holding, due.holding.origin
    told: dict[str, object] = {
        "capture": holding.id,
        "device": origin.device,
        "key": origin.key,
        "began_at": None if origin.began_at is None else rfc3339(origin.began_at),
        "media_type": holding.media_type,
        "length": holding.digest.length,
        "sha256": holding.digest.sha256.hex(),
        "blake3": holding.digest.blake3.hex(),
        "priority": holding.priority.name.lower(),
        "held_at": rfc3339(holding.held_at),
        "log": holding.log,
        "entry": holding.index,
        "group": holding.group,
        "clip": holding.clip,
        "again": due.times,
    }
    if not due.hit:
        return CaptureTold.model_validate(told)
    return HitTold.model_validate({**told, "read": due.claims})


def _clock(stamp: Stamp) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {}
    told.update(stamp.claims)  # type: ignore[arg-type]  # JSON without fractions is JSON
    return told
