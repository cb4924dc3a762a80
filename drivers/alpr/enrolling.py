"""What is entered in each camera so that it finds this station: a page for whoever stands before the camera's own."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from agent.driver import Enrolment
from agent.errors import ConfigError, Problem
from agent.selfsigned import make_certificate, write_for_owner
from drivers.alpr.door import secret_of
from drivers.alpr.makers import MAKERS

if TYPE_CHECKING:
    from drivers.alpr.options import CameraOptions, ReceiverOptions

__all__ = ["enrolment", "target"]

_HOW: Final = {
    "hikvision": (
        "Configuration > Event > Alarm Server (or Network > Advanced > HTTP Listening): destination and path as above,",
        "protocol {scheme}, port {port}; turn on ANPR's linkage `Notify Surveillance Center`. Turn off recognition of",
        "driver and passengers. Over ISAPI it is PUT /ISAPI/Event/notification/httpHosts/1 with:",
        "",
        "{xml}",
    ),
    "openalpr": (
        "In /etc/openalpr/alprd.conf (or in the agent's window under Web Server):",
        "  upload_data = 1",
        "  upload_address = {url}",
        "Better: leave the reads in beanstalkd and use the driver alpr.queue; see docs/alpr.md.",
    ),
    "axis": (
        "AXIS License Plate Verifier > Integration > Push events: protocol HTTP POST, server URL as above,",
        "event types New, Update and Lost, with the image of the plate.",
    ),
    "platerecognizer": (
        "In Stream's config.ini:",
        "  [webhooks]",
        "    [[evidock]]",
        "      url = {url}",
        "      image = yes",
        "      image_type = vehicle, plate",
        "      {header}",
    ),
    "generic": ("In the device's own page: POST to the URL above, with the template that the mapping describes.",),
}
_XML: Final = (
    '<HttpHostNotification version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema"><id>1</id>'
    "<url>{path}</url><protocolType>{scheme}</protocolType><parameterFormatType>XML</parameterFormatType>"
    "<addressingFormatType>{kind}</addressingFormatType><{tag}>{host}</{tag}><portNo>{port}</portNo>"
    "{who}</HttpHostNotification>"
)


def target(options: ReceiverOptions, camera: CameraOptions) -> tuple[str, str, str]:
    """(scheme, host, path) that a camera posts to. Raises `ConfigError`."""
    listen = options.listen
    host = options.reached_at or ("" if listen.address.is_unspecified else str(listen.address))
    if not host:
        raise ConfigError([Problem("reached_at", "name the address under which the cameras reach this station")])
    secret = f"/{secret_of(camera)}" if camera.auth == "path" else ""
    return "http" if listen.plain else "https", host, f"/alpr/{camera.maker}/{camera.name}{secret}"


def enrolment(options: ReceiverOptions) -> Enrolment:
    """One page for all cameras; makes certificate and secrets where their files are not there yet. `ConfigError`."""
    listen, made = options.listen, list[str]()
    try:
        for camera in options.camera:
            if camera.secret_file is not None and not camera.secret_file.exists():
                # Some pages of cameras take no more than 32 characters of a password.
                write_for_owner(camera.secret_file, secrets.token_hex(16).encode() + b"\n")
                made.append(str(camera.secret_file))
        if listen.certificate is not None and listen.key is not None:
            host = target(options, options.camera[0])[1]
            if not listen.certificate.exists() and not listen.key.exists():
                make_certificate(listen.certificate, listen.key, [host])
                made += [str(listen.certificate), str(listen.key)]
    except OSError as error:
        raise ConfigError([Problem(str(error.filename), str(error.strerror))]) from error
    pages = [_page(options, camera) for camera in options.camera]
    head = f"Cameras of {options.name}: what to enter in each. This page holds passwords; destroy it afterwards.\n"
    content = "\n".join([head, *pages]).encode()
    todo = (
        "Enter in each camera's page what the file says, and destroy the file.",
        f"A firewall must let the cameras in at port {listen.port}.",
        "Set time server and time zone in each camera.",
    )
    return Enrolment(f"{options.name}.cameras.txt", content, tuple(made), todo)


def _page(options: ReceiverOptions, camera: CameraOptions) -> str:
    scheme, host, path = target(options, camera)
    port, secret = options.listen.port, secret_of(camera)
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{port}{path}"
    who = {
        "path": "nothing; the last part of the path is the secret",
        "token": f"the header `Authorization: Token {secret}`",
        "basic": f"user {camera.user}, password {secret} (basic)",
        "digest": f"user {camera.user}, password {secret} (digest)",
        "certificate": f"a certificate with the name {camera.name}",
        "address": "nothing; it is known by its address",
    }[camera.auth]
    kind, tag = (
        ("hostname", "hostName") if any(one.isalpha() for one in host.replace(":", "")) else ("ipaddress", "ipAddress")
    )
    method = {"digest": "MD5digest", "basic": "basic"}.get(camera.auth, "none")
    login = (
        f"<userName>{escape(camera.user)}</userName><password>{escape(secret)}</password>" if method != "none" else ""
    )
    xml = _XML.format(
        path=escape(path),
        scheme=scheme.upper(),
        kind=kind,
        tag=tag,
        host=escape(host),
        port=port,
        who=f"{login}<httpAuthenticationMethod>{method}</httpAuthenticationMethod>",
    )
    header = f"header = Authorization: Token {secret}" if camera.auth == "token" else ""
    how = (
        line.format(scheme=scheme.upper(), port=port, url=url, xml=xml, header=header) for line in _HOW[camera.maker]
    )
    return "\n".join(
        [
            f"== {camera.name}: {MAKERS[camera.maker].title}",
            f"   URL:            {url}",
            f"   host and port:  {host}, {port}",
            f"   path:           {path}",
            f"   it shows:       {who}",
            *(f"   {line}".rstrip() for line in how),
            "",
        ]
    )
