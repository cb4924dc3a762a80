"""`evidock handover`: disks that carry captures: prepared, verified by who receives them, and signed for."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agent.capture import printable
from agent.cli.keyfile import key_made, key_read
from agent.cli.telling import AsJson, length, line, print_json, table
from agent.errors import Refusal, UplinkDown, in_words

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Disks that carry captures to a DEMS without a network."
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the medium is mounted.")]

_ABOUT_MAX: Final = 1 << 20
_SHELF: Final = 2
"""Letters of the folders in which stations put captures: the first of their ids."""
_HERE: Final = "Name the folder where the medium is mounted, the one with evidock-medium.json in it."
_AT_ONCE: Final = 10_000
"""Receipts in one file."""
_OTHERS_MOST: Final = 64
"""Further stations of one capture that are signed for."""
_KINDS: Final = {"capture": str, "log": str, "index": int, "length": int, "sha256": str}


@dataclass(frozen=True, slots=True)
class _Bag:
    """One capture on the medium, and what its bytes are now."""

    about: dict[str, Any]
    sha256: str
    wrong: str | None = None
    others: tuple[dict[str, Any], ...] = ()
    """What further stations say that took the same capture, each by an entry of its own log."""

    @property
    def capture(self) -> str:
        return str(self.about.get("capture"))

    def origin(self, name: str) -> str:
        return printable(str(self.about.get("origin", {}).get(name, "")))


@app.command()
def prepare(folder: Folder) -> None:
    """Mark a medium, so that stations write captures to it. What lies on it stays."""
    from agent.uplink.folder.medium import prepare as mark  # noqa: PLC0415 - not needed for --help

    medium = mark(folder.absolute())
    line(f'{medium.path} is medium {medium.id}: name it as `path` of an [[uplink]] with use = "folder"')


@app.command()
def check(folder: Folder, *, as_json: AsJson = False) -> None:
    """Read every capture on a medium and compare it with what its station said. Writes nothing."""
    folder = folder.absolute()
    _look_for_mark(folder)
    found = list(_bags(folder))
    if as_json:
        print_json({"captures": [{**one.about, "found_sha256": one.sha256, "wrong": one.wrong} for one in found]})
    else:
        _show(found)
    if any(one.wrong for one in found):
        raise Refusal("some captures on this medium are not what their station said", hint=_AGAIN)


@app.command()
def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option("--key", help="The receipt key; made where it is not there yet.")],
    name: Annotated[str, typer.Option("--name", help="Its name, such as dems.example.org/receipts.")],
    copies: Annotated[int, typer.Option("--copies", min=1, max=1000, help="How many copies you keep.")] = 1,
    *,
    as_json: AsJson = False,
) -> None:
    """Verify every capture and sign for those that are right, once they are stored; the receipts go on the medium."""
    folder = folder.absolute()
    _look_for_mark(folder)
    signer = key_read(key, name, make=_MAKES) if os.path.lexists(key) else key_made(key, name)
    found = list(_bags(folder))
    now = datetime.now(UTC)
    good = [one for one in found if one.wrong is None]
    abouts = [about for one in good for about in (one.about, *one.others)]
    for first in range(0, len(abouts), _AT_ONCE):
        notes = [_receipt(about, signer, now, copies) for about in abouts[first : first + _AT_ONCE]]
        _write(folder, f"{now:%Y%m%dT%H%M%SZ}-{first // _AT_ONCE:03}.json", notes)
    if as_json:
        print_json({"signed": [one.capture for one in good], "vkey": signer.vkey})
    else:
        _show(found)
        line(f'signed for {len(good)} of {len(found)}; stations believe it by receipt_keys = ["{signer.vkey}"]')
    if len(good) < len(found):
        raise Refusal("some captures on this medium are not what their station said", hint=_TODO)


_MAKES: Final = "evidock handover sign --key FILE --name NAME"
_AGAIN: Final = "The station still has them: leave it its copies, and have it write again."
_TODO: Final = f"Nothing was signed for those. {_AGAIN}"


def _look_for_mark(folder: Path) -> None:
    """Raise `UplinkDown` where no medium is: whoever receives one has no agent.toml that names a place."""
    from agent.uplink.folder.medium import Medium  # noqa: PLC0415 - not needed for --help

    try:
        Medium.at(folder)
    except UplinkDown as error:
        if isinstance(error.__cause__, PermissionError):
            raise Refusal(
                f"you may not read what is mounted at {folder}", hint="Nothing was read. Run this as root."
            ) from error
        raise UplinkDown(str(error), hint=_HERE) from error


def _bags(folder: Path) -> Iterator[_Bag]:
    from agent.uplink.folder.medium import CAPTURES, Medium, below, names_in, opened, told  # noqa: PLC0415

    root = opened(folder)
    try:
        Medium.under(root, folder)
        if CAPTURES not in names_in(root):
            return
        with below(root, CAPTURES) as captures:
            for shelf in (name for name in names_in(captures) if len(name) == _SHELF and _is(name, captures)):
                with below(captures, shelf) as bags:
                    for name in names_in(bags):
                        if not name.startswith(".") and _is(name, bags):
                            yield _bag(bags, name)
    except OSError as error:
        raise told(error, folder) from error
    finally:
        os.close(root)


def _is(name: str, folder: int, kind: int = stat.S_IFDIR) -> bool:
    """Whether it is a folder, or of another kind: a link to one is none, for it may lead off the medium."""
    return stat.S_IFMT(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode) == kind


def _bag(bags: int, capture: str) -> _Bag:
    """Nothing that lies there is trusted: what the sums say is compared with what the bytes are."""
    from agent.uplink.folder.bag import ABOUT, about_of  # noqa: PLC0415
    from agent.uplink.folder.medium import below, names_in  # noqa: PLC0415

    about: dict[str, Any] = {"capture": capture}
    others: list[dict[str, Any]] = []
    try:
        with below(bags, capture) as place:
            if (said := _about(place, ABOUT)) is None:
                return _Bag(about, "", f"{ABOUT} is not what a station writes")
            about = said
            with below(place, "data") as data:
                files = [name for name in names_in(data) if _is(name, data, stat.S_IFREG)]
                if len(files) != 1:
                    return _Bag(about, "", f"it holds {len(files)} files instead of one")
                sha256, count = _hashed(files[0], data)
            first, last = about_of("\0").split("\0")
            more = [name for name in names_in(place) if name.startswith(first) and name.endswith(last)]
            for name in islice(more, _OTHERS_MOST):
                with suppress(OSError):
                    other = _about(place, name)
                    if other is not None and all(other[one] == about[one] for one in ("capture", "sha256", "length")):
                        others.append(other)
    except OSError as error:
        return _Bag(about, "", f"it cannot be read: {in_words(error)}")
    if about["capture"] != capture:
        return _Bag(about, sha256, "it lies under the id of another capture")
    if about["sha256"] != sha256 or about["length"] != count:
        return _Bag(about, sha256, "its bytes are not those that its station took")
    return _Bag(about, sha256, others=tuple(others))


def _hashed(name: str, folder: int) -> tuple[str, int]:
    import hashlib  # noqa: PLC0415

    from agent.descent import FILE  # noqa: PLC0415

    whole, count = hashlib.sha256(), 0
    with os.fdopen(os.open(name, FILE, dir_fd=folder), "rb") as payload:
        while block := payload.read(1 << 20):
            whole.update(block)
            count += len(block)
    return whole.hexdigest(), count


def _about(place: int, name: str) -> dict[str, Any] | None:
    """What a station wrote beside a capture; None where it is nothing that a receipt could say."""
    from agent.custody.receipt import write  # noqa: PLC0415
    from agent.uplink.folder.medium import read_plain  # noqa: PLC0415

    try:
        about = json.loads(read_plain(name, _ABOUT_MAX, place))
        if not isinstance(about, dict) or not isinstance(about.get("origin"), dict):
            return None
        if any(type(about.get(word)) is not kind for word, kind in _KINDS.items()):
            return None
        write(_note(about, datetime.now(UTC), 1)).encode()
    except (ValueError, RecursionError):
        return None
    return about


def _receipt(about: dict[str, Any], signer: Any, now: datetime, copies: int) -> str:  # noqa: ANN401 - agent.note.Signer
    from agent.custody.receipt import write  # noqa: PLC0415
    from agent.note import sign as signed  # noqa: PLC0415

    return signed(write(_note(about, now, copies)), signer).decode()


def _note(about: dict[str, Any], now: datetime, copies: int) -> Any:  # noqa: ANN401 - agent.custody.receipt.ReceiptNote
    from agent.custody.receipt import ReceiptNote  # noqa: PLC0415

    return ReceiptNote(
        capture=about["capture"],
        sha256=bytes.fromhex(about["sha256"]),
        length=about["length"],
        log=about["log"],
        index=about["index"],
        stored_at=now,
        copies=copies,
    )


def _write(folder: Path, name: str, notes: list[str]) -> None:
    from agent import durable  # noqa: PLC0415
    from agent.uplink.folder.medium import RECEIPTS, below, opened  # noqa: PLC0415

    root, content = opened(folder), json.dumps({"schema": "receipt/1", "receipts": notes}).encode()
    try:
        with below(root, RECEIPTS, make=True) as place:
            durable.replace_below(name, content, place, 0o644)
    except OSError as error:
        path = folder / RECEIPTS / name
        hint = "Nothing was signed. Make room on the medium, or take its write protection away; then sign again."
        raise Refusal(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    finally:
        os.close(root)


def _show(found: list[_Bag]) -> None:
    if not found:
        line("No station has written a capture to this medium yet.")
        return
    table(
        ("capture", "device", "name", "bytes", "SHA-256", "is"),
        [
            (
                one.capture,
                one.origin("device"),
                one.origin("key"),
                length(one.about["length"]) if "length" in one.about else "",
                one.sha256[:16],
                one.wrong or "right",
            )
            for one in found
        ],
        right=("bytes",),
    )
