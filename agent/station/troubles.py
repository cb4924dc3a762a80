"""What only the running daemon knows to be wrong: drivers that fail, captures that a docked device offers in vain.

The log is told of each once, and once that it is over; a repair notice stands for as long as it lasts.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from agent.capture import printable
from agent.driver import RaisesNotices
from agent.errors import AgentError, DeviceError, for_people, unforeseen
from agent.repairs import repair
from agent.sides import MOST, Sides

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from agent.capture import Capture
    from agent.station.running import Loaded

__all__ = ["Troubles", "told_by"]

_OF_ONE_DRIVER: Final = 64
"""Notices of one driver that are shown: whoever has more does not read the rest either."""
_DRIVER_TODO: Final = (
    "Run evidock check; then give whoever looks after this station the output of evidock support-bundle."
)


class Troubles:
    """Those of one daemon."""

    def __init__(self) -> None:
        self._takes, self._drivers = Sides(), Sides()
        self._todo: dict[str, str] = {}
        self._log = structlog.get_logger("agent")

    def not_taken(self, capture: Capture, error: AgentError) -> None:
        """A device offered it, and it could not be taken."""
        if len(self._todo) >= MOST:
            self._todo.clear()
        self._todo[str(error)] = error.what_to_do
        told = {"device": capture.device.id, "key": printable(capture.key), "todo": error.what_to_do}
        self._takes.broke((capture.device.id, capture.key), str(error), self._log.warning, "capture_not_taken", **told)

    def taken(self, capture: Capture) -> None:
        """It is safe, whatever was the matter before."""
        side, told = (capture.device.id, capture.key), {"device": capture.device.id, "key": printable(capture.key)}
        self._takes.works(side, self._log.info, "capture_taken_after_all", **told)

    def driver_failed(self, name: str, error: BaseException | None) -> None:
        """It ended by itself, and is started again."""
        todo = error.what_to_do if isinstance(error, AgentError) else None
        told = {"driver": name, "todo": todo, "exc_info": unforeseen(error)}
        self._drivers.broke(name, for_people(error), self._log.error, "driver_failed", **told)

    def driver_well(self, name: str) -> None:
        """It has run for a while."""
        self._drivers.works(name, self._log.info, "driver_recovered", driver=name)

    def notices(self, here: Container[object]) -> Iterator[dict[str, str | None]]:
        """Repair notices. `here`: ids of the devices that are docked; of others nothing can be taken now."""
        for name, why in self._drivers.broken().items():
            detail = f"the driver {name} fails and is started again and again: {why}"
            yield repair("driver.failed", "problem", f"driver {name}", detail, _DRIVER_TODO)
        self._takes.forget(lambda side: side[0] not in here)
        whys: dict[str, list[str]] = {}
        for (device, _), why in self._takes.broken().items():  # type: ignore[misc]  # the sides are ours
            whys.setdefault(str(device), []).append(why)  # type: ignore[has-type]
        for device, found in whys.items():
            detail = f"{len(found)} of its captures cannot be taken: {found[0]}"
            todo = self._todo.get(found[0], DeviceError.hint)
            yield repair("captures.not_taken", "warning", f"device {device}", detail, todo)


def told_by(drivers: Iterable[Loaded]) -> Iterator[dict[str, str | None]]:
    """Repair notices that drivers raise themselves."""
    for loaded in drivers:
        if isinstance(loaded.driver, RaisesNotices):
            for one in islice(loaded.driver.notices(), _OF_ONE_DRIVER):
                yield {"id": one.id, "state": one.state, "what": one.what, "detail": one.detail, "todo": one.todo}
