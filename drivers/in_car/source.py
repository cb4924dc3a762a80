"""What a driver listens to, and whether it can be heard: said once to the log, and a notice while it lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from agent.driver import Notice
from agent.errors import DeviceGone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.errors import DeviceError

__all__ = ["Source"]


class Source:
    """A line, a server, a recorder. `name`: of the driver; `place`: where it is, for people.

    `comes_and_goes`: that it is away is how it should be, and no notice.
    """

    def __init__(self, name: str, place: str, *, comes_and_goes: bool = False) -> None:
        self._comes_and_goes = comes_and_goes
        self._log = structlog.get_logger("driver").bind(driver=name, place=place)
        self._name, self.place = name, place
        self._trouble: DeviceError | None = None
        self.state = "not looked at yet"
        """How it is, in a few words."""

    def heard(self, **told: object) -> None:
        """It speaks."""
        self._trouble = None
        self._log.info("source_found", **told)

    def silent(self, error: DeviceError) -> None:
        """It does not, for this reason."""
        away = self._comes_and_goes and isinstance(error, DeviceGone)
        if self.state != str(error):
            if away:
                self._log.info("source_away", error=str(error))
            else:
                self._log.warning("source_silent", error=str(error), todo=error.what_to_do)
        self._trouble, self.state = None if away else error, str(error)

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        if self._trouble is None:
            return ()
        return (Notice("source.silent", "warning", self._name, str(self._trouble), self._trouble.what_to_do),)
