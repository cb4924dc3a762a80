"""`evidock verify`: check an exported bag, a proof or a checkpoint; asks no daemon and needs no configuration."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from agent.cli.telling import AsJson, line, print_json
from agent.errors import AgentError, in_words

if TYPE_CHECKING:
    from datetime import datetime

    from agent.custody.bag_files import Report
    from agent.note import Verifier

app = typer.Typer(add_completion=False)

UNREADABLE: Final = 2
_PROOF: Final = b"c2sp.org/tlog-proof@v1\n"
_SIGNED: Final = "\n\n\N{EM DASH} ".encode()
"""Between the text of a note and its signatures."""
_OF_A_BAG: Final = ("bagit.txt", "manifest-sha256.txt", "custody")
_KEYS_TODO: Final = "Name a file with one vkey a line, as the agency publishes them."
_VERDICTS: Final = {
    0: ("PROVEN", "green"),
    1: ("NOT PROVEN: something is wrong", "red"),
    3: ("INCOMPLETE: nothing is wrong, something is missing", "yellow"),
}
_COLOURS: Final = {"OK": "green", "NOTE": "", "MISSING": "yellow", "FAILED": "red"}


class _Unreadable(AgentError):
    exit_code = UNREADABLE
    hint = "Name a folder that was exported, a proof with its entry beside it, or a checkpoint."


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(metavar="BAG|PROOF|CHECKPOINT", help="What to check.")],
    *,
    keys: Annotated[
        Path | None, typer.Option(help="Keys of log, witnesses and receipts as the agency publishes them, one a line.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="The agency's root key, which signs the policy.")] = None,
    receipts: Annotated[
        Path | None, typer.Option(help="Keys of the DEMS that sign receipts, one a line: then no others do.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an exported bag, a proof or a checkpoint.

    Exit code: 0 proven, 1 something is wrong, 2 it cannot be read, 3 nothing is wrong but something is missing.
    """
    from agent.custody.bag_files import exit_code  # noqa: PLC0415 - cryptography takes its time

    given, roots, desks = (() if file is None else _keys(file) for file in (keys, root, receipts))
    try:
        report = _bag(path, given, roots, desks) if path.is_dir() else _note(path, given, roots)
    except PermissionError as error:
        hint = "Run this as one who may read all of it."
        raise _Unreadable(f"{error.filename or path} cannot be read: {in_words(error)}", hint=hint) from error
    except (OSError, ValueError) as error:
        raise _Unreadable(f"{path} cannot be read: {in_words(error)}") from error
    code = exit_code(report)
    if as_json:
        checks = [
            {"outcome": one.outcome.value, "what": one.what, "subject": one.subject, "found": one.found}
            for one in report
        ]
        print_json({"exit_code": code, "checks": checks})
    else:
        for one in report:
            shown = f"{one.outcome.value:8}{one.what:11}{one.subject}: {one.found}"
            line("".join(c if c.isprintable() else "?" for c in shown), _COLOURS[one.outcome.value])
        line(*_VERDICTS[code])
    if code:
        raise typer.Exit(code)


def _keys(file: Path) -> "tuple[Verifier, ...]":
    from agent.custody.bag_files import read_plain  # noqa: PLC0415
    from agent.custody.bag_signatures import keys_of  # noqa: PLC0415

    try:
        if found := keys_of(read_plain(file).decode()):
            return found
    except (OSError, ValueError) as error:
        raise _Unreadable(f"the keys in {file} cannot be read: {in_words(error)}", hint=_KEYS_TODO) from error
    raise _Unreadable(f"there is no key in {file}", hint=_KEYS_TODO)


def _bag(
    path: Path, given: "tuple[Verifier, ...]", roots: "tuple[Verifier, ...]", desks: "tuple[Verifier, ...]"
) -> "Report":
    from agent.custody.bag import Bag  # noqa: PLC0415
    from agent.custody.bag_files import Folder  # noqa: PLC0415

    if not any((path / name).exists() for name in _OF_A_BAG):
        raise ValueError("it is no folder that evidock capture export made")
    return Bag(Folder(path), given=given, roots=roots, desks=desks, stamped=stamped).check()


def _note(path: Path, given: "tuple[Verifier, ...]", roots: "tuple[Verifier, ...]") -> "Report":
    from agent.custody.bag_files import Outcome, Report, read_plain  # noqa: PLC0415
    from agent.custody.bag_signatures import Trust, check_head, check_proof_file, keys_of  # noqa: PLC0415
    from agent.custody.policy import open_policy  # noqa: PLC0415

    report, raw = Report(), read_plain(path)
    for beside in (path.parent / "keys/vkeys", path.parent / "vkeys", path.parent.parent / "keys/vkeys"):
        if not given and beside.is_file():
            given = keys_of(read_plain(beside).decode())
            told = f"taken from {beside.name} beside it: compare them with what the agency publishes"
            report.add(Outcome.NOTE, "key", "keys", told)
    if not given and _SIGNED not in raw:
        raise ValueError("it is neither a proof nor a checkpoint")
    if not given:
        raise ValueError("no keys are known: name them by --keys")
    policy = path.parent.parent / "policy.note"
    trust = Trust(given, open_policy(read_plain(policy), roots) if roots and policy.is_file() else None)
    if roots and not policy.is_file():
        told = "there is none: the signature of any one witness counts"
        report.add(Outcome.MISSING, "policy", "policy.note", told)
    proof = raw.startswith(_PROOF)
    checkpoint = raw.partition(b"\n\n")[2] if proof else raw
    head = check_head(checkpoint, trust, report)
    if proof and head is not None:
        try:
            entry = read_plain(path.with_suffix(".json"))
        except FileNotFoundError:
            raise ValueError(f"its entry, {path.stem}.json, is not beside it") from None
        report.attempt(
            "entry", path.stem, lambda: f"entry {check_proof_file(raw, entry, head, checkpoint)} stands in the log"
        )
    return report


def stamped(token: bytes, data: bytes, roots: bytes) -> "datetime":
    """The time of an RFC 3161 token over `data`. Raises `ValueError`."""
    from cryptography import x509  # noqa: PLC0415
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415

    builder = VerifierBuilder()
    for root in dict.fromkeys(x509.load_pem_x509_certificates(roots)):
        builder = builder.add_root_certificate(root)
    try:
        response = decode_timestamp_response(token)
        builder.build().verify_message(response, data)
    except VerificationError as error:
        raise ValueError(f"the time stamp does not hold: {error}") from error
    return response.tst_info.gen_time
