"""`evidock run`: the daemon in the foreground, as systemd starts it."""

import asyncio
import sys
from typing import Annotated

import agent.cli.lean  # noqa: F401 - what follows imports structlog

# isort: split
import structlog
import typer

from agent.cli import UNEXPECTED, configuration
from agent.cli.logs import configure
from agent.daemon import Agent
from agent.errors import AgentError, ConfigError

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


async def _run(ctx: typer.Context) -> None:
    await Agent(configuration(ctx), reread=lambda: configuration(ctx)).run()
