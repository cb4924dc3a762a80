"""Which ONVIF devices are in this network: WS-Discovery, for whoever sets a room up. Nothing that runs all day uses it.

OASIS WS-Discovery 1.1 in the version of April 2005 that ONVIF names (Core Specification, chapter "Device discovery"): a
Probe by multicast, and what comes back. Everybody may answer anything, so an answer is an advice and never a setting.
"""

from __future__ import annotations

import asyncio
import socket
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from agent.capture import printable
from firmware_specs import SpecError
from firmware_specs.formats.plain_xml import parse

if TYPE_CHECKING:
    from firmware_specs.formats.plain_xml import Element

__all__ = ["Answer", "answers_in", "discovered", "probe"]

_GROUP: Final = ("239.255.255.250", 3702)
_ANSWERS_MAX: Final = 500
_WORD_MAX: Final = 256
_SCOPE: Final = "onvif://www.onvif.org/"


@dataclass(frozen=True, slots=True)
class Answer:
    """One device, as it says."""

    address: str
    """Of its device service: `url` of `interview_room.onvif`."""
    sender: str
    """The host that answered."""
    name: str = ""
    hardware: str = ""
    recording: bool = False
    """It says that it has Profile G."""


def probe(message: str) -> bytes:
    """The question; `message` is an id of its own."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
        'xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" '
        'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" '
        'xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><s:Header>'
        "<a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</a:Action>"
        f"<a:MessageID>{message}</a:MessageID><a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To></s:Header>"
        "<s:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></s:Body></s:Envelope>"
    ).encode()


def answers_in(data: bytes, sender: str, message: str) -> list[Answer]:
    """The devices in one datagram; none where it answers somebody else, or is nonsense."""
    try:
        root = parse(data)
    except SpecError:
        return []
    header = root.child("Header")
    if header is None or header.said("RelatesTo") != message:
        return []
    matches = root.find("Body/ProbeMatches")
    found = [] if matches is None else [_match(one, sender) for one in matches.children if one.name == "ProbeMatch"]
    return [one for one in found if one is not None]


def _match(one: Element, sender: str) -> Answer | None:
    addresses = [word for word in one.said("XAddrs").split() if _is_http(word)]
    if not addresses:
        return None
    # A device with several networks names an address in each: the one that answered is the one that is reached.
    address = next((word for word in addresses if urlsplit(word).hostname == sender), addresses[0])
    scopes = [unquote(word).removeprefix(_SCOPE) for word in one.said("Scopes").split() if word.startswith(_SCOPE)]

    def said(name: str) -> str:
        return next(
            (printable(word.partition("/")[2])[:_WORD_MAX] for word in scopes if word.startswith(f"{name}/")), ""
        )

    recording = any(word.lower() == "profile/g" for word in scopes)
    return Answer(printable(address)[:_WORD_MAX], sender, said("name"), said("hardware"), recording)


def _is_http(word: str) -> bool:
    try:
        parts = urlsplit(word)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


class _Listening(asyncio.DatagramProtocol):
    def __init__(self, message: str) -> None:
        self._message = message
        self.found: dict[str, Answer] = {}

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        for one in answers_in(data, addr[0], self._message):
            if len(self.found) < _ANSWERS_MAX:
                self.found.setdefault(one.address, one)


async def discovered(seconds: float, *, interface: str = "0.0.0.0", group: tuple[str, int] = _GROUP) -> list[Answer]:  # noqa: S104 - asks; listens on a port of its own
    """Ask, wait so long, and return who answered, by address. `interface`: our address in the network to be asked."""
    message = f"urn:uuid:{uuid.uuid4()}"
    loop = asyncio.get_running_loop()
    transport, listening = await loop.create_datagram_endpoint(
        lambda: _Listening(message), local_addr=(interface, 0), family=socket.AF_INET
    )
    try:
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        if interface != "0.0.0.0":  # noqa: S104 - the same
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
        for _ in range(2):  # a datagram may be lost (SOAP-over-UDP, section 4.2)
            transport.sendto(probe(message), group)
            await asyncio.sleep(seconds / 2)
    finally:
        transport.close()
    return sorted(listening.found.values(), key=lambda one: one.address)
