"""A real chronyd, which steers nothing here, says when it last set its clock by another one: it becomes our word."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from agent.clock import Clock
from agent.machine.keeper import chrony, of_chrony
from agent.testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHRONYD = shutil.which("chronyd", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def chronyd(folder: Path, *lines: str) -> Iterator[int]:
    """One that sets no clock (-x); the port of its commands."""
    folder.mkdir()
    port = free_port(socket.SOCK_DGRAM)
    told = [f"cmdport {port}", "bindcmdaddress 127.0.0.1", "bindcmdaddress /", f"pidfile {folder}/pid", *lines]
    (folder / "chrony.conf").write_text("\n".join(told) + "\n")
    words = [CHRONYD or "", "-x", "-d", "-U", "-u", "root", "-f", str(folder / "chrony.conf")]
    with (folder / "log").open("wb") as log, subprocess.Popen(words, stdout=log, stderr=log) as process:
        try:
            yield port
        finally:
            process.terminate()


@pytest.mark.skipif(CHRONYD is None or shutil.which("chronyc") is None, reason="chrony is not installed")
def test_chronyd_says_when_it_was_set_right_last(tmp_path: Path) -> None:
    source = free_port(socket.SOCK_DGRAM)
    serving = (f"port {source}", "bindaddress 127.0.0.1", "allow 127.0.0.1", "local stratum 5")
    follows = ("port 0", f"server 127.0.0.1 port {source} iburst minpoll -2 maxpoll -2 minsamples 4")
    began = datetime.now(UTC)
    with chronyd(tmp_path / "server", *serving), chronyd(tmp_path / "client", *follows) as port:
        ends, found = time.monotonic() + 60, None
        while (found is None or found.synced_at is None or found.source is None) and time.monotonic() < ends:
            time.sleep(0.2)
            found = chrony("-h", "127.0.0.1", "-p", str(port))
        assert found is not None, (tmp_path / "client" / "log").read_text()
        assert (found.program, found.source, found.stratum) == ("chronyd", "127.0.0.1", 6)
        assert found.synced_at is not None
        assert began - timedelta(seconds=5) < found.synced_at < datetime.now(UTC) + timedelta(seconds=5)
    clock = Clock(told=tmp_path / "none", timesyncd=tmp_path / "none")
    clock.heard(found.synced_at)
    assert clock.stamp().last_sync_at == found.synced_at
    clock.heard(found.synced_at - timedelta(days=1))
    clock.heard(None)
    assert clock.stamp().last_sync_at == found.synced_at


@pytest.mark.parametrize("at", ["0.000000000", "-1.5", "1e300", "nan", "soon"])
def test_a_time_that_nobody_can_mean_is_none(at: str) -> None:
    found = of_chrony(f"C0A80101,192.168.1.1,3,{at},0.000234,0,0,0,0,0,0,0,64.2,Normal")
    assert found is not None
    assert (found.source, found.synced_at) == ("192.168.1.1", None)
