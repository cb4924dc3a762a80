"""The emulated DEMS in the process that uses it: `async with EmulatedDems(folder) as dems`, on a port of its own."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

from agent.testing.dems.certificates import Certificates, make_certificates, server_context
from agent.testing.dems.core import Core, Entry
from agent.testing.dems.options import DemsOptions
from agent.testing.dems.resumable import CAPTURES_PATH, ResumableServer
from agent.testing.dems.server import CREATION_PATH, TusServer
from agent.testing.dems.stamping import TSA_PATH
from agent.testing.dems.views import Views

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from agent.testing.dems.uploads import Violation

__all__ = ["EmulatedDems", "make_app"]

_SWEEP_EVERY: Final = 30.0
_FIELD_MAX: Final = 32768  # bytes of one header: a device's name and key may need 12 KiB in base64
_READ_AHEAD: Final = 1 << 18
_READ_WHOLE_MAX: Final = 16384  # bytes of a body that is read at once; those of uploads never are


def make_app(core: Core) -> web.Application:
    """Return the whole DEMS as an aiohttp application."""
    app = web.Application(client_max_size=_READ_WHOLE_MAX)
    Views(core).add_routes(app)  # before tus, for /evidence/index.json is no upload
    TusServer(core).add_routes(app)
    ResumableServer(core).add_routes(app)
    core.witness.add_routes(app)
    if core.authority is not None:
        core.authority.add_routes(app)
    return app


class EmulatedDems:
    """A DEMS on loopback. Give `DemsOptions` fields by name, such as `tls=True` or `receipts=False`."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time, **options: Any) -> None:  # noqa: ANN401
        self.options = DemsOptions(folder=folder, **options)
        self._clock = clock
        self._stack = AsyncExitStack()
        self._core: Core | None = None
        self._certificates: Certificates | None = None
        self.url = ""
        """The creation URL."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._core = Core(self.options, clock=self._clock)
            stack.callback(self._core.close)
            runner = web.AppRunner(
                make_app(self._core),
                access_log=None,
                auto_decompress=False,  # bytes are kept as they come
                max_field_size=_FIELD_MAX,
                read_bufsize=_READ_AHEAD,
                shutdown_timeout=1.0,
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            self.url = await self._listen(runner)
            sweeping = asyncio.create_task(self._sweep(self._core))
            stack.push_async_callback(_cancelled, sweeping)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _listen(self, runner: web.AppRunner) -> str:
        options, context = self.options, None
        if options.tls:
            if options.certificate is not None and options.private_key is not None:
                self._certificates = Certificates(None, options.certificate, options.private_key)
            else:
                self._certificates = make_certificates(options.folder / "tls", options.host)
            context = server_context(self._certificates)
        site = web.TCPSite(runner, options.host, options.port, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        return f"{'https' if options.tls else 'http'}://{host}:{port}{CREATION_PATH}"

    async def _sweep(self, core: Core) -> None:
        while True:
            await core.sweep()
            await asyncio.sleep(_SWEEP_EVERY)

    @property
    def core(self) -> Core:
        """The DEMS behind the wire, while it runs."""
        if self._core is None:
            raise RuntimeError("this DEMS was not started")
        return self._core

    @property
    def ca_file(self) -> Path | None:
        """What a client must trust, where the certificate was made here."""
        return None if self._certificates is None else self._certificates.ca_file

    @property
    def receipt_vkey(self) -> str:
        """The public half of the receipt key; empty where no receipts are signed."""
        return "" if self.core.signatory is None else self.core.signatory.vkey

    @property
    def captures_url(self) -> str:
        """The target resource of the IETF's resumable uploads."""
        return self.witness_url + CAPTURES_PATH

    @property
    def witness_vkey(self) -> str:
        """The key that checkpoints are cosigned with."""
        return self.core.witness.vkey

    @property
    def witness_url(self) -> str:
        """The submission prefix of the witness."""
        return self.url.removesuffix(CREATION_PATH)

    @property
    def tsa_url(self) -> str | None:
        """Where time stamps are asked for."""
        return None if self.core.authority is None else self.witness_url + TSA_PATH

    @property
    def tsa_ca_file(self) -> Path | None:
        """What the tokens lead to."""
        return None if self.core.authority is None else self.core.authority.ca_file

    async def add_fault(self, *rules: str) -> None:
        """Put faults in force; `agent.testing.dems.faults` has the grammar."""
        self.core.faults.add(*rules)

    async def clear_faults(self) -> None:
        """Let everything go right again."""
        self.core.faults.clear()

    async def index(self) -> list[Entry]:
        """Return every upload that was ever created, the oldest first."""
        return self.core.entries()

    async def violations(self) -> list[Violation]:
        """Return every complaint, the oldest first."""
        return self.core.store.violations()

    async def receipt(self, capture: str) -> bytes | None:
        """Return the last receipt that was signed for a capture."""
        return self.core.receipt(capture)

    def stored(self, entry: Entry) -> Path:
        """Return the file that holds an upload's bytes."""
        return self.options.folder / entry.file


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
