"""`evidock check`: everything that the daemon needs, tried in order; each line is ok, or says what to do.

It needs neither root nor a running daemon: what may not be looked at is a warning that says so.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Final

import typer

from agent.belief import receipt_keys
from agent.broker.check import findings as broker
from agent.cli import configuration
from agent.cli.check import equipment, machine, record, state
from agent.cli.check.closed import lines as closed_lines
from agent.cli.check.closed import told as told_of
from agent.cli.check.lines import Lines, ok, problem
from agent.cli.check.state import nearest
from agent.cli.closed import Closed
from agent.cli.owner import as_owner
from agent.cli.telling import AsJson, line, print_json, progress, table
from agent.config import Config
from agent.errors import (
    ConfigError,
    DeviceError,
    JournalError,
    Problem,
    Refusal,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    UnknownFirmware,
    UplinkDown,
)
from agent.identity import expiries
from agent.registry import assembled
from agent.station.control import check_path
from agent.station.status import check_status
from agent.uplink import Finding

__all__ = ["WARNED", "app", "findings"]

app = typer.Typer(add_completion=False)

WARNED: Final = 4
"""Exit code where there are warnings and nothing worse."""

_CODES: Final = {
    "config": ConfigError.exit_code,
    "journal": JournalError.exit_code,
    "spool": SpoolDamaged.exit_code,
    "rights": SpoolError.exit_code,
    "disk": SpoolError.exit_code,
    "room": SpoolFull.exit_code,
    "clock": JournalError.exit_code,
    "daemon": Refusal.exit_code,
    "driver": DeviceError.exit_code,
    "usb": DeviceError.exit_code,
    "serial": DeviceError.exit_code,
    "firmware": UnknownFirmware.exit_code,
    "uplink": UplinkDown.exit_code,
    "broker": UplinkDown.exit_code,
    "update": Refusal.exit_code,
}
"""Exit code of a problem of each kind, the worst kind first: mostly the one that the daemon itself would end with."""


@app.command()
def check(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Try everything that the daemon needs, and say what to do where something is wrong."""
    told = []
    for kind, found in findings(ctx):
        progress(f"{kind}: {found.what}")
        told.append((kind, found))
    progress("")
    wrong = {kind for kind, found in told if found.state == "problem"}
    warned = any(found.state == "warning" for _, found in told)
    code = next((worst for kind, worst in _CODES.items() if kind in wrong), WARNED if warned else 0)
    if as_json:
        lines = [{"kind": kind, **found.model_dump()} for kind, found in told]
        print_json({"ok": not wrong, "exit_code": code, "findings": lines})
    else:
        table(("", "", "what", "detail"), [(found.state, kind, found.what, found.detail) for kind, found in told])
        for todo, (how, places) in _todo(found for _, found in told).items():
            line(f"{', '.join(places)}: {todo}", "red" if how == "problem" else "yellow")
    raise typer.Exit(code)


def findings(ctx: typer.Context) -> Lines:
    """Every line, each as soon as it is known."""
    try:
        config = configuration(ctx)
    except ConfigError as error:
        for found in error.problems:
            yield problem("config", found.path, found.message, error.what_to_do)
        return
    with _as_daemon(config):
        closed = Closed(config)
        equipped, problems = assembled(config)
        wrong = [*told_of(ConfigError(problems), closed, config.station.state)]
        looks: list[Callable[[], object]] = [lambda: check_path(config.station.control)]
        if not problems:
            looks.append(lambda: receipt_keys(equipped, config))
        if (screen := config.status) is not None:
            looks.append(lambda: check_status(screen))
        for look in looks:
            try:
                look()
            except ConfigError as error:
                wrong += told_of(error, closed, config.station.state)
    yield from wrong or [ok("config", "agent.toml", str(ctx.obj.config))]
    yield from state.daemon(config, uplinks_tried=len(equipped.uplinks) == len(config.uplink))
    yield from state.rights(config)
    with _as_daemon(config):
        yield from [*state.secrets(config, equipped, closed)]
    yield from state.room(config)
    yield from machine.disks(config)
    yield from machine.clock()
    yield from record.looked_at(ctx, config)
    yield from machine.usb()
    yield from machine.serial(config)
    yield from equipment.devices(config, equipped)
    told = {found.what for _, found in wrong}
    for expiry in expiries(config.shows, datetime.now(UTC)):
        if expiry.what not in told and not closed.explains(Problem(expiry.what, expiry.detail)):
            kind = "daemon" if expiry.what == "status.cert_file" else "uplink"
            yield kind, Finding(state=expiry.state, what=expiry.what, detail=expiry.detail, todo=expiry.todo)
    with _as_daemon(config):
        reached = asyncio.run(equipment.destinations(config, equipped))
        heard = asyncio.run(broker(config))
    yield from reached
    yield from (("broker", found) for found in heard if not closed.explains(Problem(found.what, found.detail)))
    yield from closed_lines(closed)
    yield from machine.update(config)


def _as_daemon(config: Config) -> AbstractContextManager[None]:
    """Root may read what the daemon may not: look at the files that agent.toml names as the daemon's user does."""
    folder = config.station.state
    return as_owner(folder) if nearest(folder) == folder else nullcontext()


def _todo(findings: Iterable[Finding]) -> dict[str, tuple[str, list[str]]]:
    """What a person should do, each once: (state, where)."""
    advice: dict[str, tuple[str, list[str]]] = {}
    for found in findings:
        if found.todo is not None and found.state != "ok":
            advice.setdefault(found.todo, (found.state, []))[1].append(found.what)
    return advice
