"""`evidock version`: which code this is, down to its digest."""

import platform

import apsw
import typer

from agent.cli.telling import AsJson, pairs, print_json
from agent.journal.entry import agent_version, build_digest

app = typer.Typer(add_completion=False)


@app.command()
def version(*, as_json: AsJson = False) -> None:
    """Show which Evidock this is."""
    told = {
        "version": agent_version(),
        "build_sha256": build_digest(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
    }
    if as_json:
        print_json(told)
    else:
        pairs(told)
