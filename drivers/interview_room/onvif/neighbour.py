"""Who is at the other end of a connection on loopback: a program of this service, or somebody else's.

An address on loopback is open to every user of the machine. The kernel's table of TCP sockets tells whose each one is
(proc(5), `/proc/net/tcp`): of both ends of such a connection, as both are here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

__all__ = ["is_ours"]

_TABLE: Final = Path("/proc/self/net/tcp")
_LOCAL, _REMOTE, _USER, _INODE = 1, 2, 7, 9


def is_ours(writer: asyncio.StreamWriter) -> bool:
    """Whether a process of this user holds the other end of an accepted IPv4 connection on loopback.

    An end that is closed already belongs to nobody: the kernel shows it without an inode, and it is not ours.
    """
    theirs, ours = _hex(writer.get_extra_info("peername")), _hex(writer.get_extra_info("sockname"))
    with _TABLE.open(encoding="ascii") as table:
        for line in table:
            words = line.split()
            if words[_LOCAL] == theirs and words[_REMOTE] == ours:
                return words[_INODE] != "0" and words[_USER] == str(os.getuid())
    return False


def _hex(address: tuple[str, int] | None) -> str:
    """An address as the table writes it: the four bytes as one number of this machine's byte order."""
    if address is None:
        return ""
    host, port = address
    number = bytes(int(part) for part in host.split("."))
    return f"{int.from_bytes(number, sys.byteorder):08X}:{port:04X}"
