"""Private keys that stand in files which the command line names: no agent.toml is to be edited where one is wrong."""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent.errors import AgentError, ConfigError, Refusal, in_words

if TYPE_CHECKING:
    from agent.note import Signer

__all__ = ["key_made", "key_read"]

_NAMES: Final = "Nothing was written. A name has no blank and no plus, such as alice.example.org."
_PREFIX: Final = "PRIVATE+KEY+"
_MOST: Final = 4096


def key_made(path: Path, name: str) -> "Signer":
    """A new key under this name, in a file of its owner alone. Raises `Refusal`, and `PermissionError`."""
    from agent.anchor.keys import load_key, make_key  # noqa: PLC0415 - cryptography takes its time
    from agent.note import BadNote, check_name  # noqa: PLC0415

    try:
        check_name(name)
    except BadNote:
        raise Refusal(f"{name!r} cannot be the name of a key", hint=_NAMES) from None
    if os.path.lexists(path):
        raise Refusal(f"{path} is there already", hint="Nothing was written. Name another file.")
    try:
        make_key(path, name)
    except (AgentError, OSError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__ or error
        if isinstance(cause, PermissionError):
            raise cause from None  # who may, whoever runs commands is told in one way
        hint = "Nothing was written. Name a file in a folder that you may write, on a disk with room."
        raise Refusal(f"{path} cannot be written: {in_words(cause)}", hint=hint) from error
    return load_key(path, name)


def key_read(path: Path, name: str | None = None, *, make: str) -> "Signer":
    """The key in a file, under this name where one is asked for. `make`: what makes such a file. Raises `Refusal`."""
    from agent.anchor.keys import parse_key  # noqa: PLC0415 - cryptography takes its time

    try:
        with path.open("rb") as file:
            text = file.read(_MOST).decode("utf-8", "replace").strip()
            others = stat.S_IMODE(path.stat().st_mode) & 0o077
    except FileNotFoundError:
        raise Refusal(f"{path} is not there", hint=f"Nothing was signed. Make a key: {make}") from None
    except IsADirectoryError:
        raise Refusal(f"{path} is a folder", hint="Nothing was signed. Name the file of the private key.") from None
    except OSError as error:
        hint = "Nothing was signed. Run this as whoever the key belongs to."
        raise Refusal(f"{path} cannot be read: {in_words(error)}", hint=hint) from error
    said = text.removeprefix(_PREFIX).partition("+")[0] if text.startswith(_PREFIX) else None
    if said is None:
        raise Refusal(
            f"{path} holds no private key", hint=f"Nothing was signed. Name the file that was made by: {make}"
        )
    if others:
        raise Refusal(f"others may read the private key in {path}", hint=f"Nothing was signed. chmod go= {path}")
    if name not in (None, said):
        hint = "Nothing was signed. Say that name, or name the file of another key."
        raise Refusal(f"the key in {path} is that of {said!r}, and not of {name!r}", hint=hint)
    try:
        return parse_key(text, said, str(path))
    except ConfigError as error:
        hint = "Nothing was signed. Take its copy, or make a new one and tell the stations."
        raise Refusal(f"the private key in {path} is damaged", hint=hint) from error
