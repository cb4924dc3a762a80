"""Which plates of a camera's list are done with: by their numbers, each of which names a time and no plate.

A number is a time of the camera's clock, which is set back in autumn, by hand and by its time server: of two plates the
later one may have the smaller number. So it is remembered of each number whether it is done with, and no order is
believed.

If power fails here: a line that was not written to its end is left out, and its plate is offered once more.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from agent import durable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

__all__ = ["Known"]

_NUMBER: Final = re.compile(r"\d{1,40}", re.ASCII)
_KEPT: Final = 10_000
"""Numbers beyond those that are listed now, of which it is remembered that they are done with: a camera whose card was
away for a moment lists them again."""


class Known:
    """Of one camera. Every method waits for the disk: call it in a thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.numbers: set[str] = set()

    def load(self) -> bool:
        """Read what an earlier run noted; False: there is no note, and the camera is new."""
        try:
            text = self._file.read_bytes().decode("ascii", "replace")
        except FileNotFoundError:
            return False
        *lines, rest = text.split("\n")
        self.numbers = {line for line in lines if _NUMBER.fullmatch(line)}
        if rest or len(self.numbers) < len(lines):
            self._write()
        return True

    def begin(self, numbers: Iterable[str]) -> None:
        """Make the note, with these."""
        self.numbers = set(numbers)
        self._write()

    def add(self, *numbers: str) -> None:
        """These are done with too."""
        fd = os.open(self._file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            end = os.fstat(fd).st_size
            try:
                durable.write_all(fd, "".join(f"{number}\n" for number in numbers).encode(), end)
            except OSError:
                os.ftruncate(fd, end)
                raise
            durable.force(fd)
        finally:
            os.close(fd)
        self.numbers.update(numbers)

    def prune(self, listed: Collection[str]) -> None:
        """The camera lists all of these, and forgets the oldest: so is what is noted of them, after a while."""
        if len(self.numbers) > 2 * (len(listed) + _KEPT):
            newest = sorted(self.numbers, key=int)[-_KEPT:]
            self.begin(self.numbers.intersection(listed).union(newest))

    def _write(self) -> None:
        durable.make_folder(self._file.parent)
        durable.replace_file(self._file, "".join(f"{number}\n" for number in sorted(self.numbers, key=int)).encode())
