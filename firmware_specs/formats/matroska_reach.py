"""How far a Matroska film reaches, seen while its bytes pass by: one that was cut off looks whole to who sent it.

RFC 8794 (EBML) and RFC 9559 (Matroska): elements are an identifier and a length, both of variable width; a `Segment` or
`Cluster` may have the length "unknown" where a film was written as it came. Each cluster says at which time it begins.
Only the outside is read: nothing is decoded, and memory is that of one element header.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Reach"]

_EBML: Final = 0x1A45DFA3
_SEGMENT: Final = 0x18538067
_INFO: Final = 0x1549A966
_CLUSTER: Final = 0x1F43B675
_TIMECODE: Final = 0xE7
_SCALE: Final = 0x2AD7B1
_INSIDE: Final = frozenset({_SEGMENT, _INFO, _CLUSTER})
"""Elements whose children are looked at."""
_TELLS: Final = frozenset({_TIMECODE, _SCALE})
_NUMBER_MAX: Final = 8
_DEFAULT_SCALE: Final = 1_000_000


class Reach:
    """Feed it everything; it tells what it has seen."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._skip = 0
        self._left: int | None = None
        """Bytes of the cluster whose time is being looked for, where it says how long it is."""
        self._scale = _DEFAULT_SCALE
        self._latest: int | None = None
        self._began = False
        self.matroska = True
        """False as soon as the bytes cannot be a Matroska film."""

    @property
    def seconds(self) -> float | None:
        """The latest time at which a cluster begins; None where none was seen."""
        return None if self._latest is None else self._latest * self._scale / 1e9

    @property
    def began(self) -> bool:
        """Anything was there at all."""
        return self._began

    @property
    def inside(self) -> bool:
        """An element was begun and its bytes are not all here: the film is cut."""
        return self.matroska and (self._skip > 0 or len(self._pending) > 0)

    def feed(self, block: bytes) -> None:
        """The next bytes."""
        data = memoryview(block)
        while self.matroska and data:
            if self._skip:
                step = min(self._skip, len(data))
                self._skip -= step
                data = self._past(data, step)
                continue
            # A header and a number fit into few bytes: more is taken only until the element can be told.
            self._pending += data[:1]
            data = self._past(data, 1)
            self._look()

    def _past(self, data: memoryview, step: int) -> memoryview:
        if self._left is not None:
            self._left = max(0, self._left - step)
        return data[step:]

    def _look(self) -> None:
        """Go on as soon as the header of the element that begins here can be told."""
        if (header := self._header()) is None:
            return
        name, length, end = header
        if not self._began:
            self._began = True
            self.matroska = name == _EBML
        if name in _TELLS and length is not None and length <= _NUMBER_MAX:
            if len(self._pending) < end + length:
                return
            self._tell(name, int.from_bytes(self._pending[end : end + length], "big"))
        elif name in _INSIDE or length is None:
            if name == _CLUSTER:
                self._left = length
        else:
            self._skip = length
        self._pending.clear()

    def _header(self) -> tuple[int, int | None, int] | None:
        """(name, length or None where that is unknown, bytes of the header); None where it is not all here."""
        pending = self._pending
        width = _width(pending[0])
        if width is None or width > 4:  # noqa: PLR2004 - identifiers have one to four bytes (RFC 8794, section 5)
            self.matroska = False
            return None
        length_width = _width(pending[width]) if len(pending) > width else 1
        if length_width is None:
            self.matroska = False
            return None
        end = width + length_width
        if len(pending) < end:
            return None
        length = int.from_bytes(pending[width:end], "big") & ((1 << 7 * length_width) - 1)
        unknown = length == (1 << 7 * length_width) - 1
        return int.from_bytes(pending[:width], "big"), None if unknown else length, end

    def _tell(self, name: int, value: int) -> None:
        if name == _SCALE and value:
            self._scale = value
        elif name == _TIMECODE and (self._latest is None or value > self._latest):
            self._latest = value
        if name == _TIMECODE and self._left is not None:  # the pictures behind it are passed over at once
            self._skip, self._left = self._left, None


def _width(first: int) -> int | None:
    """Bytes of a number of variable width, by its first byte (RFC 8794, section 4.1)."""
    return 9 - first.bit_length() if first else None
