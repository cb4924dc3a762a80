"""`evidock watch`: the station in one terminal window, as it lives; made for ssh and 80 by 24."""

import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Group
from rich.live import Live

from agent.cli import configuration
from agent.cli.asking import daemon_of
from agent.cli.picture import picture
from agent.cli.telling import console
from agent.errors import AgentError, Refusal

app = typer.Typer(add_completion=False)

_WIDE, _HIGH = 80, 24


@app.command()
def watch(
    ctx: typer.Context,
    *,
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one look, and end.")] = False,
) -> None:
    """Show dock, copies, uploads, backlog, links and alarms as they change, until `q` or an interrupt."""
    config = configuration(ctx)
    screen = console()
    if once or not screen.is_terminal:
        if not once:
            raise Refusal("this needs a terminal", hint="For scripts: evidock status --json. One look: --once.")
        told, captures, bays = _look(config)
        wide = screen.width if screen.is_terminal else _WIDE
        for text in picture(told, captures, bays, width=wide, height=1000):
            sys.stdout.write(text.plain.rstrip() + "\n")
        return
    with _keys() as keys, Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            told, captures, bays = _look(config)
            size = screen.size
            live.update(Group(*picture(told, captures, bays, width=size.width, height=size.height)), refresh=True)
            if keys(every) in ("q", "Q", "\x03", "\x1b"):
                return


_Look: TypeAlias = tuple[dict[str, Any] | None, list[dict[str, Any]], dict[str, Any] | None]
"""(status, the newest captures, bays)."""


def _look(config: Any) -> _Look:  # noqa: ANN401 - Config, without pydantic
    try:
        daemon = daemon_of(config)
        if daemon is None:
            return None, [], None
        return daemon.status(), daemon.captures(limit=10)["captures"], daemon.bays()
    except Refusal:
        raise
    except AgentError:  # it ended while it answered
        return None, [], None


@contextmanager
def _keys() -> Iterator[Any]:
    """What waits so many seconds for a key, and returns it; each key at once, and not at the end of a line."""
    if not sys.stdin.isatty():
        yield _nobody_types
        return
    stream = sys.stdin.fileno()
    before = termios.tcgetattr(stream)
    tty.setcbreak(stream)
    try:
        yield _pressed
    finally:
        termios.tcsetattr(stream, termios.TCSADRAIN, before)


def _pressed(seconds: float) -> str:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return sys.stdin.read(1) if ready else ""


def _nobody_types(seconds: float) -> str:
    select.select([], [], [], seconds)
    return ""
