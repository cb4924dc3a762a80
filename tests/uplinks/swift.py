"""OpenStack Swift with its s3api, a real object store of other authors, for as long as the tests run.

`make peers` installs it into an environment of its own (tests/interop/stores.lock); one device, one replica, below a
scratch folder. It refuses bytes with a wrong SHA-256, keeps no locks, and answers over plain HTTP.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from agent.testing.ports import free_port

if TYPE_CHECKING:
    from types import TracebackType

HOME = Path(__file__).parents[1] / "interop" / "stores"
KEYS = "ev:agent:secrettest"
_SERVERS = ("object", "container", "account")
_FILTERS = {
    "catch_errors": "",
    "gatekeeper": "",
    "healthcheck": "",
    "listing_formats": "",
    "bulk": "",
    "s3api": "s3_acl = no\nallow_multipart_uploads = true\nlocation = us-east-1\ncheck_bucket_owner = false\n"
    "storage_domain = localhost",
    "tempauth": "user_ev_agent = secrettest .admin",
    "slo": "",
    "dlo": "",
    "versioned_writes": "allow_versioned_writes = true\nallow_object_versioning = true",
    "symlink": "",
}
_PIPELINE = (
    "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo versioned_writes "
    "symlink proxy-server"
)
_RINGS = """
import json, sys
from swift.common.ring import RingBuilder
for path, port in json.loads(sys.argv[1]).items():
    ring = RingBuilder(8, 1, 0)
    ring.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1.0})
    ring.rebalance(seed="evidock")
    ring.get_ring().save(path)
"""


def missing() -> str | None:
    """Why it cannot run here."""
    if not (HOME / "bin" / "swift-proxy-server").exists():
        return "OpenStack Swift is not installed: make peers"
    if shutil.which("memcached") is None:
        return "memcached (Debian: memcached) is not here"
    return None


class Swift:
    """One store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports = {name: free_port() for name in (*_SERVERS, "proxy", "cache")}

    @property
    def port(self) -> int:
        return self._ports["proxy"]

    def __enter__(self) -> Self:
        etc, srv = self._folder / "etc", self._folder / "srv"
        etc.mkdir(parents=True)
        (srv / "d1").mkdir(parents=True)
        (etc / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = a\nswift_hash_path_prefix = b\n"
            "[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        self._start(["memcached", "-u", "root", "-l", "127.0.0.1", "-p", str(self._ports["cache"])])
        self._rings(etc)
        for name in _SERVERS:
            (etc / f"{name}-server.conf").write_text(
                f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self._ports[name]}\ndevices = {srv}\n"
                f"mount_check = false\ndisable_fallocate = true\nworkers = 0\nuser = root\nswift_dir = {etc}\n"
                f"[pipeline:main]\npipeline = {name}-server\n[app:{name}-server]\nuse = egg:swift#{name}\n"
            )
        filters = "".join(f"[filter:{name}]\nuse = egg:swift#{name}\n{words}\n" for name, words in _FILTERS.items())
        (etc / "proxy-server.conf").write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {self.port}\nworkers = 0\nuser = root\nswift_dir = {etc}\n"
            f"[pipeline:main]\npipeline = {_PIPELINE}\n[app:proxy-server]\nuse = egg:swift#proxy\n"
            f"account_autocreate = true\n{filters}"
            f"[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{self._ports['cache']}\n"
        )
        for name in (*_SERVERS, "proxy"):
            self._start([str(HOME / "bin" / f"swift-{name}-server"), str(etc / f"{name}-server.conf")])
        for port in self._ports.values():
            self._until_answers(port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait()

    def _rings(self, etc: Path) -> None:
        """One device each, all in one process: swift-ring-builder takes three starts for each of them."""
        known = {str(etc / f"{name}.ring.gz"): self._ports[name] for name in _SERVERS}
        words = [str(HOME / "bin" / "python3"), "-c", _RINGS, json.dumps(known)]
        done = subprocess.run(words, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _start(self, words: list[str]) -> None:
        log = (self._folder / f"{Path(words[0]).name}.log").open("wb")
        with log:
            environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
            self._processes.append(
                subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
            )

    def _until_answers(self, port: int) -> None:
        for _ in range(600):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    return
            for process in self._processes:
                if process.poll() is not None:
                    words = "".join(path.read_text(errors="replace") for path in self._folder.glob("*.log"))
                    raise AssertionError(f"{process.args} ended: {words[-3000:]}")
            time.sleep(0.1)
        raise AssertionError("Swift did not come up")
