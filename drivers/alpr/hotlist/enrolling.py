"""What whoever sends lists must know so that they arrive: where to, how it shows who it is, and what is signed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from agent.driver import Enrolment
from agent.errors import ConfigError, Problem
from agent.selfsigned import make_certificate, write_for_owner

if TYPE_CHECKING:
    from agent.listening import ListenOptions
    from drivers.alpr.hotlist.options import HotlistOptions, ListOptions, PushOptions

__all__ = ["enrolment"]

_PROVEN: Final = {
    "signature": (".jws", "its manifest, signed by one of the keys that this station knows (docs/hotlists.md)"),
    "digest": (".sha256", "its digest, as sha256sum prints it"),
    "none": ("", "nothing; this list is for trying"),
}


def enrolment(options: HotlistOptions) -> Enrolment:
    """One page for all lists; makes certificate and tokens where their files are not there yet. `ConfigError`."""
    listen, made = options.listen, list[str]()
    if listen is None:
        raise ConfigError([Problem("listen", "no list is sent to this station: there is no [driver.listen]")])
    host = options.reached_at or ("" if listen.address.is_unspecified else str(listen.address))
    if not host:
        raise ConfigError([Problem("reached_at", "name the address under which this station is reached")])
    sent = [(one, one.push) for one in options.list if one.push is not None]
    try:
        for _, push in sent:
            if push.secret_file is not None and not push.secret_file.exists():
                write_for_owner(push.secret_file, secrets.token_hex(32).encode() + b"\n")
                made.append(str(push.secret_file))
        ours = [one for one in (listen.certificate, listen.key) if one is not None]
        if ours and not any(one.exists() for one in ours):
            make_certificate(ours[0], ours[1], [host])
            made += map(str, ours)
        head = f"Lists for {options.name}: how they are sent. This page holds tokens; destroy it afterwards.\n"
        pages = [_page(host, listen, one, push) for one, push in sent]
    except OSError as error:
        raise ConfigError([Problem(str(error.filename), str(error.strerror))]) from error
    todo = (
        "Give whoever sends lists the page and this station's certificate, and destroy the page.",
        f"A firewall must let it in at port {listen.port}.",
    )
    return Enrolment(f"{options.name}.lists.txt", "\n".join([head, *pages]).encode(), tuple(made), todo)


def _page(host: str, listen: ListenOptions, one: ListOptions, push: PushOptions) -> str:
    scheme, shown = "http" if listen.plain else "https", f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{listen.port}/hotlists/{one.name}"
    secret = "" if push.secret_file is None else push.secret_file.read_text("ascii", "replace").strip()
    settings = {
        "token": (f'header = "Authorization: Bearer {secret}"',),
        "basic": (f'user = "{push.user}:{secret}"',),
        "digest": ("digest", f'user = "{push.user}:{secret}"'),
        "certificate": ('cert = "CERTIFICATE"', f'key = "KEY"    # whose name is {push.common_name or one.name}'),
    }[push.auth]
    trusted = () if listen.plain else (f'cacert = "{listen.certificate}"',)
    ending, proof = _PROVEN[one.proof]
    curl = f"curl --config {one.name}.curl --upload-file"
    files = [f"FILE{ending}", "FILE"] if ending else ["FILE"]
    said = [f"== {one.name}", f"   URL:       {url}", f"   proven by: {proof}"]
    # In a file and not in the command, which every user of the other side's machine could see.
    said += [f"   {one.name}.curl, for its owner alone:"]
    said += [f"      {line}" for line in (*trusted, *settings, "fail-with-body")]
    said += [f"   {curl} {file} {url}{file.removeprefix('FILE')}" for file in files]
    return "\n".join([*said, ""])
