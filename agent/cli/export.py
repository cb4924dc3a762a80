"""`evidock capture export`: captures with all that proves them, as a bag for a court."""

import base64
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agent.cli import configuration
from agent.cli.asking import Source, source
from agent.cli.check.state import nearest
from agent.cli.owner import closed_above
from agent.cli.telling import AsJson, length, line, print_json
from agent.cli.verify import stamped
from agent.descent import FILE
from agent.errors import ConfigError, Problem, Refusal, SpoolDamaged, SpoolFull, in_words
from agent.station.dossiers import UNSAID

if TYPE_CHECKING:
    from agent.config import Config
    from agent.custody.export import Dossier, Keys, Seal

__all__ = ["export"]

_BLOCK: Final = 2 * 1024 * 1024
_PAPERS: Final = 16 * 1024
"""Bytes of what stands beside a capture: certificate, manifest, entries, proofs."""


def export(
    ctx: typer.Context,
    captures: Annotated[list[str], typer.Argument(metavar="ID...", help="Captures' ids, or their first characters.")],
    *,
    to: Annotated[Path, typer.Option("--to", help="The folder to make; it must not exist.", metavar="FOLDER")],
    why: Annotated[str, typer.Option("--why", help="For whom; it stands in the custody log.")] = UNSAID,
    as_json: AsJson = False,
) -> None:
    """Write captures and all that proves them into a folder that others can verify without Evidock."""
    from agent.custody.bag import Bag  # noqa: PLC0415 - cryptography takes its time
    from agent.custody.bag_files import Folder, Outcome, exit_code  # noqa: PLC0415
    from agent.custody.export import Labels  # noqa: PLC0415
    from agent.custody.export import export as write  # noqa: PLC0415
    from agent.journal.entry import agent_version  # noqa: PLC0415

    config = configuration(ctx)
    kept = config.station.state / "spool" / "kept"
    _can_be_made(to)
    with source(ctx) as station:
        _can_be_read(kept, captures, station)
        _has_room(to, captures, station)
        told = station.dossiers(captures, why=why)  # from here on the log says of each that it was exported
    seal = _seal(config, told)
    labels = Labels(datetime.now(UTC), config.station.agency, agent_version())
    made = write(
        [_dossier(one) for one in told["captures"]], lambda name: _read(kept, name), to, seal=seal, labels=labels
    )
    keys = (*seal.keys.logs, *seal.keys.witnesses, *seal.keys.receipts)
    roots = () if seal.keys.root is None else (seal.keys.root,)
    desks = seal.keys.receipts
    report = Bag(Folder(to), given=keys, roots=roots, desks=desks, stamped=stamped).check()
    weak = [check for check in report if check.outcome in (Outcome.MISSING, Outcome.FAILED)]
    if as_json:
        names = [one.id for one in made]
        missing = [f"{one.subject}: {one.found}" for one in weak]
        print_json({"folder": str(to), "captures": names, "missing": missing, "left_out": told["left_out"]})
    else:
        line(f"{to}: {len(made)} captures, {sum(one.length for one in made)} bytes", "bold")
        for name in told["left_out"]:
            line(f"note: {name} is of the same recording and was not named", "yellow")
        for check in weak:
            line(f"{check.outcome.value.lower()}: {check.what} {check.subject}: {check.found}", "yellow")
        line(f"check it: sh {to}/verify.sh, or: evidock verify {to}")
    if code := exit_code(report):
        raise typer.Exit(code)


def _can_be_made(folder: Path) -> None:
    if os.path.lexists(folder):
        raise Refusal(f"{folder} is there already", hint="Nothing was written. Name a folder that does not exist.")
    if (above := closed_above(folder)) is not None:
        raise Refusal(f"no folder can be made in {above}", hint="Nothing was written. Name another folder.")


def _has_room(folder: Path, captures: list[str], station: Source) -> None:
    """Before the log says that they were exported. What proves them needs less than the least that is asked here."""
    needed = _PAPERS * len(captures)
    for one in captures:
        found = station.capture(one)["capture"]
        needed += found["length"] if found["spooled"] else 0
    disk = os.statvfs(nearest(folder.absolute()))
    if disk.f_blocks and needed > (free := disk.f_bavail * disk.f_frsize):
        raise SpoolFull(
            f"{folder} cannot be written: it needs {length(needed)}, and {length(free)} are free there",
            hint="Nothing was written. Make room on that disk, or name a folder on another one.",
        )


