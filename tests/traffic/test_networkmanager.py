"""NetworkManager as python-dbusmock emulates it, on a bus of its own."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.gate import Gate
from agent.traffic import LinkClass, Traffic, networkmanager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

NM = "org.freedesktop.NetworkManager"
ROOT = "/org/freedesktop/NetworkManager"

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a private bus on which an emulated NetworkManager listens."""
    if shutil.which("dbus-daemon") is None or shutil.which("gdbus") is None:
        pytest.skip("dbus-daemon or gdbus is not here (Debian: dbus, libglib2.0-bin)")
    probe = ["/usr/bin/python3", "-c", "import dbusmock"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("python3-dbusmock is not here")
    folder: Path = tmp_path_factory.mktemp("bus")
    address = f"unix:path={folder}/bus"
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", f"--address={address}"], stdout=subprocess.DEVNULL
    )
    mocked = None
    try:
        wait_for(folder / "bus")
        mocked = subprocess.Popen(
            ["/usr/bin/python3", "-m", "dbusmock", "--session", "--template", "networkmanager"],
            env={"DBUS_SESSION_BUS_ADDRESS": address, "PATH": "/usr/bin"},
            stdout=subprocess.DEVNULL,
        )
        call(address, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames")
        subprocess.run(["gdbus", "wait", "--address", address, "--timeout", "20", NM], check=False)
        for _ in range(200):
            if NM in call(address, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames"):
                break
        yield address
    finally:
        for process in (mocked, daemon):
            if process is not None:
                process.terminate()
                process.wait()


def wait_for(path: Path) -> None:
    subprocess.run(["timeout", "20", "sh", "-c", f"until [ -S {path} ]; do sleep 0.05; done"], check=True)


def call(address: str, name: str, path: str, method: str, *arguments: str) -> str:
    """Through gdbus, a program of other authors."""
    command = ["gdbus", "call", "--address", address, "--dest", name, "--object-path", path, "--method", method]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def mock(address: str, path: str, method: str, *arguments: str) -> str:
    return call(address, NM, path, f"org.freedesktop.DBus.Mock.{method}", *arguments).strip("(),'")


def set_property(address: str, path: str, interface: str, name: str, value: str) -> None:
    call(address, NM, path, "org.freedesktop.DBus.Properties.Set", interface, name, value)


@pytest.fixture
async def told(bus: str) -> AsyncIterator[asyncio.Queue[tuple[LinkClass, bool]]]:
    """What the watch tells, while it watches."""
    queue: asyncio.Queue[tuple[LinkClass, bool]] = asyncio.Queue()
    watching = asyncio.create_task(
        networkmanager.watch(lambda *seen: queue.put_nowait(seen), station_wifi={"EVIDENCE"}, bus=bus)
    )
    yield queue
    watching.cancel()
    await asyncio.wait({watching})


async def until(queue: asyncio.Queue[tuple[LinkClass, bool]], expected: tuple[LinkClass, bool]) -> None:
    async with asyncio.timeout(20):
        while await queue.get() != expected:
            pass


async def test_the_link_is_told_and_told_again(bus: str, told: asyncio.Queue[tuple[LinkClass, bool]]) -> None:
    await until(told, (LinkClass.OFFLINE, False))

    ethernet = await asyncio.to_thread(mock, bus, ROOT, "AddEthernetDevice", "mock_eth0", "eth0", "100")
    wifi = await asyncio.to_thread(mock, bus, ROOT, "AddWiFiDevice", "mock_wlan0", "wlan0", "100")
    paths = {}
    for name, ssid in (("ap_home", "EVIDENCE"), ("ap_hotel", "Hotel")):
        arguments = (wifi, name, ssid, "00:23:F8:7E:12:BB", "2", "5180", "54", "80", "0x1")
        paths[ssid] = await asyncio.to_thread(mock, bus, ROOT, "AddAccessPoint", *arguments)

    async def connect(device: str, kind: str, expected: LinkClass, *, portal: bool = False) -> None:
        name = f"c{len(paths)}"
        paths[name] = connection = f"{ROOT}/ActiveConnection/{name}"
        properties = f"{{'Devices': <[objectpath '{device}']>, 'Type': <'{kind}'>}}"
        await asyncio.to_thread(
            mock, bus, ROOT, "AddObject", connection, f"{NM}.Connection.Active", properties, "@a(ssss) []"
        )
        await asyncio.to_thread(set_property, bus, ROOT, NM, "PrimaryConnection", f"<objectpath '{connection}'>")
        await until(told, (expected, portal))

    await asyncio.to_thread(mock, bus, ROOT, "AddProperty", NM, "PrimaryConnection", "<objectpath '/'>")
    for device, type_ in ((ethernet, 1), (wifi, 2)):
        await asyncio.to_thread(set_property, bus, device, f"{NM}.Device", "DeviceType", f"<uint32 {type_}>")
        await asyncio.to_thread(mock, bus, device, "AddProperty", f"{NM}.Device", "Metered", "<uint32 4>")
    await connect(ethernet, "802-3-ethernet", LinkClass.WIRED)
    point = f"{NM}.Device.Wireless"
    await asyncio.to_thread(mock, bus, wifi, "AddProperty", point, "ActiveAccessPoint", "<objectpath '/'>")
    await asyncio.to_thread(set_property, bus, wifi, point, "ActiveAccessPoint", f"<objectpath '{paths['EVIDENCE']}'>")
    await connect(wifi, "802-11-wireless", LinkClass.STATION_WIFI)
    await asyncio.to_thread(set_property, bus, wifi, point, "ActiveAccessPoint", f"<objectpath '{paths['Hotel']}'>")
    await until(told, (LinkClass.OTHER_WIFI, False))
    await asyncio.to_thread(set_property, bus, ROOT, NM, "Connectivity", "<uint32 2>")
    await until(told, (LinkClass.OTHER_WIFI, True))
    await asyncio.to_thread(set_property, bus, ROOT, NM, "Connectivity", "<uint32 4>")
    await asyncio.to_thread(set_property, bus, wifi, f"{NM}.Device", "Metered", "<uint32 3>")
    await until(told, (LinkClass.METERED, False))
    await asyncio.to_thread(set_property, bus, ethernet, f"{NM}.Device", "DeviceType", "<uint32 8>")
    await connect(ethernet, "gsm", LinkClass.LTE)


async def test_a_bus_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(networkmanager.SILENT):
        await networkmanager.watch(lambda *_: None, station_wifi=(), bus=f"unix:path={tmp_path}/none")


async def test_while_nobody_answers_the_link_is_the_configured_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    gate = Gate(None, Traffic(source="networkmanager", link=LinkClass.METERED))  # type: ignore[arg-type]
    gate.move(LinkClass.WIRED)
    running = asyncio.create_task(gate.run())
    async with asyncio.timeout(10):
        while gate.link is not LinkClass.METERED:  # noqa: ASYNC110 - as long as it takes
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait({running})
