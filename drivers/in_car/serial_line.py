"""One serial line: opened by pyserial, read and written without ever holding up the event loop. The door to pyserial.

A line that is pulled out, or whose adapter is, is `DeviceGone` at the next reading or writing. It is opened for us
alone, so that two programs do not share what a device says.
"""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import serial
from pydantic import Field

from agent.errors import DeviceError, DeviceGone, DeviceRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["BAUDS", "Port", "SerialLine", "serial_line"]

Port: TypeAlias = Annotated[str, Field(pattern=r"^/[!-~]{1,250}$")]
"""Where a line is: `/dev/evidock/serial/NAME` or `/dev/serial/by-id/...`. What is `/dev/ttyUSB0` now may be another
line after a restart."""

BAUDS: Final = (300, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
"""Speeds that pyserial can set everywhere."""

_BLOCK: Final = 4096
_WRITE_SECONDS: Final = 2.0
_GONE: Final = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO, errno.ENOTDIR})


class SerialLine:
    """See `serial_line`, which makes one."""

    def __init__(self, port: serial.Serial) -> None:
        self._port = port
        self._fd: int = port.fileno()

    @property
    def path(self) -> str:
        """As it was opened."""
        return str(self._port.port)

    async def read(self, seconds: float) -> bytes:
        """What is there, or comes within the time; nothing where nothing comes. Raises `DeviceGone`."""
        if not await self._ready(seconds, write=False):
            return b""
        try:
            found = os.read(self._fd, _BLOCK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise _translated(self.path, error) from error
        if not found:
            raise DeviceGone(f"the line {self.path} was taken away")
        return found

    async def write(self, data: bytes) -> None:
        """All of it is handed to the line. Raises `DeviceGone`, or `DeviceRefused` where the other side holds it up."""
        left = memoryview(data)
        while left:
            if not await self._ready(_WRITE_SECONDS, write=True):
                self.forget()
                raise DeviceRefused(f"{self.path} takes no data: its other side holds up the flow (CTS)")
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise _translated(self.path, error) from error

    def set_speed(self, baud: int) -> None:
        """Go on at this speed; what arrived at another one is forgotten. Raises `DeviceGone`."""
        try:
            self._port.baudrate = baud
        except (serial.SerialException, OSError, termios.error) as error:
            raise _translated(self.path, error) from error
        self.forget()

    def forget(self) -> None:
        """What arrived and was not read, and what was written and has not left, is gone."""
        with suppress(termios.error):
            termios.tcflush(self._fd, termios.TCIOFLUSH)

    async def _ready(self, seconds: float, *, write: bool) -> bool:
        loop = asyncio.get_running_loop()
        add: Callable[..., None] = loop.add_writer if write else loop.add_reader
        remove: Callable[..., bool] = loop.remove_writer if write else loop.remove_reader
        ready: asyncio.Future[None] = loop.create_future()
        add(self._fd, _settle, ready)
        try:
            async with asyncio.timeout(seconds):
                await ready
        except TimeoutError:
            return False
        finally:
            remove(self._fd)
        return True

    async def close(self) -> None:
        """Let go of it. Closing waits in the kernel for what was written, so what has not left is dropped first."""
        self.forget()
        await asyncio.shield(asyncio.to_thread(self._port.close))


@asynccontextmanager
async def serial_line(
    path: str, baud: int, *, parity: str = "none", flow_control: bool = False
) -> AsyncIterator[SerialLine]:
    """A line of 8 data bits and one stop bit for as long as the block lasts. `DeviceGone`, `DeviceRefused`.

    `parity`: `none`, `even`, `odd`. `flow_control`: RTS/CTS.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(_opened, path, baud, parity=parity, flow_control=flow_control))
    try:
        port = await asyncio.shield(opening)
    except asyncio.CancelledError:
        # The thread opens it all the same, and nobody else would close it.
        opening.add_done_callback(_closed)
        raise
    line = SerialLine(port)
    try:
        yield line
    finally:
        await line.close()


def _opened(path: str, baud: int, *, parity: str, flow_control: bool) -> serial.Serial:
    try:
        return serial.Serial(
            path,
            baud,
            parity=parity[0].upper(),
            timeout=0,
            write_timeout=0,
            rtscts=flow_control,
            exclusive=True,
        )
    except (serial.SerialException, OSError, ValueError, termios.error) as error:
        raise _translated(path, error) from error


def _closed(opening: asyncio.Future[serial.Serial]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _translated(path: str, error: BaseException) -> DeviceError:
    number = getattr(error, "errno", None)
    if isinstance(error, termios.error) and error.args and isinstance(error.args[0], int):
        number = error.args[0]
    if number in _GONE:
        return DeviceGone(f"no device is at the line {path}", hint="Plug it in; evidock check tells which lines exist.")
    if number in (errno.EACCES, errno.EPERM):
        todo = "Let the daemon open it: see the drop-in serial.conf, and udevadm info for its group."
        return DeviceRefused(f"the line {path} may not be opened", hint=todo)
    if number in (errno.EBUSY, errno.EAGAIN):
        todo = "One line is for one program: stop the other (fuser tells which), or let gpsd have it and ask gpsd."
        return DeviceRefused(f"another program has the line {path}", hint=todo)
    return DeviceRefused(
        f"the line {path} cannot be used: {error}", hint="Is it a serial line? evidock check lists them."
    )
