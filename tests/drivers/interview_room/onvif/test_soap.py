"""SOAP by the published WSDLs: real captures are read, requests and answers fit the schemas, nonsense is refused."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agent.errors import DeviceError, DeviceGone, DeviceRefused
from drivers.interview_room.onvif import soap
from drivers.interview_room.onvif.device import Recorder
from drivers.interview_room.onvif.emulator import Kept, RecorderEmulator
from drivers.interview_room.onvif.options import OnvifOptions
from drivers.interview_room.onvif.soap import Services, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

etree = pytest.importorskip("lxml.etree")

BEGAN = datetime(2026, 11, 22, 10, tzinfo=UTC)
SERVICES = Services()
WORDS = {"GetServices": {"IncludeCapability": False}}


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., OnvifOptions]:
    (tmp_path / "password").write_text("pass\n")

    def make(emulator: RecorderEmulator, **options: object) -> OnvifOptions:
        known: dict[str, Any] = {
            "use": "interview_room.onvif", "name": "room-1", "url": emulator.url, "user": "admin", "answer": 2,
            "password_file": tmp_path / "password", "rescan": 0.05,
        }  # fmt: skip
        return OnvifOptions.model_validate(known | options)

    return make


def test_the_digest_of_the_programmers_guide() -> None:
    """ONVIF Application Programmer's Guide, section 6.1.1.3."""
    from base64 import b64decode  # noqa: PLC0415

    nonce = b64decode("LKqI6G/AikKCQrN0zqZFlg==")
    assert digest_of(nonce, "2010-09-16T07:50:45Z", "userpassword") == "tuOSpGlFlIXsozq4HFNeeGeFLEI="


@pytest.mark.proves("interview_room.onvif", vectors="captures of Axis, Hikvision, Pelco and TrendNET by onvif-nvt")
@pytest.mark.parametrize(
    ("file", "operation", "expected"),
    [
        ("axis/core/GetDeviceInformation.Response.xml", "GetDeviceInformation", ("Model", "Q6045-E")),
        ("hikvision/core/GetDeviceInformation.Response.xml", "GetDeviceInformation", ("Model", "DS-2DF7276-A")),
        (
            "pelco/core/GetDeviceInformation.Response.xml",
            "GetDeviceInformation",
            ("FirmwareVersion", "2.9.0.4.9340-A0.0"),
        ),
        ("pelco/core/GetSystemDateAndTime.Response.xml", "GetSystemDateAndTime", ("UTCDateTime", "Year")),
        ("trendnet/core/GetSystemDateAndTime.Response.xml", "GetSystemDateAndTime", ("UTCDateTime", "2018")),
        ("trendnet/core/GetServices.Response.xml", "GetServices", ("SearchRecording", "Replay")),
        ("hikvision/core/GetServices.Response.xml", "GetServices", ("onvif/Media", "onvif/Events")),
    ],
)
def test_answers_of_real_devices(file: str, operation: str, expected: tuple[str, str]) -> None:
    """Captured of Axis, Hikvision, Pelco and TrendNET devices by the authors of `onvif-nvt` (MIT)."""
    samples = os.environ.get("EVIDOCK_SAMPLES")
    if not samples:
        pytest.skip("EVIDOCK_SAMPLES names no folder with captures")
    body = (Path(samples) / "onvif-captures" / file).read_bytes()
    told = SERVICES.read(
        SERVICES.call("devicemgmt", operation, **WORDS.get(operation, {})), 200, "application/soap+xml", body
    )
    assert all(word in str(told) for word in expected)


def test_a_fault_of_a_real_device() -> None:
    samples = os.environ.get("EVIDOCK_SAMPLES")
    if not samples:
        pytest.skip("EVIDOCK_SAMPLES names no folder with captures")
    body = (Path(samples) / "onvif-captures/axis/core/GetServices.Error.xml").read_bytes()
    with pytest.raises(DeviceRefused, match="refuses GetServices"):
        SERVICES.read(SERVICES.call("devicemgmt", "GetServices", IncludeCapability=False), 500, "text/xml", body)


