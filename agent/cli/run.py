"""`evidock run`: the daemon in the foreground, as systemd starts it."""

import asyncio
import gc
import os
import pwd
import sys
from pathlib import Path
from typing import Annotated

import agent.cli.lean  # noqa: F401 - what follows imports structlog

# isort: split
import structlog
import typer

from agent.cli import UNEXPECTED, configuration
from agent.cli.logs import configure
from agent.daemon import Agent
from agent.errors import AgentError, ConfigError, Refusal

app = typer.Typer(add_completion=False)


@app.command()
def run(
    ctx: typer.Context,
    *,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log each capture's steps as well.")] = False,
) -> None:
    """Run the daemon of this station."""
    configure(verbose=verbose)
    log = structlog.get_logger("agent")
    try:
        asyncio.run(_run(ctx))
    except AgentError as error:
        if not isinstance(error, ConfigError):
            log.critical("ended", error=str(error), todo=error.what_to_do)
        raise
    except Exception:
        # systemd starts us again; what was promised stands in the journal.
        log.critical("ended", error="a fault of Evidock itself", exc_info=True)
        sys.exit(UNEXPECTED)


def _not_for_another(state: Path) -> None:
    """Root's daemon would leave files in the state folder that the service's user cannot open any more."""
    try:
        owner = state.stat().st_uid
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        try:
            user = pwd.getpwuid(owner).pw_name
        except KeyError:
            user = f"#{owner}"
        raise Refusal(
            f"{state} is that of {user}, and you are root: what you write there the service could not open",
            hint=f"Nothing was changed. Start it with: systemctl start evidock (by hand: sudo -u {user} evidock run).",
        )


async def _run(ctx: typer.Context) -> None:
    config = configuration(ctx)
    _not_for_another(config.station.state)
    agent = Agent(config, reread=lambda: configuration(ctx))
    gc.freeze()  # whatever was made until now stays: no collection of garbage need look at it again
    await agent.run()
