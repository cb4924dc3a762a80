"""`evidock custody`: whom the program that deletes believes, another key for the log, and a new epoch after a loss."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent.addresses import shown
from agent.cli import configuration
from agent.cli.asking import START, daemon_of, source_of
from agent.cli.owner import as_owner
from agent.cli.telling import AsJson, line, pairs, print_json
from agent.errors import ConfigError, JournalError, Problem, Refusal, UplinkDown, in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.capture import Json
    from agent.config import Config
    from agent.note import Verifier

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Keys of the custody log, and whom the program that deletes believes.",
)

Why = Annotated[str, typer.Option("--why", help="The reason; it stands in the custody log.")]

_UNCHANGED: Final = "Nothing was changed."
_CHECKPOINT_MAX: Final = 1 << 18
_WITHIN: Final = 20.0
_NO_KEY: Final = "the log has no key yet, and so nobody can be told to believe it"
_MAKE_IT: Final = "The first start makes it; before that: evidock custody trust --write."


@app.command()
def trust(
    ctx: typer.Context,
    *,
    write: Annotated[bool, typer.Option("--write", help="Write the file as agent.toml has it now.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show whom the program that deletes believes; with --write, make it what agent.toml says."""
    from agent.belief import asked_of  # noqa: PLC0415 - cryptography and drivers take their time
    from agent.release import TODO, compared, trust_file  # noqa: PLC0415

    config = configuration(ctx)
    keys = _log_keys(ctx.obj.config, config, make=write)
    told = asked_of(config, keys)
    if write:
        trust_file(config.trust, told)
    differs = compared(config.trust, told) if keys else _NO_KEY
    if as_json:
        print_json({"file": str(config.trust), "differs": differs, "trust": told})
    else:
        shown = {name: _shown(value) for name, value in told.items()}
        pairs({"file": str(config.trust), **shown, "as agent.toml says": differs is None})
        if differs is not None:
            line(differs, "red")
            line(f"  {TODO if keys else _MAKE_IT}")
        elif _may_write(config.trust, config):
            line(
                "The daemon's user may write this file. Where devices may forget, keep it where only root may:"
                " name it as custody.trust.",
                "yellow",
            )
    if differs is not None:
        raise typer.Exit(Refusal.exit_code)


def _log_keys(path: Path, config: "Config", *, make: bool) -> list["Verifier"]:
    """The keys that sign for the log now: as the daemon says, else from their files, or as systemd keeps them.

    None where there is no key yet; `make` it then, unless one has signed.
    """
    from agent.belief import log_keys, no_key_yet  # noqa: PLC0415
    from agent.cli.sealing import given  # noqa: PLC0415
    from agent.note import Verifier  # noqa: PLC0415

    if (daemon := daemon_of(config)) is not None:
        return [Verifier.parse(vkey) for vkey in daemon.status()["checkpoint"]["log_vkeys"]]
    if found := [signer.verifier for signer in given(path, config)]:
        return found
    state = config.station.state
    with as_owner(state) if state.is_dir() else nullcontext():  # a new key is the owner's
        if not no_key_yet(config):
            return log_keys(config)
        if not make:
            return []
    if (state / "journal.db").exists():
        with source_of(config) as station:
            signed = station.status()["checkpoint"] is not None
        if signed:
            raise JournalError(
                f"the private key of the log {config.station.log} is missing, and it has signed already",
                hint="Put keys/log.key back. If it is lost for good, begin a new epoch: evidock custody new-epoch.",
            )
    with as_owner(state) if state.is_dir() else nullcontext():
        return log_keys(config)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "a policy, signed" if isinstance(value, str) else "none" if value is None else str(value).lower()


def _may_write(path: Path, config: "Config") -> bool:
    """Whether whoever owns the state folder, which is the daemon's user, could put another file in the place of it."""
    owner = config.station.state.stat().st_uid if config.station.state.exists() else 0
    return owner != 0 and owner in {path.stat().st_uid, path.parent.stat().st_uid}