def schema_of(service: str) -> Any:  # noqa: ANN401 - lxml has no types
    """The schema inside a WSDL, as the library ships it, for another reader than zeep."""
    spec = soap.importlib.util.find_spec("onvif")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "wsdl" / f"{service}.wsdl"
    document = etree.parse(str(path))
    (schema,) = document.findall(".//{http://www.w3.org/2001/XMLSchema}schema")
    return etree.XMLSchema(etree.fromstring(etree.tostring(schema), base_url=str(path)))


async def test_requests_and_answers_fit_the_published_schemas(made: Callable[..., OnvifOptions]) -> None:
    kept = [
        Kept(f"REC_{number:03}", BEGAN + timedelta(hours=number), BEGAN + timedelta(hours=number, minutes=41))
        for number in range(45)
    ]
    heard: list[tuple[str, bytes]] = []
    read = Services.read

    def reading(self: Services, call: Any, status: int, kind: str, body: bytes) -> Any:  # noqa: ANN401
        heard.extend([(call.service, call.body), (call.service, body)])
        return read(self, call, status, kind, body)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Services, "read", reading)
        async with RecorderEmulator(kept=kept) as emulator, Recorder(made(emulator)) as recorder:
            await recorder.greet()
            found = await recorder.recordings()
            uri = await recorder.replay_uri("REC_001")
    assert [one.token for one in found] == [one.token for one in kept], "more than one page"
    assert uri == "rtsp://127.0.0.1:554/rec", "the recorder calls itself 192.168.1.64"
    assert recorder.words["Model"] == "NVR-1"
    schemas = {name: schema_of(name) for name in ("devicemgmt", "search", "replay")}
    assert len(heard) > 10
    for service, body in heard:
        envelope = etree.fromstring(body)
        content = envelope.find("{http://www.w3.org/2003/05/soap-envelope}Body")[0]
        assert schemas[service].validate(content), (schemas[service].error_log, body)


async def test_recordings_beyond_those_that_are_kept_in_mind_are_counted(
    made: Callable[..., OnvifOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.interview_room.onvif.device._FOUND_MAX", 7)
    minute = timedelta(minutes=1)
    kept = [Kept(f"REC_{n:03}", BEGAN - n * minute, BEGAN + 41 * minute) for n in range(45)]  # the newest first
    async with RecorderEmulator(kept=kept) as emulator, Recorder(made(emulator)) as recorder:
        await recorder.greet()
        found = [one.token for one in await recorder.recordings()]
        assert found == [f"REC_{n:03}" for n in range(44, 37, -1)], "the oldest are overwritten first"
        assert recorder.unlisted == 38


async def test_its_clock_is_hours_off_and_the_login_goes_by_it(made: Callable[..., OnvifOptions]) -> None:
    async with RecorderEmulator(ahead=timedelta(hours=-7)) as emulator, Recorder(made(emulator)) as recorder:
        await recorder.greet()
        assert recorder.ahead is not None
        assert abs(recorder.ahead + timedelta(hours=7)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"password": "other"}, DeviceRefused, "does not let us in"),
        ({"services": False}, DeviceRefused, "no Profile G"),
        ({"away": True}, DeviceGone, "not reached"),
    ],
)
async def test_what_is_wrong_is_said(
    made: Callable[..., OnvifOptions], change: dict[str, Any], kind: type[DeviceError], words: str
) -> None:
    async with RecorderEmulator(**change) as emulator, Recorder(made(emulator)) as recorder:
        with pytest.raises(kind, match=words):
            await recorder.greet()


NONSENSE = [
    b"",
    b"<html>login</html>",
    b"\x00" * 100,
    b"<a>" * 50_000,
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body/></s:Envelope>',
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><x/></s:Body></s:Envelope>',
    b"x" * 9_000_000,
]


@pytest.mark.parametrize("answer", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("operation", ["GetDeviceInformation", "GetServices", "FindRecordings"])
async def test_nonsense_is_one_of_our_errors_or_nothing(
    made: Callable[..., OnvifOptions], answer: bytes, operation: str
) -> None:
    """An empty answer names no service and finds nothing; anything else is told."""
    async with RecorderEmulator(answers={operation: answer}) as emulator, Recorder(made(emulator)) as recorder:
        try:
            await recorder.greet()
            assert await recorder.recordings() == []
        except DeviceError as error:
            assert str(error).isprintable()  # noqa: PT017 - either is right
