"""Azurite, Microsoft's own server of Azure's blob protocol, for as long as tests run; and addresses that it takes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import signal
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from agent.testing.ports import free_port

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM: Final = (
    Path(__file__).parents[1] / "interop" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
)
ACCOUNT: Final = "agencystore"
KEY: Final = base64.b64encode(b"k" * 64).decode()
VERSION: Final = "2020-12-06"


def missing() -> str | None:
    """Why it cannot run here."""
    if shutil.which("node") is None:
        return "node (Debian: nodejs) is not here"
    return None if PROGRAM.exists() else "Azurite is not installed: make peers"


class Azurite:
    """One server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()

    def __enter__(self) -> Self:
        words = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--disableProductStyleUrl"]
        environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
        with (self._folder / "azurite.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["node", PROGRAM, "--blobPort", str(self.port), *words],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        for _ in range(1200):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            assert self._process.poll() is None, (self._folder / "azurite.log").read_text()
            time.sleep(0.1)
        raise AssertionError("Azurite did not come up")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def blob_sas(container: str, blob: str, *, permits: str, seconds: float) -> str:
    """A service SAS (learn.microsoft.com, Create a service SAS, version 2020-12-06 and later)."""
    until = _time(seconds)
    resource = f"/blob/{ACCOUNT}/{container}/{blob}"
    fields = [permits, "", until, resource, "", "", "", VERSION, "b", "", "", "", "", "", "", ""]
    query = {"sv": VERSION, "sr": "b", "sp": permits, "se": until, "sig": _signed(fields)}
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def account_sas() -> str:
    """An account SAS that permits everything (Create an account SAS)."""
    until = _time(3600)
    fields = [ACCOUNT, "rwdlac", "b", "sco", "", until, "", "", VERSION, "", ""]
    query = {"sv": VERSION, "ss": "b", "srt": "sco", "sp": "rwdlac", "se": until, "sig": _signed(fields)}
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())


def _time(seconds: float) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def _signed(fields: list[str]) -> str:
    text = "\n".join(fields).encode()
    return base64.b64encode(hmac.digest(base64.b64decode(KEY), text, hashlib.sha256)).decode()
