"""The log's key as a systemd credential: sealed by this machine's TPM or to this system, and nowhere on disk in clear.

    /etc/credstore.encrypted/evidock.log.key        for evidock.service; evidock-NAME.log.key for evidock@NAME.service
    /etc/credstore.encrypted/evidock.log.key.next   the next key, while the log's key is changed

The units ask for these names, and systemd opens them for the service alone. Root can open them too, on this machine.
"""

import subprocess
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import durable
from agent.anchor.keys import CREDENTIAL, parse_key
from agent.errors import ConfigError, Refusal

if TYPE_CHECKING:
    from agent.config import Config
    from agent.note import Signer

__all__ = ["STORE", "SYSTEM", "Seal", "given", "instance", "place", "seal"]

SYSTEM: Final = Path("/etc/evidock")
STORE: Final = Path("/etc/credstore.encrypted")
_PATIENCE: Final = 120.0


class Seal(StrEnum):
    """By what a key is sealed."""

    TPM2 = "tpm2"
    """By the TPM of this machine, as long as it starts with the same firmware settings (PCR 7)."""
    HOST = "host"
    """By the key that systemd keeps for this system: whoever copies the whole disk has it."""


def instance(config: Path) -> str | None:
    """What stands behind `evidock` in the names of this configuration's service; None: no service has it."""
    if config.parent != SYSTEM:
        return None
    return "" if config.name == "agent.toml" else f"-{config.stem}"


def place(config: Path, *, following: bool = False) -> Path | None:
    """Where this configuration's service finds its sealed key, or the `following` one; None: no service has it."""
    if (words := instance(config)) is None:
        return None
    return STORE / f"evidock{words}.{CREDENTIAL}{'.next' if following else ''}"


def seal(text: str, target: Path, how: Seal, *, following: bool = False) -> None:
    """Seal a key, and see that it can be opened again. `Refusal` with nothing left behind.

    The `following` key has no name sealed in, for it takes the place of the other later.
    """
    words = [f"--name={'' if following else CREDENTIAL}", f"--with-key={how}"]
    if how is Seal.TPM2:
        words.append("--tpm2-pcrs=7")
    content = _systemd_creds("encrypt", *words, "-", "-", given=text.encode())
    try:
        durable.make_folder(target.parent)
        durable.replace_file(target, content)
    except OSError as error:
        hint = durable.advice(error, "Nothing was changed. Run this as root.")
        raise Refusal(f"{target}: {error.strerror}", hint=hint) from error
    try:
        same = _opened(target, following=following) == text
    except Refusal:
        target.unlink(missing_ok=True)
        raise
    if not same:
        target.unlink(missing_ok=True)
        raise Refusal("what was sealed opens as something else", hint="Nothing was changed. Seal it in another way.")


def given(path: Path, config: "Config") -> "list[Signer]":
    """The keys that systemd hands to the service of this configuration; none where they are files of the service's own.

    `Refusal` where they cannot be opened here.
    """
    found: list[Signer] = []
    for following in (False, True):
        sealed = place(path.absolute(), following=following)
        if config.custody.log_key is not None or sealed is None or not sealed.exists():
            continue
        try:
            found.append(parse_key(_opened(sealed, following=following), config.station.log, str(sealed)))
        except ConfigError as error:
            raise Refusal(str(error), hint="Nothing was changed. Seal the right key anew.") from error
    return found


def _opened(sealed: Path, *, following: bool) -> str:
    name = "" if following else CREDENTIAL
    return _systemd_creds("decrypt", f"--name={name}", str(sealed), "-").decode("utf-8", "replace")


def _systemd_creds(*words: str, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - no word of it comes from outside
            ["systemd-creds", *words],  # noqa: S607 - where the distribution put it
            input=given,
            capture_output=True,
            check=False,
            timeout=_PATIENCE,
        )
    except FileNotFoundError:
        raise Refusal(
            "systemd-creds is not here", hint="Nothing was changed. It comes with systemd 250 and later."
        ) from None
    except subprocess.TimeoutExpired:
        raise Refusal("systemd-creds does not answer", hint="Nothing was changed. Look at the TPM.") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Refusal(
            f"systemd-creds {words[0]}: {said[-1] if said else 'it failed'}",
            hint="Nothing was changed. Run this as root on the machine that sealed it; systemd-creds has-tpm2 tells"
            " whether a TPM can be used (Debian: apt install libtss2-esys-3.0.2-0 libtss2-rc0 libtss2-mu0).",
        )
    return done.stdout
