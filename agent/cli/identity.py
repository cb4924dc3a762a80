"""`evidock identity`: the key of this station's log, and the certificate that it shows to the DEMS."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent import durable
from agent.capture import rfc3339
from agent.cli import configuration
from agent.cli.asking import daemon_of
from agent.cli.owner import as_owner
from agent.cli.sealing import SYSTEM, Seal, given, place, seal
from agent.cli.telling import AsJson, line, print_json
from agent.config import Config
from agent.errors import ConfigError, Refusal
from agent.identity import CERTIFICATE, Certificate, fingerprint, install, look, renewal, request
from agent.identity.est import enrol as enrol_at
from agent.note import Verifier

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Who this station is to others.")


_CHAIN_MAX: Final = 1 << 20


@app.command()
def show(ctx: typer.Context, *, as_json: AsJson = False) -> None:
    """Show the public key of the log with its fingerprint, and the certificate with its end."""
    with _keys(ctx) as (config, folder):
        told: dict[str, Any] = {"log": config.station.log, **_certificate(folder)}
        own = _log_key(config)
    told |= _sealed_key(ctx.obj.config, config) or (own if own["vkey"] else _told_key(config) or own)
    if as_json:
        print_json(told)
        return
    line(f"log          {told['log']}")
    line(f"key          {told['vkey'] or told['key_file']}")
    if told["fingerprint"]:
        line(f"             {told['fingerprint']}")
    found = told["certificate"]
    if found is None:
        line(f"certificate  {told['certificate_file']}")
    else:
        line(f"certificate  {found['subject']}, by {found['issuer']}")
        line(f"             until {found['not_after']}", "yellow" if found["due"] else None)


@app.command("seal")
def seal_(
    ctx: typer.Context,
    how: Annotated[Seal, typer.Argument(metavar="HOW", help="By this machine's TPM, or to this system.")],
    *,
    following: Annotated[bool, typer.Option("--next", help="A new key, for evidock custody rotate.")] = False,
) -> None:
    """Seal the log's key, so that it opens on this machine alone; what lay in the clear is removed. Run it as root."""
    from agent.anchor.keys import CREDENTIAL, load_key, new_key  # noqa: PLC0415
    from agent.anchor.ring import KINDS  # noqa: PLC0415

    path: Path = ctx.obj.config.absolute()
    target = place(path, following=following)
    if target is None or os.geteuid() != 0:
        raise Refusal(
            "only the service is handed a sealed key, and only root can seal one",
            hint=f"Nothing was changed. Run this as root, for a configuration in {SYSTEM}.",
        )
    if target.exists():
        raise Refusal(f"{target} is there already", hint="Nothing was changed. What stands in it may still be needed.")
    with _keys(ctx) as (config, folder):  # as the owner of that folder, who might have put a link there
        custody, log, file = config.custody, config.station.log, folder / CREDENTIAL
        if custody.log_key is not None:
            raise Refusal("agent.toml names a key of its own: custody.log_key", hint="Nothing was changed.")
        if not following and not file.exists():
            raise Refusal(f"there is no {file}", hint="Nothing was changed. Whose it is tells: evidock identity show.")
        if not following and file.with_name(f"{file.name}.next").exists():
            hint = "Nothing was changed. End that first: evidock custody rotate --finish."
            raise Refusal("the log's key is being changed, and the service would find one of the two only", hint=hint)
        if following:
            text = new_key(log, kind=KINDS[custody.log_key_kind])
        else:
            load_key(file, log)  # what is no key of this log is not sealed
            text = file.read_text(encoding="utf-8")
    seal(text, target, how, following=following)
    if not following:
        with _keys(ctx):
            _shred(file)
    line(f"{target}: sealed, and seen to open")
    service = "evidock" if path.stem == "agent" else f"evidock@{path.stem}"
    line(f"The daemon has it from its next start on: systemctl restart {service}")


def _shred(file: Path) -> None:
    """Overwrite and remove it. What a disk keeps of what was overwritten is the disk's business."""
    with file.open("r+b") as old:
        old.write(b"\0" * file.stat().st_size)
        old.flush()
        os.fsync(old.fileno())
    file.unlink()
    with durable.folder(file.parent) as folder:
        durable.force_folder(folder)


@app.command("request")
def ask(ctx: typer.Context) -> None:
    """Print a certificate request (PKCS #10, PEM) for the agency's authority. The same key until it is answered."""
    with _keys(ctx) as (config, folder):
        made = request(folder, name=config.station.name, agency=config.station.agency)
    sys.stdout.write(made.public_bytes(Encoding.PEM).decode())


