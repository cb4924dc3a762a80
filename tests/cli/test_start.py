"""What is imported when: help and completion stay quick, and a daemon carries nothing that its agency does not use."""

import subprocess
import sys

LOADED = "import sys; print(*sorted(sys.modules))"


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
    unused = {"aiobotocore", "aiomqtt", "botocore", "lxml", "paho", "prometheus_client", "pygments", "rfc3161_client"}
    assert not found & {*unused, "rich", "serial", "zeep", "agent.broker", "agent.station.status", "agent.testing"}
