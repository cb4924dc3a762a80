"""Where the command line gets its answers: from the daemon where one runs, else from the state folder itself."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer

from agent.cli import configuration
from agent.cli.daemon import Daemon
from agent.cli.owner import as_owner
from agent.errors import Refusal

if TYPE_CHECKING:
    from agent.config import Config

__all__ = ["START", "Source", "daemon_of", "order", "source", "source_of"]

START: Final = "Start the daemon: systemctl start evidock (by hand: evidock run)."
"""What to do where nobody answers."""

_STARTING: Final = 3.0
"""Seconds that a daemon may hold the lock before its socket is there."""


class Source(Protocol):
    """One station that can be asked. Answers are those of `agent.station.views` and `agent.station.live`."""

    running: bool
    """Whether the daemon answers."""

    def status(self) -> dict[str, Any]:
        """Everything at one look."""

    def devices(self) -> dict[str, Any]:
        """`here`: seen since the start of the daemon; `devices`: all that captures were taken of."""

    def captures(
        self,
        *,
        limit: int = 100,
        before: int | None = None,
        drills: bool = False,
        **wanted: str | None,
    ) -> dict[str, Any]:
        """A page of captures, newest first. `wanted`: standing, device, officer, incident, unit, since."""

    def capture(self, beginning: str) -> dict[str, Any]:
        """One capture and its story."""

    def act(self, verb: str, beginning: str, *, why: str, priority: str | None = None) -> dict[str, Any]:
        """Order something of a capture."""

    def assign(self, rows: list[dict[str, Any]], *, why: str) -> dict[str, Any]:
        """Say whose devices are, all or none: see `agent.joining.assigning.assign`."""

    def assigned(self, names: list[str]) -> dict[str, Any]:
        """Whose a device is now, by any of its names, and the last words about that."""

    def head(self) -> dict[str, Any]:
        """Name, size and root of the custody log."""

    def entries(self, *, first: int | None = None, limit: int = 20) -> dict[str, Any]:
        """Entries of the custody log."""

    def leaves(self) -> Iterator[bytes]:
        """Every leaf, byte for byte."""

    def verify(self, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Look through the whole journal."""

    def room(self) -> dict[str, Any]:
        """Bytes on the spool's disk."""

    def dossiers(self, captures: list[str], *, why: str) -> dict[str, Any]:
        """What an export of these captures needs: entries, proofs, receipts, the checkpoint. Bytes are base64.

        That they are asked for becomes an entry about each of them.
        """

    def expected(self, after: int) -> dict[str, Any]:
        """A page of what must lie in the spool."""

    def keepers(self, names: list[str]) -> dict[str, int]:
        """How many captures rest on each of these files."""


def daemon_of(config: "Config") -> Daemon | None:
    """The daemon, where one answers. `Refusal` where it may not be asked."""
    daemon = Daemon(config.station.control)
    return daemon if daemon.answers() else None


def order(
    ctx: typer.Context, family: str, word: str, arguments: Mapping[str, object], *, driver: str | None = None
) -> Any:  # noqa: ANN401 - what a driver answers is its own
    """Say something to the driver of a family: `evidock.commands` are made with it. See `agent.driver.TakesOrders`.

    `family` is how its `use` begins, such as `interview_room.`; `driver` its name, where there is more than one.
    """
    config = configuration(ctx)
    ours = [str(table.get("name")) for table in config.driver if str(table.get("use", "")).startswith(family)]
    if not ours:
        raise Refusal(
            f"agent.toml has no driver for this: no [[driver]] whose `use` begins with {family}",
            hint="Nothing was changed. What there is: evidock driver list. Another file: evidock --config FILE.",
        )
    found = [name for name in ours if driver in (None, name)]
    if len(found) != 1:
        how = "say which driver is meant" if driver is None else f"no driver for this is named {driver}"
        hint = "Nothing was changed. Name one of them: --driver NAME, of rooms --room NAME."
        raise Refusal(f"{how}; agent.toml has {', '.join(ours)}", hint=hint)
    if (daemon := daemon_of(config)) is None:
        raise Refusal("no daemon runs, and nobody else can tell the driver", hint=START)
    return daemon.order(found[0], word, arguments)


@contextmanager
def source(ctx: typer.Context) -> Iterator[Source]:
    """Ask the daemon, or open the journal where none runs. The same answers, the same acts."""
    with source_of(configuration(ctx)) as found:
        yield found


@contextmanager
def source_of(config: "Config") -> Iterator[Source]:
    """The same for a configuration that was read already."""
    if (daemon := daemon_of(config)) is not None:
        yield daemon
        return
    _look_at(config.station.state)
    with as_owner(config.station.state):
        until = time.monotonic() + _STARTING
        while True:
            try:
                with _folder(config) as folder:
                    yield folder
            except _Busy as busy:
                if (daemon := daemon_of(config)) is not None:
                    yield daemon
                elif time.monotonic() < until:
                    time.sleep(0.1)
                    continue
                else:
                    raise busy.refusal from None
            return


class _Busy(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__()
        self.refusal = refusal


@contextmanager
def _folder(config: "Config") -> Iterator[Source]:
    from agent.cli.folder import Folder  # noqa: PLC0415 - half of the agent comes with it
    from agent.process import locked  # noqa: PLC0415

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(config.station.state))
        except Refusal as refusal:
            raise _Busy(refusal) from refusal
        yield stack.enter_context(Folder.opened(config))


def _look_at(state: Path) -> None:
    try:
        if (state / "journal.db").stat():
            return
    except FileNotFoundError:
        raise Refusal(f"nothing was ever taken here: there is no journal in {state}", hint=START) from None
    except PermissionError:
        raise Refusal(
            f"no daemon runs, and you may not look into {state}",
            hint=f"{START} Or run this as root or as the daemon's user.",
        ) from None
    except OSError as error:
        raise Refusal(
            f"{state} cannot be looked into: {error.strerror}", hint="Is it the right one? station.state names it."
        ) from error