@app.command()
def rotate(
    ctx: typer.Context,
    *,
    why: Why,
    finish: Annotated[bool, typer.Option("--finish", help="End it: only the newer key signs from now on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change the log's key: checkpoints carry the lines of both keys until --finish."""
    daemon = daemon_of(configuration(ctx))
    if daemon is None:
        raise Refusal("no daemon runs, and it must sign with both keys", hint=f"Nothing was changed. {START}")
    told = daemon.rotate(finish=finish, why=why)
    if as_json:
        print_json(told)
        return
    pairs(told)
    if finish:
        line("Take the former key out of the policy only when no proof that it signed is needed any more.")
        return
    line("Both keys sign now. Before you end it with --finish:")
    line("  1. give the new key to every witness (evidock status shows whether they cosign),")
    line("  2. have the agency sign a policy that lists both keys, and put it where custody.policy says,")
    line("  3. as one who may write that file: evidock custody trust --write")


@app.command("new-epoch")
def new_epoch(
    ctx: typer.Context,
    *,
    checkpoint: Annotated[
        str,
        typer.Option(help="The last checkpoint that a witness cosigned: a file, or an address.", metavar="FILE|URL"),
    ],
    why: Why,
    as_json: AsJson = False,
) -> None:
    """Begin a new log after a loss of state: its first entry quotes what a witness saw last of the old one."""
    from agent.process import locked  # noqa: PLC0415
    from agent.station.acts import said  # noqa: PLC0415

    config, why = configuration(ctx), said(why)
    path = config.station.state / "journal.db"
    if os.path.lexists(path):  # who may not look is told so below
        raise _lived(path)
    follows = _follows(config, _fetched(config, checkpoint))
    state, begin = (
        config.station.state,
        _beginning(),
    )  # loaded by who may read the program, and not by the state's owner
    with as_owner(state) if state.is_dir() else nullcontext(), locked(state):
        if path.exists():
            raise _lived(path)
        begin(path, config.station.log, {"follows": follows, "why": why})
    if as_json:
        print_json({"log": config.station.log, "follows": follows})
        return
    names = ", ".join(map(str, witnesses)) if isinstance(witnesses := follows["witnesses"], list) else ""
    told = follows | {"witnesses": names}
    pairs({"log": config.station.log, **{f"follows {name}": value for name, value in told.items()}})
    line("Now: evidock custody trust --write, give the new log's key to the witnesses, and start the daemon.")


def _beginning() -> "Callable[[Path, str, dict[str, Json]], None]":
    """What makes the first journal of a log."""
    from agent import durable  # noqa: PLC0415
    from agent.clock import Clock  # noqa: PLC0415
    from agent.journal import Journal  # noqa: PLC0415
    from agent.station.peers import me  # noqa: PLC0415

    def begin(path: Path, log: str, opened: "dict[str, Json]") -> None:
        """Make it under another name: what has no first entry yet must not pass for a log that follows nothing."""
        new = path.with_name(f"{path.name}.new")

        def let_go() -> None:
            for one in path.parent.glob(f"{new.name}*"):
                one.unlink(missing_ok=True)

        let_go()  # of a try that a power cut ended
        try:
            Journal.open(new, log=log, stamp=Clock().stamp, opened=opened, actor=me().actor).close()
            with durable.folder(path.parent) as folder:
                durable.move(new.name, folder, path.name, folder)
                durable.force_folder(folder)
        except BaseException:
            let_go()
            raise

    return begin


def _lived(path: Path) -> Refusal:
    return Refusal(
        f"{path} is there: an epoch begins with an empty state folder",
        hint=f"{_UNCHANGED} Let what is held be sent; then move the whole folder aside and keep it.",
    )


def _fetched(config: "Config", place: str) -> bytes:
    import http.client  # noqa: PLC0415
    import ssl  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    from agent.custody.bag_files import read_plain  # noqa: PLC0415

    if not place.startswith(("http://", "https://")):
        try:
            return read_plain(Path(place))
        except (OSError, ValueError) as error:
            hint = f"{_UNCHANGED} Name the file that has it, or its address."
            raise Refusal(f"{shown(place)} cannot be read: {in_words(error)}", hint=hint) from error
    try:
        context = ssl.create_default_context(cafile=config.custody.ca_file)
    except OSError as error:
        raise ConfigError([Problem("custody.ca_file", f"{config.custody.ca_file}: {in_words(error)}")]) from error
    try:
        with urllib.request.urlopen(place, timeout=_WITHIN, context=context) as answer:  # noqa: S310 - http(s), above
            raw: bytes = answer.read(_CHECKPOINT_MAX)
            return raw
    except (OSError, ValueError, http.client.HTTPException) as error:
        within = getattr(error, "reason", None)  # what urllib wraps
        why = in_words(within if isinstance(within, OSError) else error)
        hint = f"{_UNCHANGED} Is that the right address?"
        raise UplinkDown(f"{shown(place)} cannot be read: {why}", hint=hint) from error


def _follows(config: "Config", raw: bytes) -> "dict[str, Json]":
    """What the first entry says of the old log, once one of our witnesses is known to have signed that."""
    import hashlib  # noqa: PLC0415

    from agent.anchor import trust_of  # noqa: PLC0415
    from agent.capture import rfc3339  # noqa: PLC0415
    from agent.custody.checkpoint import Checkpoint  # noqa: PLC0415
    from agent.custody.policy import open_policy  # noqa: PLC0415
    from agent.note import BadNote, Note  # noqa: PLC0415

    given = trust_of(config)
    try:
        witnesses = list(given.witnesses)
        if given.note is not None:
            witnesses += open_policy(given.note, given.roots).witness_keys
        note = Note.parse(raw)
        signed = [one for one in note.verified_by(dict.fromkeys(witnesses)) if one.cosigned_at is not None]
        head = Checkpoint.parse(note.text)
    except BadNote as bad:
        raise Refusal(
            f"this is not a checkpoint that a witness of this station cosigned: {bad}",
            hint=f"{_UNCHANGED} Ask the administrator of the witness for the last one of the old log.",
        ) from bad
    stem, _, epoch = head.origin.rpartition("/log")
    ours, _, now = config.station.log.rpartition("/log")
    if stem != ours or not epoch.isdecimal() or int(epoch) >= int(now):
        raise ConfigError(
            [
                Problem(
                    "station.epoch",
                    f"{config.station.log} cannot follow {head.origin}: name and number are chosen once",
                )
            ],
            hint="Nothing was changed. Set station.epoch to a number that was never used.",
        )
    return {
        "cosigned_at": rfc3339(max(one.cosigned_at for one in signed if one.cosigned_at is not None)),
        "origin": head.origin,
        "root": head.root.hex(),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "size": head.size,
        "witnesses": [one.by.name for one in signed],
    }
