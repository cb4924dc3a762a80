"""`evidock check`: everything that the daemon needs, tried in order; each line is ok, or says what to do."""

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import typer

from agent.cli import configuration
from agent.cli.asking import daemon_of
from agent.cli.telling import AsJson, line, print_json, table
from agent.clock import EARLIEST, Clock
from agent.config import Config
from agent.daemon import receipt_keys
from agent.driver import ReportsHealth
from agent.errors import ConfigError, DeviceError, JournalError, Refusal, SpoolError, SpoolFull, UplinkDown
from agent.identity import expiries
from agent.registry import Equipment, equip
from agent.station.control import check_path
from agent.uplink import Finding

app = typer.Typer(add_completion=False)

WARNED: Final = 4
"""Exit code where there are warnings and nothing worse."""

_SECRETS: Final = ("token_file", "client_key", "proxy_login_file", "key_file")
_OTHERS: Final = 0o077
_CODES: Final = {
    "config": ConfigError.exit_code,
    "daemon": Refusal.exit_code,
    "rights": SpoolError.exit_code,
    "room": SpoolFull.exit_code,
    "clock": JournalError.exit_code,
    "driver": DeviceError.exit_code,
    "uplink": UplinkDown.exit_code,
}
"""Exit code where the first problem is of this kind: the one that the daemon itself would end with."""