@app.command("install")
def put(
    ctx: typer.Context, file: Annotated[Path, typer.Argument(help="Certificate and chain, PEM.", metavar="FILE")]
) -> None:
    """Put the certificate that the authority made into use, with its chain; key and certificate change together."""
    try:
        with file.open("rb") as opened:
            chain = x509.load_pem_x509_certificates(opened.read(_CHAIN_MAX))
    except OSError as error:
        raise Refusal(f"{file}: {error.strerror}", hint="Nothing was changed.") from error
    except ValueError as error:
        raise Refusal(f"{file} holds no certificates in PEM", hint="Nothing was changed.") from error
    with _keys(ctx) as (_, folder):
        _installed(folder, install(folder, chain))


@app.command()
def enrol(
    ctx: typer.Context,
    *,
    when_due: Annotated[bool, typer.Option("--when-due", help="Only where it is time to renew.")] = False,
) -> None:
    """Have the certificate made, or renewed, by the agency's EST server (`identity` in agent.toml)."""
    with _keys(ctx) as (config, folder):
        asked = config.identity
        if asked.est_url is None:
            raise Refusal("no EST server is named", hint="Name it as identity.est_url in agent.toml.")
        current, now = folder / CERTIFICATE, datetime.now(UTC)
        try:
            found = look(current)
        except (OSError, ValueError):
            found = None
        if when_due and found is not None and not found.due(now):
            line(f"It holds until {rfc3339(found.not_after)}; nothing to do.")
            return
        known = found is not None and found.not_before <= now < found.not_after
        chain = enrol_at(
            asked.est_url,
            renewal(folder) if known else request(folder, name=config.station.name, agency=config.station.agency),
            ca_file=asked.est_ca_file,
            login_file=None if known else asked.est_login_file,
            certificate=current if known else None,
        )
        _installed(folder, install(folder, chain))


def _installed(folder: Path, found: Certificate) -> None:
    line(f"{folder / CERTIFICATE}: {found.subject}, until {rfc3339(found.not_after)}")
    line("The daemon uses it from its next reload on: systemctl reload evidock.")


@contextmanager
def _keys(ctx: typer.Context) -> Iterator[tuple[Config, Path]]:
    """The folder of keys, entered as its owner, so that root leaves no file there that the daemon cannot read."""
    config = configuration(ctx)
    state = config.station.state
    if not state.is_dir():
        raise Refusal(f"there is no {state}", hint="Set this station up with: evidock init.")
    with as_owner(state):
        yield config, state / "keys"


def _log_key(config: Config) -> dict[str, str | None]:
    from agent.anchor.keys import CREDENTIAL, load_key  # noqa: PLC0415

    path = config.custody.log_key or config.station.state / "keys" / CREDENTIAL
    try:
        key = load_key(path, config.station.log).verifier
    except ConfigError:
        return {"vkey": None, "fingerprint": None, "key_file": f"not to be read here: {path}, or given by systemd"}
    return {"vkey": key.vkey, "fingerprint": fingerprint(key), "key_file": str(path)}


def _sealed_key(path: Path, config: Config) -> dict[str, str | None] | None:
    """The key that systemd hands to the service; None where it has a file of its own. Only root can open it."""
    try:
        found = given(path, config)
    except PermissionError:  # root alone sees whether there is one; what lies in the clear is told
        return None
    except Refusal as error:
        return {"vkey": None, "fingerprint": None, "key_file": f"not to be opened here: {error}"}
    if not found:
        return None
    key = found[0].verifier
    return {"vkey": key.vkey, "fingerprint": fingerprint(key), "key_file": str(place(path.absolute()))}


def _told_key(config: Config) -> dict[str, str | None] | None:
    """The key as the daemon tells it, to whoever may ask that and may not look into its folder."""
    with suppress(Refusal):
        if (daemon := daemon_of(config)) is not None and (vkeys := daemon.status()["checkpoint"]["log_vkeys"]):
            told = {"vkey": str(vkeys[0]), "fingerprint": fingerprint(Verifier.parse(vkeys[0]))}
            return {**told, "key_file": "not to be read here; the daemon says so"}
    return None


def _certificate(folder: Path) -> dict[str, Any]:
    path = folder / CERTIFICATE
    try:
        found = look(path)
    except FileNotFoundError:
        why = "none; ask for one with: evidock identity request, or evidock identity enrol"
    except OSError as error:
        why = f"not to be read here: {path}: {error.strerror}"
    except ValueError:
        why = f"{path} is damaged; ask for another with: evidock identity request, or evidock identity enrol"
    else:
        told = {
            "subject": found.subject,
            "issuer": found.issuer,
            "not_before": rfc3339(found.not_before),
            "not_after": rfc3339(found.not_after),
            "due": found.due(datetime.now(UTC)),
        }
        return {"certificate": told, "certificate_file": str(path)}
    return {"certificate": None, "certificate_file": why}
