"""Replay against GStreamer's ONVIF server, the recorded conversation as a vector, and servers that break off or lie."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import DeviceError, DeviceGone, DeviceRefused
from agent.testing.ports import free_port
from agent.testing.probe import Probe, read_all
from agent.testing.rig import running, until
from drivers.interview_room.live.emulator import PYTHON
from drivers.interview_room.onvif import OnvifRecorder
from drivers.interview_room.onvif.device import Found
from drivers.interview_room.onvif.driver import ended, grid, slices
from drivers.interview_room.onvif.emulator import Kept, RecorderEmulator
from drivers.interview_room.onvif.relay import Relay, Seen
from drivers.interview_room.onvif.rtsp import Frame, Login, read, written
from firmware_specs import SpecError
from firmware_specs.formats.onvif_replay import packet
from tests.drivers.interview_room.onvif.breaking import ALL, BEGAN, breaking, sound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.capture import Observation
    from agent.driver import Offer


# Packets of GStreamer's server (samples/onvif-replay/packets.json): the first, one in the middle, the last.
HEAD = bytes.fromhex("9060431f8d2e2c9b1ba0fa85")
FIRST = HEAD + bytes.fromhex("abac0003 00000000 00000000 a0000000")
MIDDLE = HEAD + bytes.fromhex("abac0003 00000005 99999999 00000000")
LAST = HEAD + bytes.fromhex("abac0003 00000005 cccccccc 50000000")


def test_the_extension() -> None:
    first, middle, last = packet(FIRST), packet(MIDDLE), packet(LAST)
    assert (first.sequence, first.type, first.at, first.clean, first.jump) == (17183, 96, ALL, True, True)
    assert middle.at == ALL + timedelta(seconds=5, microseconds=599_999)
    assert (last.gap, last.last, last.clean) == (True, True, False)
    assert packet(bytes([0x80]) + HEAD[1:]).at is None


def test_a_recorded_conversation() -> None:
    """What Debian's GStreamer 1.22 sent, byte for byte; the counts are those of the sample's own list."""
    samples = os.environ.get("EVIDOCK_SAMPLES")
    if not samples:
        pytest.skip("EVIDOCK_SAMPLES names no folder with the conversation")
    folder = Path(samples) / "onvif-replay"
    expected = json.loads((folder / "packets.json").read_text())

    async def all_of() -> list[Any]:
        reader = asyncio.StreamReader()
        reader.feed_data((folder / "server_to_client.bin").read_bytes())
        reader.feed_eof()
        found = []
        try:
            while True:
                found.append(await read(reader))
        except DeviceGone:
            return found

    found = asyncio.run(all_of())
    packets = [packet(one.data) for one in found if isinstance(one, Frame) and one.channel == 0]
    rows = expected["packets"] if isinstance(expected, dict) else expected
    assert len(packets) == len(rows) == 79
    assert [one.sequence for one in packets] == list(range(17183, 17262))
    assert [one.status for one in found if not isinstance(one, Frame)] == [200, 200, 200, 200, 200]
    assert [(one.clean, one.jump) for one in packets].count((True, False)) == 5
    assert [one.last for one in packets] == [False] * 78 + [True]
    seen = Seen()
    for one in packets:
        seen.see(0, one)
    assert (seen.ended, seen.lost, seen.gaps) == (True, 0, [])
    assert seen.latest == ALL + timedelta(seconds=5, microseconds=899_999)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_packet_or_none(data: bytes) -> None:
    for one in (data, b"\x90" + data, LAST[:20] + data):
        try:
            packet(one)
        except SpecError:
            continue


def test_cut_after_every_byte() -> None:
    for at in range(len(LAST)):
        with pytest.raises(SpecError):
            packet(LAST[:at])


def test_gaps_and_losses_are_seen() -> None:
    def at(sequence: int, seconds: int) -> bytes:
        return (
            HEAD[:2]
            + sequence.to_bytes(2, "big")
            + HEAD[4:]
            + b"\xab\xac\x00\x03"
            + seconds.to_bytes(4, "big")
            + bytes(8)
        )

    seen = Seen()
    for sequence, seconds in ((65534, 10), (65535, 11), (0, 11), (1, 60), (5, 61), (6, 60)):
        seen.see(0, packet(at(sequence, seconds)))
    assert seen.gaps == [(ALL + timedelta(seconds=11), ALL + timedelta(seconds=60))]
    assert seen.lost == 3
    assert not seen.ended


@given(st.binary(max_size=200))
def test_any_bytes_are_rtsp_or_one_of_our_errors(data: bytes) -> None:
    async def look() -> None:
        reader = asyncio.StreamReader(limit=1024)
        reader.feed_data(data)
        reader.feed_eof()
        try:
            while True:
                await read(reader)
        except DeviceError:
            pass

    asyncio.run(look())


def test_the_digest_of_the_standard() -> None:
    """RFC 2617, section 3.5, and RFC 7616, section 3.9.1, without their cnonce: computed by the same rules."""
    login = Login("Mufasa", "Circle Of Life")
    assert login.sure("DESCRIBE", "rtsp://x/") is None
    assert login.challenged('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    assert 'username="Mufasa"' in (login.sure("DESCRIBE", "rtsp://x/") or "")
    assert not login.challenged('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    assert not Login("a", "b").challenged('Basic realm="x"'), "a password is never shown"


def test_nothing_breaks_out_of_a_header() -> None:
    assert written("PLAY x RTSP/1.0", {"Range": "a\r\nEvil: b"}).count(b"\r\n") == 3


@pytest.mark.parametrize(
    ("found", "after", "expected"),
    [
        (Found("a", BEGAN, BEGAN + timedelta(minutes=5), "Stopped"), 60, [None]),
        (Found("a", BEGAN, BEGAN + timedelta(minutes=25), "Stopped"), 60, [0, 1, 2]),
        (Found("a", BEGAN, BEGAN + timedelta(minutes=25), "Recording"), 25, [0, 1]),
        (Found("a", BEGAN, None, "Recording"), 10.5, []),
        (Found("a", BEGAN, None, "Stopped"), 25, [0, 1]),
    ],
)
def test_slices(found: Found, after: float, expected: list[int | None]) -> None:
    of = grid(found, timedelta(minutes=10), BEGAN + timedelta(minutes=after))
    assert [one.number for one in slices(found, of, range(of.count))] == expected
    assert ended(found) is (found.status == "Stopped" and found.ended_at is not None)


# -- against GStreamer -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def gstreamer(film: Path, *login: str) -> AsyncIterator[int]:
    port = free_port()
    command = [PYTHON, str(Path(__file__).with_name("server.py")), str(port), str(film), *login]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    except OSError as error:
        pytest.skip(f"{PYTHON}: {error}")
    assert process.stdout is not None
    assert process.stderr is not None
    if await process.stdout.readline() != b"ready\n":
        why = (await process.stderr.read()).decode(errors="replace")
        pytest.skip(f"there is no GStreamer ONVIF server here: {why.strip().rpartition(chr(10))[2]}")
    try:
        yield port
    finally:
        process.kill()
        await process.wait()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of ffmpeg's test picture, a key frame each second, with B-frames."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not here")
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    source = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10:duration=10"]
    subprocess.run([*source, "-c:v", "libx264", "-bf", "2", "-g", "10", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., OnvifRecorder]:
    (tmp_path / "password").write_text("pass\n")

    def make(emulator: RecorderEmulator, **options: object) -> OnvifRecorder:
        known: dict[str, Any] = {
            "use": "interview_room.onvif", "name": "room-1", "url": emulator.url, "user": "admin", "answer": 5,
            "password_file": tmp_path / "password", "rescan": 0.05,
        }  # fmt: skip
        return OnvifRecorder(OnvifRecorder.Options.model_validate(known | options))

    return make


class Watcher(Probe):
    def __init__(self, *words: Any) -> None:  # noqa: ANN401
        super().__init__(*words)
        self.told: list[Observation] = []

    async def observe(self, observation: Observation, /) -> None:
        self.told.append(observation)


@pytest.mark.proves("interview_room.onvif", peer="GStreamer's ONVIF RTSP server; ffprobe as second reader")
async def test_a_recording_is_found_replayed_and_whole(
    made: Callable[..., OnvifRecorder], film: Path, tmp_path: Path
) -> None:
    """Every picture of the film, by ffprobe's count, through search, login, replay and ffmpeg."""
    got: list[bytes] = []

    async def look(offer: Offer) -> None:
        if not got:
            assert not hasattr(offer, "release")
            assert offer.capture.members == 1
            got.append(await read_all(offer, 0))

    async with gstreamer(film, "admin", "pass") as port:
        kept = [Kept("REC_001", ALL, ALL + timedelta(seconds=10))]  # this server's times begin with NTP's
        async with RecorderEmulator(kept=kept, rtsp=f"rtsp://192.168.1.64:{port}/rec") as emulator:
            probe = Watcher(look)
            async with running(made(emulator), probe):
                await until(lambda: bool(got or probe.failures or probe.wrong))
                await until(lambda: any(one.kind == "room.replayed" for one in probe.told) or bool(probe.failures))
    assert not probe.failures
    assert not probe.wrong
    path = tmp_path / "replay.mov"
    path.write_bytes(got[0])
    command = ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"]
    done = subprocess.run([*command, str(path)], capture_output=True, check=True, text=True)  # noqa: ASYNC221
    assert done.stdout.strip() == "100"
    (told,) = [one.detail for one in probe.told if one.kind == "room.replayed"][:1]
    assert (told["gaps"], told["packets_missing"], told["capture"]) == ([], 0, "REC_001-10s")