@app.command()
def check(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Try everything that the daemon needs, and say what to do where something is wrong."""
    findings = list(_all(ctx))
    problems = [kind for kind, found in findings if found.state == "problem"]
    warned = any(found.state == "warning" for _, found in findings)
    code = _CODES[problems[0]] if problems else WARNED if warned else 0
    if as_json:
        lines = [{"kind": kind, **found.model_dump()} for kind, found in findings]
        print_json({"ok": not problems, "exit_code": code, "findings": lines})
    else:
        table(("", "", "what", "detail"), [(found.state, kind, found.what, found.detail) for kind, found in findings])
        for todo, (state, places) in _todo(found for _, found in findings).items():
            line(f"{', '.join(places)}: {todo}", "red" if state == "problem" else "yellow")
    raise typer.Exit(code)


def _all(ctx: typer.Context) -> Iterator[tuple[str, Finding]]:
    try:
        config = configuration(ctx)
    except ConfigError as error:
        for found in error.problems:
            yield "config", _problem(found.path, found.message, error.what_to_do)
        return
    try:
        equipment = equip(config)
        receipt_keys(equipment, config)
        check_path(config.station.control)
    except ConfigError as error:
        equipment = Equipment((), ())
        for found in error.problems:
            yield "config", _problem(found.path, found.message, error.what_to_do)
    else:
        yield "config", _ok("agent.toml", str(ctx.obj.config))
    for kind, look in (("daemon", _daemon), ("rights", _rights), ("room", _room)):
        for one in look(config):
            yield kind, one
    yield "rights", _secrets(equipment)
    for expiry in expiries(config.uplink, datetime.now(UTC)):
        yield "uplink", Finding(state=expiry.state, what=expiry.what, detail=expiry.detail, todo=expiry.todo)
    yield "clock", _clock()
    for kind, one in asyncio.run(_equipment(equipment)):
        yield kind, one


def _todo(findings: Iterable[Finding]) -> dict[str, tuple[str, list[str]]]:
    """What a person should do, each once: (state, where)."""
    advice: dict[str, tuple[str, list[str]]] = {}
    for found in findings:
        if found.todo is not None and found.state != "ok":
            advice.setdefault(found.todo, (found.state, []))[1].append(found.what)
    return advice


def _ok(what: str, detail: str) -> Finding:
    return Finding(what=what, state="ok", detail=detail)


def _warning(what: str, detail: str, todo: str) -> Finding:
    return Finding(what=what, state="warning", detail=detail, todo=todo)


def _problem(what: str, detail: str, todo: str) -> Finding:
    return Finding(what=what, state="problem", detail=detail, todo=todo)


def _daemon(config: Config) -> Iterator[Finding]:
    try:
        daemon = daemon_of(config)
    except Refusal as error:
        yield _warning("daemon", str(error), error.what_to_do)
        return
    if daemon is None:
        yield _ok("daemon", "not running")
        return
    for one in daemon.status()["problems"]:
        if one["what"] in ("refused", "quarantined"):  # everything else is looked at here too
            yield Finding(**{**one, "what": f"daemon: {one['what']}"})
    yield _ok("daemon", f"answers at {config.station.control}")


def _rights(config: Config) -> Iterator[Finding]:
    state = config.station.state
    try:
        found = state.stat()
    except FileNotFoundError:
        nearest = _nearest(state)
        if os.access(nearest, os.W_OK | os.X_OK):
            yield _ok("state folder", f"{state} will be made")
        else:
            todo = f"Make {state} for the user that the daemon runs as, or run this as that user."
            yield _warning("state folder", f"{state} is not there, and you may not make it in {nearest}", todo)
        return
    except PermissionError:
        yield _warning("state folder", f"you may not look at {state}", "Run this as root or as the daemon's user.")
        return
    if not stat.S_ISDIR(found.st_mode):
        yield _problem("state folder", f"{state} is no folder", "Name another folder as station.state.")
    elif found.st_mode & 0o007:
        yield _problem("state folder", f"everybody may look into {state}", f"chmod o= {state}")
    elif not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield _warning("state folder", f"{state} is not yours", "Run this as root or as the daemon's user.")
    else:
        yield _ok("state folder", f"{state} is closed to others")


def _secrets(equipment: Equipment) -> Finding:
    """Files with secrets must be there, and be closed to others."""
    for loaded in equipment.uplinks:
        for name in _SECRETS:
            path = getattr(loaded.options, name, None)
            if path is None:
                continue
            what = f"{loaded.options.name}.{name}"
            try:
                mode = Path(path).stat().st_mode
            except OSError as error:
                return _problem(what, f"{path}: {error.strerror}", "Put the file there, for the daemon's user alone.")
            if mode & _OTHERS:
                return _problem(what, f"others may read {path}", f"chmod go= {path}")
    return _ok("secrets", "every file with a secret is closed to others")


def _room(config: Config) -> Iterator[Finding]:
    disk = os.statvfs(_nearest(config.station.state))
    free, watermark = disk.f_bavail * disk.f_frsize, config.spool.watermark
    detail = f"{free >> 20} MiB free, of which {watermark >> 20} MiB always stay free"
    if free <= watermark:
        yield _problem("room", detail, SpoolFull.hint)
    elif free < 2 * watermark:
        yield _warning("room", detail, "Give the spool a larger disk, or let it forget sooner: policy.spool.")
    else:
        yield _ok("room", detail)


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there and may be looked at."""
    while True:
        try:
            path.stat()
        except OSError:
            if path == path.parent:
                return path
            path = path.parent
        else:
            return path


def _clock() -> Finding:
    stamp = Clock().stamp()
    if stamp.at < EARLIEST:
        return _problem("clock", f"it is {stamp.at:%Y}", "Set the clock, and look at the station's battery.")
    if not stamp.synchronised:
        todo = "Let the station keep its time by NTP or GNSS; timedatectl tells how it does."
        return _warning("clock", "nothing keeps it right, and every entry of the journal says so", todo)
    return _ok("clock", f"kept right by the kernel to {(stamp.uncertainty_us or 0) / 1000:.1f} ms")


async def _equipment(equipment: Equipment) -> list[tuple[str, Finding]]:
    found: list[tuple[str, Finding]] = []
    for driver in equipment.drivers:
        name = f"{driver.options.name} ({driver.options.use})"
        health = await driver.driver.health() if isinstance(driver.driver, ReportsHealth) else {}
        said = "; ".join(f"{place}: {word}" for place, word in health.items())
        found.append(("driver", _ok(name, said or "loaded")))
    for uplink in equipment.uplinks:
        try:
            lines = await uplink.uplink.check()
        finally:
            await uplink.uplink.aclose()
        name = uplink.options.name
        found.extend(("uplink", one.model_copy(update={"what": f"{name}: {one.what}"})) for one in lines)
    return found
