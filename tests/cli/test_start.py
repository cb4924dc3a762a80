"""What is imported when: help and completion stay quick, and a daemon carries nothing that its agency does not use."""

import subprocess
import sys
from pathlib import Path

import pytest

LOADED = "import sys; print(*sorted(sys.modules))"
SELDOM = {
    *("cryptography.x509", "jeepney"),
    *("aiobotocore", "aiomqtt", "botocore", "lxml", "paho", "prometheus_client", "pygments", "rfc3161_client", "rich"),
    *("zeep", "agent.broker", "agent.station.status", "agent.testing"),
}
"""What a station uses only where its agent.toml asks for it."""


def modules(code: str) -> set[str]:
    """Every module and package that was imported when this was run in a process of its own."""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    found = set(ran.stdout.splitlines()[-1].split())
    return found | {name.partition(".")[0] for name in found}


def test_help_imports_no_command_and_none_of_the_large_libraries() -> None:
    code = "import contextlib, sys, agent.cli\nsys.argv = ['evidock', '--help']\n"
    found = modules(f"{code}with contextlib.suppress(SystemExit): agent.cli.app()\n{LOADED}")
    large = {"aiohttp", "aiomqtt", "apsw", "botocore", "construct", "cryptography", "lxml", "pydantic", "structlog"}
    assert not found & {*large, "asyncio", "ssl", "zeep", "agent.daemon", "agent.journal", "agent.config"}
    assert {name for name in found if name.startswith("agent.cli.")} == set()
    assert "drivers" not in found


def test_the_daemon_imports_what_every_station_needs_and_no_more() -> None:
    found = modules(f"import agent.cli.run\n{LOADED}")
    assert "agent.daemon" in found
    assert not found & {*SELDOM, "serial"}


STATION = '[station]\nname = "one"\nagency = "example.org"\n'
WAY = '[[uplink]]\nuse = "tus"\nname = "dems"\nurl = "https://dems.example.org/evidence"\n'
DOCK = '[[driver]]\nuse = "body_worn.usb_volume"\nname = "bay-1"\nmount = "/media/bay-1"\n'
CAR = (
    '[[driver]]\nuse = "in_car.gpsd"\nname = "position"\n'
    '[[driver]]\nuse = "in_car.trigger_dock"\nname = "triggers"\nport = "/dev/ttyS1"\n'
)
FAMILIES = {f"drivers.{name}" for name in ("alpr", "body_worn", "dispatch", "enotes", "in_car", "interview_room")}
WAYS_OUT = {f"agent.uplink.{name}" for name in ("clearance", "folder", "ietf", "s3", "tus")}


@pytest.mark.parametrize(
    ("drivers", "family", "unused"),
    [(DOCK, "drivers.body_worn", {"construct", "serial"}), (CAR, "drivers.in_car", {"pyudev", "watchdog"})],
    ids=["dock", "car"],
)
def test_a_station_imports_the_families_and_ways_out_that_it_has(
    tmp_path: Path, drivers: str, family: str, unused: set[str]
) -> None:
    """With all that the whole program is made of, a car's unit of little memory would carry every maker's cameras."""
    config = tmp_path / "agent.toml"
    config.write_text(f'{STATION}state = "{tmp_path / "state"}"\n{drivers}{WAY}')
    code = "import pathlib, agent.cli.run\nfrom agent.config import load\nfrom agent.daemon import Agent\n"
    found = modules(f"{code}Agent(load(pathlib.Path({str(config)!r})))\n{LOADED}")
    assert found & FAMILIES == {family}
    assert found & WAYS_OUT == {"agent.uplink.tus"}
    assert not found & SELDOM
    assert not found & unused
