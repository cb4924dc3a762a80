"""WS-Discovery: the PyPI package WSDiscovery reads our question and writes the answers that we read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.interview_room.onvif.discovery import Answer, answers_in, discovered, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

actions = pytest.importorskip("wsdiscovery.actions")
from wsdiscovery.message import createSOAPMessage, parseSOAPMessage  # noqa: E402 - only where it is there
from wsdiscovery.qname import QName  # noqa: E402
from wsdiscovery.scope import Scope  # noqa: E402

NVT = QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")
SCOPES = ["type/video_encoder", "Profile/G", "hardware/Q6045-E", "name/AXIS%20Q6045-E", "location/"]


def answer(question: bytes, *, addresses: str = "http://10.0.5.20/onvif/device_service") -> bytes:
    """What a camera answers, written by the peer from the question as the peer reads it."""
    asked = parseSOAPMessage(question, ("127.0.0.1", 3702))
    scopes = [Scope(f"onvif://www.onvif.org/{one}") for one in SCOPES]
    match = actions.ProbeResolveMatch("urn:uuid:1", [NVT], scopes, addresses.split(), "1")
    envelope = actions.constructProbeMatch([match], asked.getMessageId())
    message = createSOAPMessage(envelope)
    return message if isinstance(message, bytes) else message.encode()


def test_the_peer_reads_our_question() -> None:
    asked = parseSOAPMessage(probe("urn:uuid:5"), ("127.0.0.1", 3702))
    assert asked.getAction().endswith("/Probe")
    assert asked.getMessageId() == "urn:uuid:5"
    assert [one.getLocalname() for one in asked.getTypes()] == ["NetworkVideoTransmitter"]


def test_we_read_the_peers_answer() -> None:
    data = answer(probe("urn:uuid:5"), addresses="http://192.168.0.9/onvif http://10.0.5.20/onvif/device_service")
    (found,) = answers_in(data, "10.0.5.20", "urn:uuid:5")
    assert found == Answer(
        "http://10.0.5.20/onvif/device_service", "10.0.5.20", "AXIS Q6045-E", "Q6045-E", recording=True
    )
    assert answers_in(data, "10.0.5.20", "urn:uuid:6") == [], "an answer to somebody else's question"
    assert answers_in(answer(probe("urn:uuid:5"), addresses="file:///etc/passwd"), "x", "urn:uuid:5") == []


def test_cut_after_every_byte() -> None:
    data = answer(probe("urn:uuid:5")).rstrip()
    assert not any(answers_in(data[:at], "x", "urn:uuid:5") for at in range(len(data)))


@given(st.binary(max_size=300))
def test_any_datagram(data: bytes) -> None:
    assert answers_in(data, "x", "urn:uuid:5") == []


@contextmanager
def answering(reply: Callable[[bytes], list[bytes]]) -> Iterator[tuple[str, int]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)

        def serve() -> None:
            for _ in range(2):
                question, sender = sock.recvfrom(65536)
                for one in reply(question):
                    sock.sendto(one, sender)

        thread = Thread(target=serve)
        thread.start()
        yield sock.getsockname()
        thread.join(10)


def test_asked_twice_answered_twice_found_once() -> None:
    with answering(lambda question: [b"noise", answer(question), answer(question)]) as group:
        found = asyncio.run(discovered(1.0, interface="127.0.0.1", group=group))
    assert [one.address for one in found] == ["http://10.0.5.20/onvif/device_service"]