def _can_be_read(kept: Path, captures: list[str], station: Source) -> None:
    try:
        os.scandir(kept).close()
    except FileNotFoundError:
        return
    except PermissionError:
        if any(station.capture(one)["capture"]["spooled"] for one in captures):
            raise _closed(kept) from None


def _closed(kept: Path) -> Refusal:
    return Refusal(f"you may not read {kept}", hint="Nothing was written. Run this as root.")


def _dossier(told: dict[str, Any]) -> "Dossier":
    from agent.custody.export import Dossier, Leaf, Quoted  # noqa: PLC0415

    def leaf(one: dict[str, Any]) -> Leaf:
        return Leaf(one["index"], _raw(one["entry"]) or b"", _raw(one["proof"]))

    quoted = told["quoted"]
    return Dossier(
        told["capture"],
        tuple(leaf(one) for one in told["story"]),
        _raw(told["receipt"]),
        told["spooled"],
        None if quoted is None else Quoted(leaf(quoted["entry"]), _raw(quoted["checkpoint"]) or b""),
        tuple(leaf(one) for one in told["sources"]),
    )


def _seal(config: "Config", told: dict[str, Any]) -> "Seal":
    from agent.anchor import trust_of  # noqa: PLC0415
    from agent.custody.export import Seal  # noqa: PLC0415

    trust, tsa = trust_of(config), b""
    if told["token"] is not None and config.custody.tsa_ca_file is not None:
        tsa = _authority(config.custody.tsa_ca_file)
    token = _raw(told["token"])
    return Seal(
        told["log"],
        _raw(told["checkpoint"]),
        _keys(config, told),
        trust.note,
        () if token is None else (token,),
        tsa,
    )


def _keys(config: "Config", told: dict[str, Any]) -> "Keys":
    """Whose signatures this station knows: public keys only, from its configuration and from its journal."""
    from agent.anchor import trust_of  # noqa: PLC0415
    from agent.anchor.keys import load_key  # noqa: PLC0415
    from agent.custody.export import Keys  # noqa: PLC0415
    from agent.custody.policy import open_policy  # noqa: PLC0415
    from agent.note import Note, Verifier  # noqa: PLC0415

    trust, log = trust_of(config), told["log"]
    logs, witnesses, root = list[Verifier](), list(trust.witnesses), None
    if trust.note is not None:
        policy = open_policy(trust.note, trust.roots)
        logs, witnesses = policy.log_keys(log), policy.witness_keys
        root = Note.parse(trust.note).verified_by(trust.roots)[0].by
    if not logs:
        logs = [Verifier.parse(vkey) for vkey in told["log_vkeys"]]
    if not logs:
        with suppress(ConfigError):  # as its owner; nobody else may read it
            logs = [load_key(config.custody.log_key or config.station.state / "keys" / "log.key", log).verifier]
    receipts = [Verifier.parse(vkey) for table in config.uplink for vkey in table.get("receipt_keys", ())]
    return Keys(tuple(logs), tuple(witnesses), tuple(dict.fromkeys(receipts)), root)


def _authority(file: Path) -> bytes:
    from agent.custody.bag_files import read_plain  # noqa: PLC0415

    try:
        return read_plain(file)
    except (OSError, ValueError) as error:
        raise ConfigError([Problem("custody.tsa_ca_file", f"{file} cannot be read: {in_words(error)}")]) from error


def _read(kept: Path, sha256: bytes) -> Iterator[bytes]:
    """A kept file of the spool, from its first byte to its last."""
    try:
        with open(os.open(kept / sha256.hex(), FILE), "rb", buffering=0) as file:  # noqa: PTH123 - no pipe waited for
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SpoolDamaged(f"the kept file {sha256.hex()} is no plain file")
            while block := file.read(_BLOCK):
                yield block
    except PermissionError:
        raise _closed(kept) from None
    except OSError as error:
        raise SpoolDamaged(f"the kept file {sha256.hex()} cannot be read: {error.strerror}") from error


def _raw(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
