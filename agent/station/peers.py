"""Who is at the other end of the Unix socket: the kernel's word, which no program can forge."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio.trsock import TransportSocket

__all__ = ["GROUP", "Peer", "me", "peer_of"]

GROUP: Final = "evidock"
"""Members of this group may act; whoever can open the socket may look."""

_SO_PEERGROUPS: Final = 59
_CREDENTIALS: Final = struct.Struct("3i")
_GROUPS_MAX: Final = 65536


@dataclass(frozen=True, slots=True)
class Peer:
    """One process, as the kernel knows it."""

    uid: int
    groups: frozenset[int]

    @property
    def actor(self) -> str:
        """How this person stands in the journal: `user:anna(1000)`. Looks the name up, which may take a while."""
        try:
            name = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            name = "?"
        return f"user:{name}({self.uid})"

    def may_act(self, group: str = GROUP) -> bool:
        """Whether this is root, the user that the daemon runs as, or a member of the group."""
        if self.uid in (0, os.geteuid()):
            return True
        try:
            return grp.getgrnam(group).gr_gid in self.groups
        except KeyError:
            return False


def me() -> Peer:
    """Our own process: the real user, whatever rights it was started with."""
    return Peer(os.getuid(), frozenset({os.getgid(), *os.getgroups()}))


def peer_of(connection: socket.socket | TransportSocket) -> Peer:
    """Who connected, as of then (unix(7), SO_PEERCRED; supplementary groups: SO_PEERGROUPS)."""
    _, uid, gid = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return Peer(uid, frozenset({gid, *_groups(connection.fileno())}))


def _groups(connection: int) -> list[int]:
    """The supplementary groups. Python's own `getsockopt` takes 1024 bytes at most, and some people are in more."""
    found, length = (ctypes.c_uint32 * _GROUPS_MAX)(), ctypes.c_uint32(4 * _GROUPS_MAX)
    libc = ctypes.CDLL(None)
    if libc.getsockopt(connection, socket.SOL_SOCKET, _SO_PEERGROUPS, found, ctypes.byref(length)) != 0:
        return []  # a kernel before 4.13
    return found[: length.value // 4]
