"""`evidock config`: what the daemon would work with, defaults included."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

import typer

from agent.addresses import shown
from agent.cli import configuration, say
from agent.cli.closed import Closed
from agent.cli.telling import AsJson, line, print_json
from agent.errors import ConfigError
from agent.registry import stated

_BARE = re.compile(r"[A-Za-z0-9_-]+")

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The configuration.")


@app.command()
def show(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show every setting, those that agent.toml leaves out as well. Secrets are named by file, never shown."""
    config = configuration(ctx)
    drivers, uplinks, problems = stated(config)
    closed = Closed(config)
    if wrong := [found for found in problems if not closed.explains(found)]:
        raise ConfigError(wrong)
    told = _plain(
        {
            **config.model_dump(by_alias=True),
            "driver": [options.model_dump() for options in drivers],
            "uplink": [options.model_dump() for options in uplinks],
        }
    )
    if as_json:
        print_json(told)
    else:
        for text in _toml(told):
            line(text)
    _tell_closed(closed)


def _tell_closed(closed: Closed) -> None:
    """On standard error, for what is on standard output can be read as it is."""
    for path, (where, why) in closed.met.items():
        say(f"{where}: {path} could not be looked into: {why}.")
    if closed.met:
        say("Everything else is shown. To have that looked into as well: sudo evidock check.")


@app.command("schema")
def schema() -> None:
    """Print what agent.toml may hold, as JSON Schema: editors complete the file by it."""
    from agent.cli.schema import schema_text  # noqa: PLC0415 - loads every driver

    sys.stdout.write(schema_text())


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a driver's options hold
    """As agent.toml would say it: a duration as `"30 s"`, a path as text."""
    match value:
        case dict():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case None | bool() | int() | float():
            return value
        case timedelta():
            return _duration(value)
        case Enum():
            return _plain(value.value)
        case _:
            return shown(str(value))


def _duration(value: timedelta) -> str:
    seconds, rest = divmod(value, timedelta(seconds=1))
    return f"{seconds}.{rest.microseconds:06}".rstrip("0").rstrip(".") + " s"


def _toml(told: Mapping[str, Any]) -> Iterator[str]:
    """The same as TOML; what has no value is left out, for TOML has no word for it."""
    for name, table in told.items():
        for one in table if isinstance(table, list) else [] if table is None else [table]:
            yield f"[[{name}]]" if isinstance(table, list) else f"[{name}]"
            for key, value in one.items():
                if value is not None:
                    yield f"{_key(key)} = {_value(value)}"
            yield ""


def _value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(_value(one) for one in value if one is not None)}]"
        case dict():
            inner = (f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
            return "{ " + ", ".join(inner) + " }"
        case str():
            # As JSON writes it, but for what TOML knows otherwise: no halves of a character, and DEL escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case float():
            return repr(value)  # `inf` and `nan` too
        case _:
            return str(value)


def _key(name: str) -> str:
    """A key as it is, or in quotes where it has anything but letters, digits, `_` and `-`."""
    return name if _BARE.fullmatch(name) else _value(name)
