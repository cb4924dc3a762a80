"""What runs for as long as the daemon: drivers, started again when they fail, and the small rounds beside them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

from agent.clock import Step
from agent.driver import HearsObservations
from agent.errors import AgentError, BadReceipt, DeviceError, JournalError, Refusal, SpoolDamaged, UplinkDown
from agent.forward.late import came_late
from agent.journal import Event
from agent.machine.keeper import chrony
from agent.process import ALIVE, first_of, tell_systemd
from agent.tasks import alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tenacity import RetryCallState

    from agent.anchor import Anchor
    from agent.capture import Json, Observation
    from agent.clock import Clock
    from agent.driver import Intake
    from agent.journal import Desk
    from agent.note import Verifier
    from agent.presence import Presence
    from agent.registry import LoadedDriver, LoadedUplink
    from agent.station.troubles import Troubles
    from agent.uplink import Probes, ReceiptsLater

__all__ = ["alive", "clock_kept", "clock_watched", "hear", "housekept", "probed", "receipts_come", "supervised"]

_STEADY: Final = 30.0
"""Seconds that a driver must run before it counts as well again."""

_A_DAY: Final = 86400.0
_PROBE_AGAIN: Final = 600.0
_KEEPER_AGAIN: Final = 60.0
_HOUSEKEEPING: Final = 5.0


async def supervised(loaded: LoadedDriver, intake: Intake, troubles: Troubles) -> None:
    """Run a driver for ever: one that fails is started again, later each time, and keeps no other from working."""
    name = loaded.options.name

    def failed(state: RetryCallState) -> None:
        troubles.driver_failed(name, state.outcome.exception() if state.outcome else None)

    async for attempt in AsyncRetrying(
        wait=wait_random_exponential(multiplier=1, max=60),
        retry=retry_if_exception(_may_be_tried_again),
        before_sleep=failed,
    ):
        with attempt:
            steady = asyncio.get_running_loop().call_later(_STEADY, troubles.driver_well, name)
            try:
                await alone(loaded.driver.run(intake))
            except Exception as error:
                if isinstance(error, ExceptionGroup) and (fatal := error.subgroup((JournalError, SpoolDamaged))):
                    raise first_of(fatal) from error
                raise
            finally:
                steady.cancel()
            raise DeviceError(f"the driver {loaded.options.name} ended by itself")


def hear(drivers: Iterable[LoadedDriver], observation: Observation) -> None:
    """Tell an observation to those drivers that act on what others observe."""
    for loaded in drivers:
        if isinstance(loaded.driver, HearsObservations):
            loaded.driver.heard(observation)


async def clock_kept(clock: Clock) -> None:
    """Ask chronyd, where there is one, when it set the clock right last; others are looked at by the clock itself."""
    while True:
        if (kept := await asyncio.to_thread(chrony)) is not None:
            clock.heard(kept.synced_at)
        await asyncio.sleep(_KEEPER_AGAIN)


async def alive(desk: Desk) -> None:
    """Tell systemd that the event loop turns, and the journal's thread: also while that has no room to write."""
    while True:
        await asyncio.sleep(_HOUSEKEEPING)
        await desk.read(lambda _: None)
        tell_systemd(ALIVE)


async def housekept(presence: Presence, anchor: Anchor) -> None:
    """Notice who went away."""
    while True:
        await asyncio.sleep(_HOUSEKEEPING)
        if await presence.notice_gone():
            await anchor.dock_empties()


async def clock_watched(desk: Desk, clock: Clock) -> None:
    """Notice that the clock was set. Steps while the journal has no room are told of as one, when it has."""
    log, step = structlog.get_logger("agent"), Step(clock.stamp())
    while True:
        await asyncio.sleep(_HOUSEKEEPING)
        now = clock.stamp()
        if (stepped := step.since(now)) is not None:
            detail: dict[str, Json] = {"by_us": stepped // timedelta(microseconds=1)}
            await desk.write(lambda journal, told=detail: journal.record(Event.CLOCK_STEPPED, told))  # type: ignore[misc]
            log.warning("clock_stepped", by=str(stepped), todo="nothing, where time was just set right")


async def probed(uplink: Probes, name: str) -> None:
    """What a DEMS says of itself is tried once a day."""
    log = structlog.get_logger("uplink")
    while True:
        try:
            await uplink.probe()
        except UplinkDown:  # `forward` tells that it is down
            await asyncio.sleep(_PROBE_AGAIN)
        except Exception as error:  # noqa: BLE001 - whatever a server made of it, the station goes on
            told = {"destination": name, "error": repr(error), "todo": AgentError.hint}
            log.error("probe_failed", **told)  # noqa: TRY400 - each time once a day, and for a person
            await asyncio.sleep(_PROBE_AGAIN)
        else:
            await asyncio.sleep(_A_DAY)


async def receipts_come(
    loaded: LoadedUplink, uplink: ReceiptsLater, desk: Desk, keys: Callable[[], Sequence[Verifier]]
) -> None:
    """Receipts that come when nobody asks: each is verified as any other, and a wrong one changes nothing."""
    log, name = structlog.get_logger("forward"), loaded.options.name
    async for note in uplink.later():
        try:
            came = await came_late(desk, note, keys(), name, over="disk")
        except (BadReceipt, Refusal) as error:
            log.warning("late_receipt_refused", destination=name, error=str(error), todo=error.what_to_do)
        else:
            if came is not None:
                log.debug("receipt_came", capture=came)


def _may_be_tried_again(error: BaseException) -> bool:
    # Cancellation is not a failure: tenacity hands it over like one, and a driver that is told to end must end.
    return isinstance(error, Exception) and not isinstance(error, (JournalError, SpoolDamaged))
