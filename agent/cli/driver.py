"""`evidock driver`: which drivers and uplinks are installed, and which of them agent.toml uses."""

import inspect
from importlib.metadata import EntryPoint
from typing import Any

import typer

from agent.cli import configuration
from agent.cli.telling import AsJson, line, print_json, table
from agent.config import Config
from agent.errors import ConfigError
from agent.quality import MARKS, Quality, quality_of
from agent.registry import DRIVERS, UPLINKS, installed

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The drivers that are installed.")


@app.callback()
def _group() -> None:
    """Keep `list` a command of its own, although it is the only one."""


@app.command("list")
def list_(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """List the drivers and uplinks that are installed, and where agent.toml uses them."""
    try:
        config, complaint = configuration(ctx), None
    except ConfigError as error:  # what is installed can be told all the same
        config, complaint = None, str(error)
    drivers = [_row(entry, config, "driver") for entry in installed(DRIVERS).values()]
    uplinks = [_row(entry, config, "uplink") for entry in installed(UPLINKS).values()]
    if as_json:
        print_json({"drivers": drivers, "uplinks": uplinks})
        return
    rows = [(kind, *one.values()) for kind, found in (("driver", drivers), ("uplink", uplinks)) for one in found]
    table(
        ("kind", "name", "package", "version", "used as", "what it is", "problem", "proven"),
        [(*row[:4], ", ".join(row[4]), *row[5:7], _proven(row[7])) for row in rows],
    )
    if complaint is not None:
        line(f"agent.toml cannot be read: {complaint}", "yellow")


def _row(entry: EntryPoint, config: Config | None, kind: str) -> dict[str, Any]:
    tables = () if config is None else config.driver if kind == "driver" else config.uplink
    what, problem = None, None
    try:
        what = (inspect.getdoc(entry.load()) or "").partition("\n")[0].partition(" See `")[0]
    except Exception as error:  # noqa: BLE001 - whatever a stranger's package does while it is imported
        problem = f"cannot be loaded: {error}"
    return {
        "name": entry.name,
        "package": None if entry.dist is None else entry.dist.name,
        "version": None if entry.dist is None else entry.dist.version,
        "used_as": [str(table.get("name")) for table in tables if table.get("use") == entry.name],
        "what": what,
        "problem": problem,
        "quality": _quality(entry) if kind == "driver" else None,
    }


def _quality(entry: EntryPoint) -> dict[str, Any] | None:
    """Its marks, each with what proves it; None where nobody judged it."""
    found = quality_of(entry)
    if found is None:
        return None
    return {"marks": found.marks, **{mark: list(found.evidence.get(mark, ())) for mark in MARKS}}


def _proven(quality: dict[str, Any] | None) -> str:
    """`4 of 5, no device`; nothing for what is not judged."""
    if quality is None:
        return ""
    return str(Quality({mark: tuple(quality[mark]) for mark in MARKS}))
