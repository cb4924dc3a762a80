"""A real mosquitto of Debian for tests: started, killed, restarted without what it knew, with certificates and rules.

async with Mosquitto(tmp_path / "broker") as broker:
    session = Session(broker.options(), name="bench", topics=[Subscription("a/#")])
    await broker.kill()             # as a power cut: what it did not write is lost
    await broker.start()            # at the same port
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from agent.mqtt import BrokerOptions
from agent.testing.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["Mosquitto", "mosquitto_program"]

_PATIENCE = 30.0
_PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"


def mosquitto_program() -> str | None:
    """Where mosquitto is, None where it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_PLACES)


@dataclass
class Mosquitto:
    """One broker on loopback, below a folder."""

    folder: Path
    settings: Sequence[str] = ()
    """More lines of mosquitto.conf, such as `max_queued_messages 10`."""
    acl: Sequence[str] | None = None
    """Lines of its rules; None: everybody may do everything."""
    tls: bool = False
    """Speak TLS alone, and ask each client for a certificate of `authority`, whose CN is its user name."""
    port: int = field(default_factory=free_port)
    process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        """What the broker said so far."""
        path = self.folder / "mosquitto.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """Its process."""
        if self.process is None:
            raise RuntimeError("the broker does not run")
        return self.process.pid

    def options(self, **more: Any) -> BrokerOptions:  # noqa: ANN401 - fields of BrokerOptions
        """How to reach it. With TLS, `identity="station-1"` makes a certificate of that name and shows it."""
        identity = more.pop("identity", None)
        base: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "tls": self.tls}
        if self.tls:
            base["ca_file"] = self.folder / "ca.pem"
        if identity is not None:
            base["client_cert"] = self.certificate(identity)
        return BrokerOptions.model_validate(base | more)

    def certificate(self, name: str) -> Path:
        """A client's certificate and key in one file; its CN is `name`."""
        path = self.folder / f"client-{name}.pem"
        if not path.exists():
            issued = self._authority.issue_cert(f"{name}.example.org", common_name=name)
            path.touch(mode=0o600)
            path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
        return path

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, forget: bool = False) -> None:
        """Start it and wait until it listens. `forget`: without what it had kept."""
        program = mosquitto_program()
        if program is None:
            raise RuntimeError("mosquitto is not installed")
        self.folder.mkdir(parents=True, exist_ok=True)
        if forget:
            (self.folder / "mosquitto.db").unlink(missing_ok=True)
        (self.folder / "mosquitto.conf").write_text("\n".join(self._lines()) + "\n", "utf-8")
        with (self.folder / "mosquitto.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                program, "-v", "-c", str(self.folder / "mosquitto.conf"), stdin=None, stdout=log, stderr=log
            )
        async with asyncio.timeout(_PATIENCE):
            while not await self._listens():
                if self.process.returncode is not None:
                    raise RuntimeError(f"mosquitto ended: {self.log[-2000:]}")
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """End it in order: it writes what it keeps."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a power cut does."""
        await self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: connections stand, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
                self.process.send_signal(signal.SIGCONT)
            await self.process.wait()
        self.process = None

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _lines(self) -> list[str]:
        lines = [
            "per_listener_settings false",
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.folder}/",
            "set_tcp_nodelay true",
            "log_dest stderr",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # it would give up root, and could not write below a test's folder
        if self.tls:
            self._make_server_certificate()
            lines += [
                f"cafile {self.folder}/ca.pem",
                f"certfile {self.folder}/server.pem",
                f"keyfile {self.folder}/server.key",
                "require_certificate true",
                "use_identity_as_username true",
            ]
        else:
            lines.append("allow_anonymous true")
        if self.acl is not None:
            path = self.folder / "acl"
            path.write_text("\n".join(self.acl) + "\n", "utf-8")
            path.chmod(0o700)
            lines.append(f"acl_file {path}")
        return [*lines, *self.settings]

    # -- certificates ------------------------------------------------------------------------------------------------

    @property
    def _authority(self) -> Any:  # noqa: ANN401 - trustme is wanted by tests alone, and imported where they run
        import trustme  # noqa: PLC0415

        own, key = self.folder / "ca.pem", self.folder / "ca.key"
        if own.exists():
            return trustme.CA.from_pem(own.read_bytes(), key.read_bytes())
        self.folder.mkdir(parents=True, exist_ok=True)
        made = trustme.CA(organization_name="Evidock test broker")
        own.write_bytes(made.cert_pem.bytes())
        key.write_bytes(made.private_key_pem.bytes())
        return made

    def _make_server_certificate(self) -> None:
        if (self.folder / "server.pem").exists():
            return
        issued = self._authority.issue_cert("127.0.0.1", "localhost", "broker.example.org")
        (self.folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        (self.folder / "server.key").write_bytes(issued.private_key_pem.bytes())
