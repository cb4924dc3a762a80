"""`evidock watch`: the station in one terminal window, as it lives; made for ssh and 80 by 24."""

import os
import re
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from agent.cli import configuration
from agent.cli.asking import daemon_of
from agent.cli.picture import no_picture, picture
from agent.cli.telling import console
from agent.errors import AgentError, Refusal

app = typer.Typer(add_completion=False)

_WIDE = 80
_NOBODY = (
    "no daemon answers: nothing is taken and nothing is sent",
    "Start it (systemctl start evidock) or look why it ended: journalctl -u evidock",
)
_SEQUENCE = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|O[ -~]|[ -~])?")
"""What keys send that are no letter: ECMA-48 section 5.4, and SS3 of keypads."""


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
    paints = screen.is_terminal and not screen.is_dumb_terminal
    if once or not paints:
        if not once:
            why = "this needs a terminal" + (" that can be painted (TERM=dumb cannot)" if screen.is_terminal else "")
            raise Refusal(why, hint="For scripts: evidock status --json. One look: --once.")
        for text in _look(config, width=screen.width if screen.is_terminal else _WIDE, height=1000):
            sys.stdout.write(text.plain.rstrip() + "\n")
        return
    with _keys() as keys, Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            size = screen.size
            live.update(Group(*_look(config, width=size.width, height=size.height)), refresh=True)
            if _ends(keys(every)):
                return


def _look(config: Any, *, width: int, height: int) -> list[Text]:  # noqa: ANN401 - Config, without pydantic
    try:
        daemon = daemon_of(config)
        if daemon is None:
            return no_picture(*_NOBODY, width=width, height=height)
        told, captures, bays = daemon.status(), daemon.captures(limit=10)["captures"], daemon.bays()
    except Refusal:
        raise
    except AgentError as error:  # it ended while it answered, or it hangs
        return no_picture(str(error), error.what_to_do, width=width, height=height)
    return picture(told, captures, bays, width=width, height=height)


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


def _pressed(seconds: float) -> bytes | None:
    """All that was typed meanwhile, for an arrow key is several bytes; None: the terminal is gone."""
    stream = sys.stdin.fileno()
    ready, _, _ = select.select([stream], [], [], seconds)
    return (os.read(stream, 1024) or None) if ready else b""


def _nobody_types(seconds: float) -> bytes | None:
    select.select([], [], [], seconds)
    return b""


def _ends(typed: bytes | None) -> bool:
    """Whether it is an end: `q`, Ctrl-C or Ctrl-D, and no part of what an arrow or a function key sends."""
    return typed is None or not {*b"qQ\x03\x04"}.isdisjoint(_SEQUENCE.sub(b"", typed))
