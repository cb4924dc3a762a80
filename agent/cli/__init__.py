"""The command `evidock`: for the person at the dock, for scripts, and for systemd; one file for each noun.

A command is imported when it is called, so `evidock --help` and completion stay quick however much the others need.
"""

import errno
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

if TYPE_CHECKING:
    from agent.config import Config
    from agent.errors import AgentError, ConfigError

__all__ = ["COMMANDS", "FAMILIES", "UNEXPECTED", "Settings", "app", "configuration", "main", "say"]

COMMANDS: Final = {
    "run": "Run the daemon of this station.",
    "init": "Set up a station: ask four questions, and write configuration, folders and keys. Never overwrites.",
    "check": "Try everything that the daemon needs, and say what to do where something is wrong.",
    "drill": "Try the whole way with a capture that is no evidence; the result is an entry of the custody log.",
    "status": "Show what is here, what is under way, and what a person must do.",
    "watch": "Show dock, copies, uploads, backlog, links and alarms as they change, until `q` or an interrupt.",
    "device": "The devices in the dock.",
    "capture": "What was taken of the devices, and what people order.",
    "spool": "The files on this station's disk.",
    "journal": "The custody log.",
    "custody": "Keys of the custody log, and whom the program that deletes believes.",
    "verify": "Check an exported bag, a proof or a checkpoint.",
    "mqtt": "Messages to and from the agency's broker: operators' keys and commands, and what is said.",
    "handover": "Disks that carry captures to a DEMS without a network.",
    "driver": "The drivers that are installed.",
    "spec": "The formats that are known.",
    "config": "The configuration.",
    "identity": "Who this station is to others.",
    "dems": "An emulated DEMS, for trying things out.",
    "demo": "Show the whole life of some captures, with an emulated camera and an emulated DEMS.",
    "support-bundle": "Gather versions, settings and states for those who help: no names, texts, keys or evidence.",
    "version": "Show which Evidock this is.",
}
"""Every command of the agent, with the sentence that its own module repeats."""

FAMILIES: Final[dict[str, str]] = {
    "enotes": "Electronic notebooks, and the tablets that write them.",
    "hotlist": "Lists of plates that are looked for, and hits.",
    "room": "Begin, mark and end interviews in the rooms that this station records itself.",
}
"""Commands that the device families of this tree bring (entry points `evidock.commands`), with their sentence."""

UNEXPECTED: Final = 70
"""Exit code of a fault of our own (EX_SOFTWARE of sysexits.h)."""

_INTERRUPTED: Final = 130

_NO_WRITING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Errors of a disk that is full, or that cannot be written."""
_AS_ROOT: Final = "Nothing was changed. You may not open that: run this as root."


@dataclass(frozen=True, slots=True)
class Settings:
    """What was said before the command."""

    config: Path


class _Later(TyperCommand):
    """A command of which only the name is known until it is called."""

    # Any: typer keeps the types of its contexts to itself.
    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:  # noqa: ANN401
        """Import the module, and let its command take over."""
        return loaded(str(self.name)).make_context(info_name, args, parent, **extra)


class _Commands(TyperGroup):
    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - handed through
        super().__init__(**settings)
        self.commands = {name: _Later(name, help=summary) for name, summary in (COMMANDS | FAMILIES).items()}

    # Any: typer keeps the types of its contexts to itself.
    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
        """Ours, and those that installed packages bring."""
        for name in sorted(_brought().keys() - self.commands.keys()):
            self.commands[name] = _Later(name, help=f"Brought by {_brought()[name].module}.")
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """The command of this name, whoever brings it."""
        if cmd_name not in self.commands:  # what others bring is looked for only where it is asked for
            self.list_commands(ctx)
        return super().get_command(ctx, cmd_name)


@cache
def _brought() -> dict[str, Any]:
    """Commands of device families: entry points of the group `evidock.commands`, each a typer app."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - looks through every installed package

    return {entry.name: entry for entry in entry_points(group="evidock.commands")}


def loaded(name: str) -> Any:  # noqa: ANN401 - typer's own type
    """The command of this name, imported."""
    from importlib import import_module  # noqa: PLC0415 - the point of this function

    if name not in COMMANDS:
        return typer.main.get_command(_brought()[name].load())
    return typer.main.get_command(import_module(f"agent.cli.{name.replace('-', '_')}").app)


app = typer.Typer(
    cls=_Commands,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _tell_version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    """What every program answers to `--version`; `evidock version` tells more."""
    if wanted:
        from agent.journal.entry import agent_version  # noqa: PLC0415 - half of the agent comes with it

        sys.stdout.write(f"evidock {agent_version()}{os.linesep}")
        raise typer.Exit


@app.callback()
def _before(
    ctx: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool, typer.Option("--version", help="Show the version, and end.", callback=_tell_version, is_eager=True)
    ] = False,
    config: Annotated[
        Path, typer.Option(help="The configuration file.", envvar="EVIDOCK_CONFIG", readable=False)
    ] = Path("/etc/evidock/agent.toml"),
) -> None:
    """Evidock takes evidence off devices, keeps it safe, and brings it to the DEMS."""
    ctx.obj = Settings(config)


