"""`evidock init`: four questions, and a station that can start: its configuration, its folders, and its key."""

import os
import pwd
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent.cli.owner import acting_as, closed_above
from agent.cli.sealing import SYSTEM, Seal, given, instance, place
from agent.cli.sealing import seal as seal_key
from agent.cli.telling import line
from agent.config import Config, load, parse
from agent.errors import ConfigError, Refusal, SpoolError

if TYPE_CHECKING:
    from agent.note import Signer

app = typer.Typer(add_completion=False)

_USER: Final = "evidock"
_BAYS_MAX: Final = 128
_ELSEWHERE: Final = "Run this as root, or give a place of your own: evidock --config ./agent.toml init."
_ROOM: Final = "Nothing was set up. Make room there, or name another folder: --state FOLDER."


@app.command()
def init(
    ctx: typer.Context,
    *,
    name: Annotated[str | None, typer.Option(help="Name of this station, such as dock-0042.")] = None,
    agency: Annotated[str | None, typer.Option(help="The agency's domain, such as example.org.")] = None,
    dems: Annotated[str | None, typer.Option(help="Address of the DEMS; an empty one: later.")] = None,
    bays: Annotated[int | None, typer.Option(help="Bays for cameras that show a USB volume.", min=0)] = None,
    state: Annotated[Path | None, typer.Option(help="Folder of spool, journal and keys.")] = None,
    seal: Annotated[
        Seal | None, typer.Option(help="Seal the log's key by this machine's TPM, or to this system.")
    ] = None,
) -> None:
    """Set up a station: ask four questions, and write configuration, folders and keys. Never overwrites."""
    from agent.cli.templates import agent_toml  # noqa: PLC0415
    from agent.registry import equip  # noqa: PLC0415 - loads every driver

    path: Path = ctx.obj.config.absolute()
    if path.exists():
        raise Refusal(f"{path} is there already", hint="Nothing was changed. Edit it, then run: evidock check.")
    if (above := closed_above(path)) is not None:
        raise Refusal(f"nothing can be made in {above}", hint=_ELSEWHERE)
    ask = _Questions()
    name = name or ask("name", "What is this station called? (such as dock-0042)")
    agency = agency or ask("agency", "What is the agency's domain? (such as example.org)")
    dems = ask("dems", "Where is the DEMS? (https address; leave it empty for later)", "") if dems is None else dems
    bays = _number(ask("bays", "How many bays does this dock have for cameras?", "0") if bays is None else str(bays))
    if seal is not None and (place(path) is None or os.geteuid() != 0):
        raise Refusal(
            "only the service is handed a sealed key, and only root can seal one",
            hint=f"Nothing was changed. Run this as root, with a configuration in {SYSTEM}.",
        )
    folder, socket = _places(path)
    text = agent_toml(name=name, agency=agency, dems=dems, bays=bays, state=(state or folder).absolute(), socket=socket)
    try:
        equip(parse(text, str(path)))
    except ConfigError as error:
        hint = "Nothing was changed. Run it again with another answer."
        raise ConfigError(list(error.problems), hint=hint) from error
    with ExitStack() as stack:
        _write(path, text)
        stack.callback(path.unlink)
        config = load(path)
        try:
            vkey = _make_state(path, config, seal)
        except SpoolError as error:
            raise type(error)(str(error), hint=_ROOM) from error
        stack.pop_all()
    _tell(path, config, vkey, sealed=place(path) if seal is not None else None)


class _Questions:
    """Asks at a terminal, until the answer will do; elsewhere says which flag answers."""

    def __call__(self, name: str, question: str, default: str | None = None) -> str:
        if not sys.stdin.isatty():
            raise Refusal(f"nobody is here to answer: {question}", hint=f"Nothing was changed. Give --{name}.")

        def looked_at(answer: str) -> str:
            _try(**{name: answer.strip()})
            return answer.strip()

        answer: str = typer.prompt(question, default=default, show_default=bool(default), value_proc=looked_at)
        return answer


def _try(*, name: str = "dock-1", agency: str = "example.org", dems: str = "", bays: str = "0") -> None:
    """Raise what makes the prompt ask again where this one answer will not do."""
    from agent.cli.templates import agent_toml  # noqa: PLC0415
    from agent.registry import equip  # noqa: PLC0415 - loads every driver

    try:
        text = agent_toml(name=name, agency=agency, dems=dems, bays=_number(bays), state=Path("/nowhere"), socket=None)
        equip(parse(text))
    except ConfigError as error:
        raise typer.BadParameter("; ".join(problem.message for problem in error.problems)) from error
    except Refusal as error:
        raise typer.BadParameter(str(error)) from error


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):  # noqa: PLR2004
        raise Refusal(f"{text!r} is no number of bays", hint="Nothing was changed.")
    if int(text) > _BAYS_MAX:
        raise Refusal(f"a station has at most {_BAYS_MAX} bays", hint="Nothing was changed.")
    return int(text)


