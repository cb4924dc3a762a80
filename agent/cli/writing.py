"""Files that commands write where a person says: whole or not at all, and never over what is there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from agent.durable import FAILED, NO_ROOM, reserve
from agent.errors import Refusal

__all__ = ["made"]


@contextmanager
def made(path: Path, *, mode: int = 0o600, room: int = 0, other: str = "Name another file.") -> Iterator[BinaryIO]:
    """A new file for the block to write; where that fails nothing is left of it. Raises `Refusal`.

    `mode` as the umask permits it. `room`: bytes that are set aside before anything is done; what the block orders
    cannot be taken back where its answer finds no room. `other`: how to have it written elsewhere.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, mode)
    except FileExistsError as error:
        raise Refusal(f"{path} is there already", hint=f"Nothing was written. {other}") from error
    except OSError as error:
        raise _unwritten(path, error, other) from error
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 - of a descriptor
            with _told(path, other):
                reserve(file.fileno(), room)
            yield file
            with _told(path, other):
                file.flush()
                file.truncate()  # what was set aside and not needed
    except BaseException as error:
        with suppress(OSError):  # a part of it would keep the next try from its name
            path.unlink()
        if isinstance(error, OSError) and error.errno in NO_ROOM | FAILED:
            raise _unwritten(path, error, other) from error
        raise


@contextmanager
def _told(path: Path, other: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritten(path, error, other) from error


def _unwritten(path: Path, error: OSError, other: str) -> Refusal:
    room = "Make room there. Or: " if error.errno in NO_ROOM else ""
    return Refusal(f"{path} cannot be written: {error.strerror}", hint=f"Nothing was written. {room}{other}")
