"""Recorders that break off, fall silent, or come to no end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agent.errors import DeviceError
from drivers.interview_room.onvif.rtsp import Frame, read, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

ALL = datetime(1900, 1, 1, tzinfo=UTC)
BEGAN = datetime(2026, 11, 22, 10, tzinfo=UTC)


@asynccontextmanager
async def breaking(frames: Iterable[bytes], *, stalls: bool = False) -> AsyncIterator[str]:
    """A recorder that answers everything, sends these packets, and then is gone or silent."""
    sdp = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nm=audio 0 RTP/AVP 0\r\na=control:t\r\na=x-onvif-track:A\r\n"
    serving: set[asyncio.Task[Any] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        try:
            while True:
                asked = await read(reader)
                assert not isinstance(asked, Frame)
                headers = {"CSeq": asked.headers["cseq"], "Session": "1"}
                if asked.method == "SETUP":
                    headers["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
                body = sdp if asked.method == "DESCRIBE" else b""
                more = {"Content-Type": "application/sdp"} if body else {}
                writer.write(written("RTSP/1.0 200 OK", {**headers, **more}, body))
                if asked.method == "PLAY":
                    assert asked.headers["require"] == "onvif-replay"
                    assert asked.headers["rate-control"] == "no"
                    assert asked.headers["range"].startswith("clock=20261122T100000.000Z-")
                    for one in frames:
                        writer.write(b"$\x00" + len(one).to_bytes(2, "big") + one)
                        await writer.drain()
                    if not stalls:
                        return
        except (DeviceError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"rtsp://127.0.0.1:{server.sockets[0].getsockname()[1]}/rec"
    await asyncio.gather(*(task for task in serving if task is not None))


def sound(sequence: int, seconds: int, *, last: bool = False) -> bytes:
    since = int((BEGAN - ALL).total_seconds()) + seconds
    flags = b"\x50" if last else b"\x00"
    head = b"\x90\x80" + sequence.to_bytes(2, "big") + (8000 * seconds).to_bytes(4, "big") + b"\x00\x00\x00\x01"
    return head + b"\xab\xac\x00\x03" + since.to_bytes(4, "big") + bytes(4) + flags + bytes(3) + bytes(8000)
