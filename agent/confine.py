"""A process gives up, for good, all that it does not need to read files and unlink them: the kernel then refuses it.

seccomp(2) by way of prctl(2): no rights are asked for, and nothing can be taken back. Afterwards there is no new
socket, no file opened for writing or made, no renaming, linking or changing of rights, no other program and no mount.
What is left is to read, to unlink, to force, and to answer on descriptors that were open before.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
from contextlib import suppress
from types import MappingProxyType
from typing import Final

__all__ = ["confine"]

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_MODE_FILTER: Final = 2
_ALLOW: Final = 0x7FFF0000
_EPERM: Final = 0x00050000 | 1
_NR, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_WRITING: Final = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC

_X86_64: Final = """
    socket=41 connect=42 bind=49 listen=50 socketpair=53 execve=59 ptrace=101 truncate=76 ftruncate=77
    rename=82 mkdir=83 rmdir=84 creat=85 link=86 symlink=88 chmod=90 fchmod=91 chown=92 fchown=93
    lchown=94 mknod=133 pivot_root=155 chroot=161 mount=165 umount2=166 init_module=175 setxattr=188
    lsetxattr=189 fsetxattr=190 keyctl=250 mkdirat=258 mknodat=259 fchownat=260 renameat=264 linkat=265
    symlinkat=266 fchmodat=268 unshare=272 fallocate=285 perf_event_open=298 open_by_handle_at=304
    setns=308 process_vm_writev=311 finit_module=313 renameat2=316 kexec_file_load=320 bpf=321
    execveat=322
"""
_AARCH64: Final = """
    setxattr=5 lsetxattr=6 fsetxattr=7 mknodat=33 mkdirat=34 symlinkat=36 linkat=37 renameat=38
    umount2=39 mount=40 pivot_root=41 truncate=45 ftruncate=46 fallocate=47 chroot=51 fchmod=52
    fchmodat=53 fchownat=54 fchown=55 unshare=97 init_module=105 ptrace=117 socket=198 socketpair=199
    bind=200 listen=201 connect=203 keyctl=219 execve=221 perf_event_open=241 open_by_handle_at=265
    setns=268 process_vm_writev=271 finit_module=273 renameat2=276 bpf=280 execveat=281
    kexec_file_load=294
"""
_SINCE_5: Final = (425, 428, 429, 430, 432, 437, 452)
"""On every machine: io_uring_setup, open_tree, move_mount, fsopen, fsmount, openat2, fchmodat2."""
_MACHINES: Final = MappingProxyType(
    # AUDIT_ARCH of <linux/audit.h>, calls, and the numbers of open and openat with the argument that holds the flags
    {"x86_64": (0xC000003E, _X86_64, ((2, 1), (257, 2))), "aarch64": (0xC00000B7, _AARCH64, ((56, 2),))}
)


def confine() -> None:
    """Give it all up. `OSError` where this kernel or machine cannot hold us to it; then nothing has changed for us."""
    if platform.machine() not in _MACHINES:
        raise OSError(f"it is not known how to confine a process on {platform.machine()}")
    with suppress(OSError, ValueError):  # a unit may have set it, and forbid the call
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code = _program(*_MACHINES[platform.machine()])
    kept = ctypes.create_string_buffer(code, len(code))
    filter_ = struct.pack("@HP", len(code) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in (
        (_PR_SET_DUMPABLE, 0, 0, 0, 0),
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(filter_), 0, 0),
    ):
        if libc.prctl(*(ctypes.c_ulong(word) if isinstance(word, int) else word for word in words)) != 0:
            raise OSError(ctypes.get_errno(), "the kernel does not confine this process")


def _program(arch: int, calls: str, opens: tuple[tuple[int, int], ...]) -> bytes:
    """The filter (classic BPF): everything but these calls is allowed, opening only for reading."""
    numbers = [int(one.partition("=")[2]) for one in calls.split()]
    steps = [
        _step(_LOAD, _ARCH),
        _step(_EQUAL, arch, 1, 0),
        _step(_RETURN, _EPERM),
        _step(_LOAD, _NR),
        _step(_AT_LEAST, 0x40000000, 0, 1),  # x86's second set of numbers
        _step(_RETURN, _EPERM),
    ]
    for number in (*numbers, *_SINCE_5):
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _EPERM)]
    for number, argument in opens:
        steps += [
            _step(_EQUAL, number, 0, 4),
            _step(_LOAD, _ARGUMENTS + 8 * argument),  # the lower half: both machines are little-endian
            _step(_ANY_BIT, _WRITING, 0, 1),
            _step(_RETURN, _EPERM),
            _step(_RETURN, _ALLOW),
        ]
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
