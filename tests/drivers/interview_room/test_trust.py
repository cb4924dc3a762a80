"""Authorities are read once, beside the event loop, and anew when their file is another one."""

from __future__ import annotations

import asyncio
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import DeviceRefused
from agent.selfsigned import make_certificate
from drivers.interview_room import trust
from drivers.interview_room.trust import believed
from tests.drivers.interview_room.test_polling import OPTIONS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads in which authorities were read."""
    found: list[threading.Thread] = []

    def make(**more: Any) -> ssl.SSLContext:  # noqa: ANN401
        found.append(threading.current_thread())
        return true(**more)

    true = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", make)
    monkeypatch.setattr(trust, "_read", {})
    return found


async def test_those_of_the_system_are_read_once_and_beside_the_event_loop(reads: list[threading.Thread]) -> None:
    found = [await believed(OPTIONS) for _ in range(3)]
    assert len(reads) == len({id(one) for one in found}) == 1
    assert reads[0] is not threading.current_thread()


async def test_nothing_is_read_for_a_camera_without_tls(reads: list[threading.Thread]) -> None:
    assert await believed(OPTIONS.model_copy(update={"url": "http://10.0.5.11", "ca_file": None})) is True
    assert not reads


async def test_a_file_that_is_renewed_is_read_anew(tmp_path: Path, reads: list[threading.Thread]) -> None:
    path = tmp_path / "ca.pem"
    options = OPTIONS.model_copy(update={"ca_file": path})
    with pytest.raises(DeviceRefused, match="cannot be used"):
        await believed(options)
    for number in range(2):
        reads.clear()
        make_certificate(new := tmp_path / f"new-{number}.pem", tmp_path / f"key-{number}.pem", ["10.0.5.11"])
        new.rename(path)
        contexts = await asyncio.gather(believed(options), believed(options))
        assert isinstance(contexts[0], ssl.SSLContext)
        assert 1 <= len(reads) <= 2
        reads.clear()
        await believed(options)
        assert not reads
