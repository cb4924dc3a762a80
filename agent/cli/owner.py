"""Acting as the owner of a folder where root acts: files of root would keep the daemon from its own state."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["acting_as", "as_owner", "closed_above"]


def closed_above(path: Path) -> Path | None:
    """The folder in which this would have to be made, where nothing can be made in it by whoever asks."""
    above = next(one for one in path.absolute().parents if one.exists())
    able = above.is_dir() and os.access(above, os.W_OK | os.X_OK, effective_ids=True)
    return None if able else above


@contextmanager
def as_owner(folder: Path) -> Iterator[None]:
    """Where root looks, look as the folder's owner."""
    there = folder.stat()
    if os.geteuid() != 0 or there.st_uid == 0:
        yield
        return
    with acting_as(there.st_uid, there.st_gid):
        yield


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Be this user for a while, with the groups that it has; only root can."""
    try:
        groups = os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:
        groups = [gid]
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)