def configuration(ctx: typer.Context) -> "Config":
    """What agent.toml says. Raises `ConfigError`."""
    from agent.config import load  # noqa: PLC0415 - pydantic takes its time

    settings: Settings = ctx.obj
    return load(settings.config)


def main() -> None:
    """Entry point. Every error becomes a sentence, what to do, and an exit code."""
    from agent.errors import AgentError  # noqa: PLC0415 - not needed for --help

    _open_what_is_closed()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a device's words may have letters that this terminal has not
    try:
        try:
            code = app(prog_name="evidock", standalone_mode=False)
        finally:
            sys.stdout.flush()  # while it can still be said that the disk behind it is full
        sys.exit(code)
    except TyperException as error:
        _tell_misspoken(error)
        sys.exit(error.exit_code)
    except typer.Abort:  # a question that nobody answers
        say("Interrupted.")
        sys.exit(_INTERRUPTED)
    except AgentError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except OSError as error:
        _let_go_of(sys.stdout)
        if isinstance(error, BrokenPipeError):  # whoever read has read enough
            sys.exit(1)
        told = _of_the_machine(error)
        if told is None:
            _tell_unexpected(error)
            sys.exit(UNEXPECTED)
        _tell(told)
        sys.exit(told.exit_code)
    except Exception as error:  # noqa: BLE001 - the last door: nobody at a dock can use a traceback
        if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, sys.argv)):
            say("A word of this command is no text in UTF-8.")
            say("Nothing was changed. Type it again, or set this terminal to UTF-8.")
            sys.exit(2)
        _tell_unexpected(error)
        sys.exit(UNEXPECTED)


def _tell_misspoken(error: TyperException) -> None:
    """A command line that nobody understands: what is wrong with which word, and where the right ones stand."""
    from pydantic import BaseModel, ValidationError  # noqa: PLC0415

    from agent.config import problems_of  # noqa: PLC0415 - pydantic takes its time

    context, cause = getattr(error, "ctx", None), error.__cause__
    said = " ".join(error.format_message().split())
    if not said or said.startswith("Usage:"):  # the help was shown instead
        sys.stderr.write(error.format_message())
        return
    if isinstance(cause, ValidationError) and (param := getattr(error, "param", None)) is not None:
        (found, *_) = problems_of(cause, BaseModel)
        name = param.metavar if param.param_type_name == "argument" else max(param.opts, key=len)
        said = f"{name}: {found.message}"
    say(said)
    if said.endswith("is not readable."):  # nothing is wrong with the word, and whoever types may not open it
        say(_AS_ROOT)
    elif context is not None:
        say(f"Nothing was changed. What it takes: {context.command_path} --help.")


def _is_text(word: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _of_the_machine(error: OSError) -> "AgentError | None":
    """What is no fault of ours: a right that whoever types has not, and a disk that is full or cannot be written."""
    from agent.errors import AgentError, Refusal  # noqa: PLC0415

    if isinstance(error, PermissionError) and error.filename is not None:
        return Refusal(f"you may not open {error.filename}", hint="Run this as root or as the daemon's user.")
    if error.errno in _NO_WRITING:
        what = "what was to be written" if error.filename is None else error.filename
        hint = "Make room there, or have it written elsewhere; then do it again."
        return AgentError(f"{what} cannot be written: {error.strerror}", hint=hint)
    return None


def _open_what_is_closed() -> None:
    """Whoever starts us without standard output or error hears nothing; and no file of ours gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
            os.set_inheritable(number, True)  # noqa: FBT003 - as the others are
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _let_go_of(stream: TextIO) -> None:
    """What waits for a stream that takes nothing more is not tried again when the process ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _tell(error: "AgentError") -> None:
    from agent.errors import ConfigError  # noqa: PLC0415

    if isinstance(error, ConfigError):
        for problem in error.problems:
            say(f"{problem.path}: {problem.message}")
    else:
        say(str(error))
    say(_AS_ROOT if isinstance(error, ConfigError) and _is_closed(error) else error.what_to_do)


def _is_closed(error: "ConfigError") -> bool:
    """Whether nothing is wrong with the file, but whoever types may not open what it names."""
    denied = os.strerror(errno.EACCES)
    ours = os.geteuid() != 0 and error.what_to_do == type(error).hint
    return ours and all(problem.message.endswith(f": {denied}") for problem in error.problems)


def _tell_unexpected(error: Exception) -> None:
    import tempfile  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    say(f"This should not have happened ({type(error).__name__}); it is a fault of Evidock.")
    try:
        with tempfile.NamedTemporaryFile("w", prefix="evidock-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
    except OSError:
        *_, last = traceback.extract_tb(error.__traceback__)
        say(f"There is no room for the details: line {last.lineno} of {last.filename}: {error}")
        say("Make room where TMPDIR says, else in /tmp, and do it again: then they are written.")
    else:
        say(f"The details are in {file.name}.")


def say(sentence: str) -> None:
    """One line on standard error."""
    # What is told may quote a device or a DEMS: nothing of it may steer the terminal.
    shown = "".join(c if c.isprintable() else "?" for c in sentence)
    try:
        sys.stderr.write(shown + os.linesep)
        sys.stderr.flush()
    except (OSError, ValueError):  # a full disk is behind it, too: then the exit code says it alone
        _let_go_of(sys.stderr)