async def test_a_wrong_password_and_a_server_without_replay_are_told(film: Path) -> None:
    async with gstreamer(film, "admin", "pass") as port:
        for path, login, words in (
            ("rec", Login("admin", "wrong"), "401"),
            ("plain", Login("admin", "pass"), "551"),
        ):
            async with Relay(f"rtsp://127.0.0.1:{port}/{path}", login, ALL, None, answer=5) as relay:
                process = await asyncio.create_subprocess_exec(
                    "ffmpeg", "-v", "quiet", "-rtsp_transport", "tcp", "-i", relay.url, "-f", "null", "-"
                )
                await process.wait()
            assert words in str(relay.trouble), path


async def test_another_user_of_the_machine_gets_no_replay() -> None:
    """Who connects first is nobody: what is on loopback is open to all, and only our ffmpeg is served."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can start a process of another user")
    frames = [sound(number, number, last=number == 9) for number in range(10)]
    async with breaking(frames) as uri, Relay(uri, None, BEGAN, None, answer=5) as relay:
        port = relay.url.rpartition(":")[2].partition("/")[0]
        words = f"OPTIONS {relay.url} RTSP/1.0\\r\\nCSeq: 1\\r\\n\\r\\n"
        asks = f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '{words}' >&3; cat <&3"
        stranger = await asyncio.create_subprocess_exec(
            "setpriv", "--reuid=65534", "--clear-groups", "bash", "-c", asks,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(20):
            told, _ = await stranger.communicate()
        assert told == b""
        process = await asyncio.create_subprocess_exec(
            "ffmpeg", "-v", "quiet", "-rtsp_transport", "tcp", "-i", relay.url, "-c", "copy", "-f", "null", "-"
        )
        async with asyncio.timeout(20):
            await process.wait()
    assert relay.seen.packets == 10
    assert relay.trouble is None


async def test_an_address_that_is_none(made: Callable[..., OnvifRecorder]) -> None:
    wrong: list[BaseException] = []

    async def look(offer: Offer) -> None:
        try:
            await read_all(offer, 0)
        except DeviceError as error:
            wrong.append(error)
            raise

    kept = [Kept("REC_001", BEGAN, BEGAN + timedelta(minutes=1))]
    async with (
        RecorderEmulator(kept=kept, rtsp="http://evil.example/") as emulator,
        running(made(emulator), Probe(look)),
    ):
        await until(lambda: bool(wrong))
    assert isinstance(wrong[0], DeviceRefused)