def _places(path: Path) -> tuple[Path, Path | None]:
    """State folder and socket: those of the service for its configuration, else beside the file."""
    if (words := instance(path)) is None:
        return path.parent / "state", None
    return Path(f"/var/lib/evidock{words}"), Path(f"/run/evidock{words}/control.sock")


def _owner() -> pwd.struct_passwd | None:
    """The user that the service runs as, where root sets it up."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_USER)
    except KeyError:
        return None


def _write(path: Path, text: str) -> None:
    """Write configuration and schema, both or none; never over a configuration that is there."""
    from agent import durable  # noqa: PLC0415
    from agent.cli.schema import FILE, schema_text  # noqa: PLC0415

    owner = _owner()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        with ExitStack() as undone:
            undone.callback(path.unlink)
            with os.fdopen(fd, "w", encoding="utf-8") as file:
                file.write(text)
                if owner is not None:
                    os.fchown(file.fileno(), 0, owner.pw_gid)
            durable.replace_file(path.parent / FILE, schema_text().encode())
            (path.parent / FILE).chmod(0o644)
            undone.pop_all()
    except FileExistsError:
        raise Refusal(f"{path} is there already", hint="Nothing was changed.") from None
    except OSError as error:
        hint = "Nothing was set up. Make room there, or give another place: evidock --config FILE init."
        raise Refusal(
            f"{error.filename or path}: {error.strerror}",
            hint=_ELSEWHERE if isinstance(error, PermissionError) else hint,
        ) from error


def _make_state(path: Path, config: Config, how: Seal | None) -> str:
    """Make state folder, key of the log, and trust file, each as who may; the key's public half.

    The key belongs to the user that the service runs as, whom the program that deletes believes, to whoever sets it up.
    """
    from agent import durable  # noqa: PLC0415
    from agent.belief import asked_of, log_keys  # noqa: PLC0415
    from agent.release import trust_file  # noqa: PLC0415

    state, owner = config.station.state, _owner()
    try:
        durable.make_folder(state)
        if owner is not None:
            os.chown(state, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        hint = "Nothing was set up. Run this as root." if isinstance(error, PermissionError) else _ROOM
        raise Refusal(f"{state}: {error.strerror}", hint=hint) from error
    if (sealed := place(path)) is not None and (how is not None or sealed.exists()):
        logs = [_sealed(sealed, path, config, how).verifier]
        trust_file(config.trust, asked_of(config, logs))
        return logs[0].vkey
    with nullcontext() if owner is None else acting_as(owner.pw_uid, owner.pw_gid):
        logs = log_keys(config)
    trust_file(config.trust, asked_of(config, logs))
    return logs[-1].vkey


def _sealed(sealed: Path, path: Path, config: Config, how: Seal | None) -> "Signer":
    """The key that systemd will hand to the service: the one that lies there, else a new one."""
    from agent.anchor.keys import new_key, parse_key  # noqa: PLC0415
    from agent.anchor.ring import KINDS  # noqa: PLC0415

    if sealed.exists():
        if how is not None:
            raise Refusal(f"{sealed} is there already", hint="Nothing was changed. Without --seal it is used.")
        return given(path, config)[0]
    text = new_key(config.station.log, kind=KINDS[config.custody.log_key_kind])
    seal_key(text, sealed, how or Seal.HOST)
    return parse_key(text, config.station.log, str(sealed))


def _tell(path: Path, config: Config, vkey: str, *, sealed: Path | None) -> None:
    from agent.identity import fingerprint  # noqa: PLC0415
    from agent.note import Verifier  # noqa: PLC0415

    line(f"Written: {path}")
    line(f"         {config.trust} (whom the program that deletes believes)")
    line(f"State:   {config.station.state}")
    line(f"Key:     {vkey}")
    line(f"         {fingerprint(Verifier.parse(vkey))}")
    if sealed is not None:
        line(f"         sealed in {sealed}; it lies nowhere else, and opens on this machine alone")
    line("Give this key to whoever checks this station's log: the DEMS, the witnesses, the agency.")
    if not config.uplink:
        line("No DEMS is named yet: what is taken stays here until [[uplink]] is filled in.", "yellow")
    if not config.driver:
        line("No bay is named yet: nothing is taken until a [[driver]] table is filled in.", "yellow")
    service = "evidock" if path.stem == "agent" else f"evidock@{path.stem}"
    start = f"systemctl enable --now {service}" if path.parent == SYSTEM else f"evidock --config {path} run"
    check = "sudo evidock check" if path == SYSTEM / "agent.toml" else f"evidock --config {path} check"
    line(f"Next: {check}, then: {start}")
