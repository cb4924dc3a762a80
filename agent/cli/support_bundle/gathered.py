"""What goes into a support bundle, file by file: the fields that are named here, and no others."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from importlib.metadata import distributions, requires
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw
import typer

from agent.cli import configuration
from agent.cli.asking import source_of
from agent.cli.support_bundle.broken import left_of
from agent.cli.support_bundle.words import plain, stack, word
from agent.errors import AgentError, ConfigError
from agent.journal.entry import agent_version, build_digest
from agent.machine.disk import ground_of

if TYPE_CHECKING:
    from agent.config import Config

__all__ = ["gathered"]

_ENTRIES: Final = 1000
_EVENTS: Final = 2000
_LINE_MAX: Final = 1 << 20


def gathered(ctx: typer.Context, log: Path | None) -> dict[str, Any]:
    """Everything, by the name of its file. What cannot be had says so by the kind of its error; the rest is there."""
    try:
        config: Config | None = configuration(ctx)
        settings = None if config is None else _configuration(config)
    except ConfigError as error:  # then a bundle is wanted most
        config, settings = left_of(ctx.obj.config, error)
    parts: dict[str, Callable[[], Any]] = {
        "versions.json": _versions,
        "configuration.json": lambda: settings,
        "status.json": lambda: _status(_of(config)),
        "check.json": lambda: _check(ctx),
        "journal.json": lambda: _journal(_of(config)),
        "events.json": lambda: list(_events(log)),
        "machine.json": lambda: _machine(_of(config)),
    }
    found: dict[str, Any] = {}
    for name, gather in parts.items():
        try:
            found[name] = gather()
        except (AgentError, OSError, ValueError, KeyError, TypeError) as error:
            found[name] = {"cannot_be_had": type(error).__name__}
    return found


def _of(config: "Config | None") -> "Config":
    """What leads to the station. `ConfigError` where nothing does."""
    if config is None:
        raise ConfigError([])
    return config


def _versions() -> dict[str, Any]:
    needed = {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower() for one in requires("evidock") or ()}
    packages = {name: one.version for one in distributions() if (name := one.metadata["Name"].lower()) in needed}
    return {
        "evidock": agent_version(),
        "build_sha256": build_digest(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "kernel": "".join(re.findall(r"^\d+\.\d+(?:\.\d+)?", platform.release())),
        "machine": platform.machine(),
        "packages": dict(sorted(packages.items())),
        "other_packages": sum(1 for _ in distributions()) - len(packages),
    }


def _configuration(config: "Config") -> Any:  # noqa: ANN401 - any JSON
    """Settings as they are where they are numbers, switches or words of ours; their names are words of ours too."""
    return plain(_counted(config.model_dump()))


def _counted(value: Any) -> Any:  # noqa: ANN401 - what a configuration holds
    """Durations are numbers: of seconds."""
    match value:
        case timedelta():
            return value.total_seconds()
        case dict():
            return {name: _counted(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_counted(inner) for inner in value]
    return value


_STATUS: Final = ("running", "uptime", "started_at", "clock", "room", "tally", "aside")


def _status(config: "Config") -> dict[str, Any]:
    with source_of(config) as station:
        told = station.status()
    devices = Counter((word(one["family"]), word(one["spec"]), one["present"]) for one in told["devices"])
    return {
        **{name: plain(told[name]) for name in _STATUS},
        "log_size": told["log"]["size"],
        "signed_size": told["checkpoint"]["size"],
        "cosigned_size": told["checkpoint"]["cosigned_size"],
        "contradictions": len(told["checkpoint"]["contradicted_by"]),
        "devices": [
            {"family": family, "spec": spec, "present": present, "count": count}
            for (family, spec, present), count in devices.items()
        ],
        "arrivals": [{name: one[name] for name in ("length", "arrived", "rate")} for one in told["arrivals"]],
        "departures": [{name: one[name] for name in ("length", "confirmed", "rate")} for one in told["departures"]],
        "links": [{"up": one["up"], "again_in": one["again_in"]} for one in told["links"]],
        "drivers": [word(one["use"]) for one in told["drivers"]],
        "problems": [
            {"id": word(one["id"]), "state": word(one["state"]), "since": plain(one["since"])}
            for one in told["problems"]
        ],
    }


def _check(ctx: typer.Context) -> Any:  # noqa: ANN401 - any JSON
    from agent.cli.check import findings  # noqa: PLC0415 - it imports everything

    return [{"kind": word(kind), "state": word(found.state)} for kind, found in findings(ctx)]


def _journal(config: "Config") -> Any:  # noqa: ANN401 - any JSON
    with source_of(config) as station:
        page = station.entries(limit=_ENTRIES)
    numbers: dict[str, int] = {}
    return {"size": page["size"], "entries": [_entry(entry, numbers) for entry in page["entries"]]}


def _entry(entry: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    said, subject = entry["predicate"], entry["subject"][0]["name"]
    device = said.get("device")
    named = device.get("id") if isinstance(device, dict) else None
    told: dict[str, Any] = {
        "seq": plain(said["seq"]),
        "event": word(said["event"]),
        "recorded_at": plain(said["recorded_at"]),
        "clock": plain(said["clock"]),
        "by_a_person": said["actor"] != "agent",
        "subject": numbers.setdefault(str(subject), len(numbers)),
    }
    if named is not None:
        told["device"] = numbers.setdefault(str(named), len(numbers))
    for place, name in (("capture", "length"), ("part", "length"), ("receipt", "strength"), ("drill", "passed")):
        if isinstance(said.get(place), dict):
            told[f"{place}_{name}"] = plain(said[place].get(name))
    return told


def _events(log: Path | None) -> Iterator[dict[str, Any]]:
    """Lines of the log: of journald, or of a file of JSON lines."""
    for said in _lines(log):
        event = said.get("event", said.get("EVIDOCK_EVENT"))
        at = said.get("timestamp", said.get("__REALTIME_TIMESTAMP"))
        level = said.get("level", said.get("PRIORITY"))
        told: dict[str, Any] = {"event": word(event), "level": plain(level), "at": plain(at)}
        if isinstance(at, str) and re.fullmatch(r"\d{16}", at):
            told["at"] = int(at)
        if isinstance(level, str) and re.fullmatch(r"[0-7]", level):
            told["level"] = int(level)
        trace = said.get("exception", said.get("EVIDOCK_EXCEPTION"))
        if isinstance(trace, str):
            told["stack"] = stack(trace)
        yield told


def _lines(log: Path | None) -> Iterator[dict[str, Any]]:
    for raw in _raw(log)[-_EVENTS:]:
        try:
            said = json.loads(raw)
        except ValueError:
            continue
        if isinstance(said, dict):
            yield said


def _raw(log: Path | None) -> list[bytes]:
    if log is not None:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - (_LINE_MAX * 8)))
            return file.read(_LINE_MAX * 8).splitlines()  # one that grows meanwhile has an end all the same
    program = shutil.which("journalctl")
    if program is None:
        return []
    words = [program, "--unit=evidock*", "--output=json", "--no-pager", f"--lines={_EVENTS}"]
    done = subprocess.run(  # noqa: S603 - words are ours
        words, capture_output=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    return done.stdout.splitlines()


def _machine(config: "Config") -> dict[str, Any]:
    state = config.station.state
    ground = ground_of(state)
    spool = state / "spool"
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "file_system": word(ground.file_system),
        "read_only": ground.read_only,
        "disks": [{"troubles": len(disk.troubles)} for disk in ground.disks],
        "file_system_troubles": len(ground.troubles),
        "kept_files": sum(1 for _ in os.scandir(spool / "kept")),
        "stage_files": sum(1 for _ in os.scandir(spool / "stage")),
        "journal_bytes": (state / "journal.db").stat().st_size,
    }
