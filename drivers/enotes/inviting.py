"""Invitations: a one-time code, and the page with its QR code that a tablet is shown.

    state/invitations/<SHA-256 of the code>.json    open; the code itself is on the page alone
    state/invitations/<...>.used                    the same file after it was used: the rename is what uses it

If power fails after the rename and before the tablet has its certificate, the invitation is spent: make another.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import segno
from cryptography.hazmat.primitives import serialization

from agent.capture import rfc3339
from agent.driver import Enrolment
from agent.errors import ConfigError, Problem
from drivers.enotes.authority import Authority, is_name, made_files, write_new
from firmware_specs.formats.enote import moment

if TYPE_CHECKING:
    from pathlib import Path

    from drivers.enotes.options import EnotesOptions

__all__ = ["Invitation", "enrolment", "hosts_of", "invite", "look_up", "open_invitations", "use"]

_FOLDER: Final = "invitations"
_ALPHABET: Final = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
"""What nobody takes for another: no I, L, O, 0, 1."""
_CODE: Final = 28
_GROUP: Final = 4
_FILE_MAX: Final = 4096
_OPEN_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Invitation:
    """What an open invitation says. Where `tablet` or `badge` is None, the tablet says it itself."""

    until: datetime
    tablet: str | None
    badge: str | None
    name: str | None


def hosts_of(options: EnotesOptions) -> tuple[str, ...]:
    """Under which names tablets reach this station. `ConfigError` where nobody said it."""
    listen = options.listen
    hosts = options.reached_at or (() if listen.address.is_unspecified else (str(listen.address),))
    if not hosts:
        raise ConfigError([Problem("reached_at", "name the addresses under which tablets reach this station")])
    return hosts


def enrolment(
    options: EnotesOptions, *, tablet: str | None = None, badge: str | None = None, name: str | None = None
) -> Enrolment:
    """An invitation as a page; makes the station's keys and certificates where they are not there. `ConfigError`."""
    if options.enrol_port is None:
        raise ConfigError([Problem("enrol_port", "give a second port, where an invited tablet gets its certificate")])
    if tablet is not None and not is_name(tablet):
        raise ConfigError([Problem("tablet", "1 to 64 letters, digits and . _ : - can be a tablet's name")])
    made = made_files(options, hosts := hosts_of(options))
    until = datetime.now(UTC) + timedelta(seconds=options.invitation)
    code = invite(options.state, Invitation(until, tablet, badge, name))
    certificate = Authority(options.state).certificate().public_bytes(serialization.Encoding.DER)
    told = {
        "ca": base64.b64encode(certificate).decode(),
        "code": code,
        "enrol": [f"https://{_host(host)}:{options.enrol_port}" for host in hosts],
        "url": [f"https://{_host(host)}:{options.listen.port}" for host in hosts],
        "v": 1,
    }
    page = _page(options, told, until, tablet=tablet, badge=badge, name=name)
    todo = (
        "Open the file in a browser and let the tablet read the code. It holds the one-time code: delete it then.",
        f"It may be used once, until {until:%Y-%m-%d %H:%M} UTC.",
        f"A firewall must let tablets in at ports {options.listen.port} and {options.enrol_port}.",
    )
    return Enrolment(f"{options.name}.invitation.html", page, tuple(made), todo)


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def invite(state: Path, invitation: Invitation) -> str:
    """A new one-time code, about 138 bits; only its digest is written down."""
    folder = state / _FOLDER
    if not folder.exists():
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, state.stat().st_uid, state.stat().st_gid)
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_CODE))
    code = "-".join(letters[at : at + _GROUP] for at in range(0, _CODE, _GROUP))
    told = {
        "badge": invitation.badge,
        "name": invitation.name,
        "tablet": invitation.tablet,
        "until": rfc3339(invitation.until),
    }
    try:
        write_new(folder / f"{_digest(code)}.json", json.dumps(told).encode())
    except OSError as error:
        raise ConfigError([Problem("state", f"{folder}: {error.strerror}")]) from error
    return code


def _digest(code: str) -> str:
    return sha256(code.encode("utf-8", "replace")).hexdigest()


def look_up(state: Path, code: str) -> Invitation | None:
    """The open invitation with this code; None where there is none, or it is over."""
    try:
        raw = (state / _FOLDER / f"{_digest(code)}.json").read_bytes()[:_FILE_MAX]
        told: dict[str, Any] = json.loads(raw)
    except (OSError, ValueError):
        return None
    until = moment(told.get("until"))
    if until is None or datetime.now(UTC) >= until:
        return None
    return Invitation(until, told.get("tablet"), told.get("badge"), told.get("name"))


def use(state: Path, code: str) -> bool:
    """Spend it, once and for all. False: somebody else just did."""
    path = state / _FOLDER / f"{_digest(code)}.json"
    try:
        path.rename(path.with_suffix(".used"))
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)
    except OSError:
        return False
    return True


def open_invitations(state: Path) -> int:
    """How many may still be used; those that are over are cleared away."""
    count, now = 0, datetime.now(UTC)
    try:
        names = sorted((state / _FOLDER).glob("*.json"))[:_OPEN_MAX]
    except OSError:
        return 0
    for path in names:
        try:
            until = moment(json.loads(path.read_bytes()[:_FILE_MAX]).get("until"))
            if until is None or now >= until:
                path.unlink(missing_ok=True)
                continue
        except (OSError, ValueError, AttributeError):
            continue
        count += 1
    return count


# -- the page ----------------------------------------------------------------------------------------------------------


def _page(
    options: EnotesOptions,
    told: dict[str, Any],
    until: datetime,
    *,
    tablet: str | None,
    badge: str | None,
    name: str | None,
) -> bytes:
    """One file without anything from elsewhere, in English and French, to be shown or printed."""
    text = json.dumps(told, separators=(",", ":"), sort_keys=True)
    out = io.BytesIO()
    code = segno.make(text, error="l", micro=False)
    code.save(out, kind="svg", scale=4, border=4, xmldecl=False, svgns=True, nl=False, omitsize=False)
    words = json.loads((resources.files("drivers.enotes") / "web" / "invitation.json").read_text("utf-8"))
    template = (resources.files("drivers.enotes") / "web" / "invitation.html").read_text("utf-8")
    parts: list[str] = []
    for language in ("en", "fr"):
        said = words[language]
        whose = {"tablet": tablet, "badge": badge, "name": name}
        rows = "".join(
            f"<tr><th scope=row>{html.escape(said[key])}</th><td>{html.escape(value)}</td></tr>\n"
            for key, value in {**whose, "service": options.service, "until": f"{until:%Y-%m-%d %H:%M} UTC"}.items()
            if value
        )
        steps = "".join(f"<li>{html.escape(step)}</li>" for step in said["steps"])
        parts.append(
            f"<section lang={language}><h2>{html.escape(said['title'])}</h2>"
            f"<table>{rows}</table><ol>{steps}</ol></section>"
        )
    filled = {
        "QR": out.getvalue().decode(),
        "CODE": html.escape(str(told["code"])),
        "ENROL": html.escape(" ".join(told["enrol"])),
        "TEXT": html.escape(text),
        "SECTIONS": "".join(parts),
    }
    for word, value in filled.items():
        template = template.replace(f"@{word}@", value)
    return template.encode()
