"""What a GNSS receiver sends over a serial line: NMEA sentences and UBX frames, mixed, with noise in between.

A receiver that speaks both tells one after the other; a line that is opened in the middle begins with half of one. What
is neither is passed over and counted, and nothing is ever waited for that is longer than a sentence or a frame may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firmware_specs.formats import nmea, ubx
from firmware_specs.formats.source import Malformed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Splitter"]

_ENDS: Final = (b"\r", b"\n")
_DOLLAR: Final = b"$"


class Splitter:
    """Bytes in any portions -> sentences and frames."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.good = 0
        """Sentences and frames that were whole."""
        self.bad = 0
        """What began like one, and was none."""

    def feed(self, data: bytes) -> Iterator[nmea.Sentence | ubx.Frame]:
        """Everything that is whole by now."""
        self._data += data
        while (found := self._next()) is not None:
            if not isinstance(found, Malformed):
                self.good += 1
                yield found
            else:
                self.bad += 1

    def _next(self) -> nmea.Sentence | ubx.Frame | Malformed | None:
        """The next one, or why there is none where one began; None where more bytes must come."""
        data = self._data
        starts = [at for mark in (_DOLLAR, ubx.SYNC) if (at := data.find(mark)) >= 0]
        if not starts:
            del data[: len(data) - data.endswith(ubx.SYNC[:1])]
            return None
        del data[: min(starts)]
        return self._frame() if data.startswith(ubx.SYNC) else self._sentence()

    def _frame(self) -> ubx.Frame | Malformed | None:
        try:
            found = ubx.frame(bytes(self._data[: ubx.LENGTH_MAX + 8]))
        except Malformed as error:
            del self._data[: len(ubx.SYNC)]
            return error
        if found is None:
            return None
        del self._data[: found[1]]
        return found[0]

    def _sentence(self) -> nmea.Sentence | Malformed | None:
        data = self._data
        ends = [at for mark in (*_ENDS, _DOLLAR, ubx.SYNC) if (at := data.find(mark, 1, nmea.LENGTH_MAX + 1)) > 0]
        if not ends:
            if len(data) <= nmea.LENGTH_MAX:
                return None
            del data[:1]
            return Malformed("no sentence is that long")
        line = bytes(data[: min(ends)])
        del data[: len(line)]
        try:
            return nmea.sentence(line)
        except Malformed as error:
            return error
