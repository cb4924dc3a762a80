"""The few system calls that touch captures on a device: the one place where an emulator puts its faults."""

from __future__ import annotations

import os
import subprocess

__all__ = ["Wire"]

REMOUNT_SECONDS = 30.0


class Wire:
    """The real thing. Every call blocks and is made in a worker thread; every failure is an `OSError`."""

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """At most `length` bytes from `offset` on; fewer where the device gives fewer, none at the end."""
        return os.pread(fd, length, offset)

    def forget(self, fd: int, offset: int = 0, length: int = 0) -> None:
        """Drop the file's pages from memory, so that the next read asks the device. Length 0: to the end.

        Without it a file that was just read is read "again" from memory, even with the device gone.
        """
        os.posix_fadvise(fd, offset, length, os.POSIX_FADV_DONTNEED)

    def unlink(self, name: bytes, folder: int) -> None:
        """Take one name out of an open folder."""
        os.unlink(name, dir_fd=folder)

    def sync(self, folder: int) -> None:
        """Force a folder to the device.

        On FAT this alone makes a deletion last: after `unlink` without it, and after `syncfs`, which never flushes
        the device's own cache, the file was back after a power cut.
        """
        os.fsync(folder)

    def remount(self, mount_point: str, how: str) -> str:
        """Remount `ro` or `rw`; what `mount` complained of, or nothing where it succeeded."""
        # The program, not the system call: it may be a helper that was given the right, and it knows the mount's
        # options.
        done = subprocess.run(  # noqa: S603 - fixed program, no shell; the mount point comes from the kernel
            ["/bin/mount", "-o", f"remount,{how}", mount_point],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=REMOUNT_SECONDS,
            check=False,
            text=True,
            errors="replace",
        )
        return "" if done.returncode == 0 else (done.stderr.strip() or f"mount ended with {done.returncode}")
