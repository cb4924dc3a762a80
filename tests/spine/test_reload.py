"""agent.toml changed under a running daemon: taken up where it may be, refused whole where it is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography import x509

from agent.cli.daemon import Daemon
from agent.testing.dems import EmulatedDems
from agent.testing.ports import free_port
from agent.testing.process import COMMAND, DaemonProcess, read_state, toml, tus
from agent.testing.uplinks import BenchUplink
from agent.uplink import UplinkOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.testing.station import Station


def folder_driver(folder: Path, name: str, **more: object) -> dict[str, object]:
    return {
        "use": "body_worn.usb_volume",
        "name": name,
        "mount": str(folder / name),
        "must_be_mountpoint": False,
        "device": {"id": f"usb:{name}"},
        "rescan": 0.1,
        "settle": 0,
        **more,
    }


def record(folder: Path, name: str, content: bytes, *, clip: str = "CLIP0001.MP4") -> None:
    """Whole at once: its driver does not wait until a file settles, and may look at any time."""
    (folder / clip).write_bytes(content)
    shown = folder / name / "DCIM/100MEDIA"
    shown.mkdir(parents=True, exist_ok=True)
    (folder / clip).rename(shown / clip)


class Docked:
    """A daemon with one bay, and its configuration as a person edits it."""

    def __init__(self, folder: Path, daemon: DaemonProcess, tables: dict[str, Any]) -> None:
        self.folder, self.daemon, self.tables = folder, daemon, tables

    def reload(self) -> None:
        self.daemon.config.write_text(toml(self.tables))
        assert self.daemon.pid is not None
        os.kill(self.daemon.pid, signal.SIGHUP)

    def status(self) -> dict[str, Any]:
        return Daemon(self.daemon.state / "control.sock").status()

    async def until(self, true: Callable[[dict[str, Any]], bool], within: float = 60.0) -> dict[str, Any]:
        try:
            async with asyncio.timeout(within):
                while not true(told := await asyncio.to_thread(self.status)):  # noqa: ASYNC110 - asks another process
                    await asyncio.sleep(0.05)
                return told
        except TimeoutError:
            raise AssertionError(self.daemon.words.read_text()[-3000:]) from None


@pytest.fixture
async def docked(tmp_path: Path) -> AsyncIterator[Docked]:
    drivers = [folder_driver(tmp_path, "bay-1")]
    (tmp_path / "bay-1").mkdir()
    async with DaemonProcess(tmp_path / "station", drivers=drivers, command=COMMAND) as daemon:
        await daemon.ready()
        tables = {
            "station": {"name": "dock-1", "agency": "example.org", "state": str(daemon.state)},
            "spool": {"watermark": "0 B"},
            "driver": drivers,
            "uplink": [],
        }
        yield Docked(tmp_path, daemon, tables)


def names(told: dict[str, Any]) -> list[str]:
    return sorted(driver["name"] for driver in told["drivers"])


async def test_a_bay_more_and_a_bay_less(docked: Docked, tmp_path: Path) -> None:
    before = docked.daemon.pid
    docked.tables["driver"] = [*docked.tables["driver"], folder_driver(tmp_path, "bay-2")]
    record(tmp_path, "bay-2", b"film" * 5000)
    docked.reload()
    await docked.until(lambda told: told["tally"]["held"]["captures"] == 1)
    assert names(docked.status()) == ["bay-1", "bay-2"]
    docked.tables["driver"] = docked.tables["driver"][1:]
    docked.reload()
    await docked.until(lambda told: names(told) == ["bay-2"])
    record(tmp_path, "bay-1", b"unseen" * 5000)
    await asyncio.sleep(0.5)
    assert docked.status()["tally"]["held"]["captures"] == 1
    assert docked.daemon.pid == before
    await docked.daemon.stop()
    book = read_state(docked.daemon.state)
    assert book is not None
    assert book.problems == []


async def test_rules_of_the_traffic_count_at_once(docked: Docked) -> None:
    assert docked.status()["traffic"] == {"link": "wired", "portal": False, "bandwidth": None, "waiting": {}}
    rule = {"classes": ["bulk"], "links": ["lte"], "content": False}
    docked.tables["traffic"] = {"link": "lte", "bandwidth": "8 Mbit/s", "rule": [rule]}
    docked.reload()
    told = await docked.until(lambda told: told["traffic"]["link"] == "lte")
    assert told["traffic"]["bandwidth"] == 1_000_000
    assert told["traffic"]["waiting"] == {"bulk": "bulk does not go over lte"}
    assert not [one for one in told["problems"] if one["id"].startswith("config.")]


async def test_what_is_known_of_firmware_counts_at_once(docked: Docked, tmp_path: Path) -> None:
    words = {"id": "usb:bay-2", "maker": "Acme", "firmware": "1.0"}
    docked.tables["driver"] = [*docked.tables["driver"], folder_driver(tmp_path, "bay-2", device=words)]
    record(tmp_path, "bay-2", b"film" * 5000)
    docked.reload()
    await docked.until(lambda told: told["tally"]["held"]["captures"] == 1)
    docked.tables["firmware"] = [{"maker": "Acme", "minimum": "2.0", "why": "of our order"}]
    docked.reload()
    told = await docked.until(lambda told: any(one["id"] == "firmware.old" for one in told["problems"]))
    assert "config.waits" not in {one["id"] for one in told["problems"]}


async def test_what_is_the_same_is_not_touched(docked: Docked) -> None:
    docked.reload()
    await docked.until(lambda _: "config_reloaded" in docked.daemon.words.read_text())
    words = docked.daemon.words.read_text()
    assert '"begun": []' in words
    assert words.count("no_wake_ups_from") <= words.count('"ready"') * 2  # its driver was not started again


async def test_a_file_that_an_inner_table_names_is_seen_to_change(docked: Docked, tmp_path: Path) -> None:
    """The certificate of a listener that was renewed in its place: the text of agent.toml is as it was."""
    authority, shown = trustme.CA(), tmp_path / "listen.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(shown)
    (tmp_path / "password").write_text("0123456789abcdef0123456789abcdef")
    (tmp_path / "password").chmod(0o600)
    port = free_port()
    listen = {"address": "127.0.0.1", "port": port, "certificate": str(shown), "key": str(shown)}
    cameras = [
        {"name": "gate", "maker": "axis", "auth": "basic", "user": "u", "secret_file": str(tmp_path / "password")}
    ]
    table = {"use": "alpr.receiver", "name": "gate", "listen": listen, "camera": cameras}
    docked.tables["driver"] = [*docked.tables["driver"], table]
    docked.reload()
    await docked.until(lambda told: names(told) == ["bay-1", "gate"])

    def number() -> int | None:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
                trusting.wrap_socket(plain, server_hostname="localhost") as tls,
            ):
                return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True) or b"").serial_number
        except OSError:  # it is exchanged just now
            return None

    await docked.until(lambda _: number() is not None)
    before = number()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(shown)
    docked.reload()
    await docked.until(lambda _: number() not in (None, before))


async def test_a_wrong_file_changes_nothing_and_is_told_until_it_is_right(docked: Docked, tmp_path: Path) -> None:
    good = docked.tables["driver"]
    docked.tables["driver"] = [folder_driver(tmp_path, "bay-2"), {"use": "nonsense", "name": "x"}]
    docked.reload()
    await docked.until(lambda told: "config.refused" in {one["id"] for one in told["problems"]})
    assert names(docked.status()) == ["bay-1"]
    (notice,) = [one for one in docked.status()["problems"] if one["id"] == "config.refused"]
    assert "driver[1].use" in notice["detail"]
    docked.daemon.config.write_text("no TOML at all [")
    os.kill(docked.daemon.pid or 0, signal.SIGHUP)
    await asyncio.sleep(0.5)
    assert names(docked.status()) == ["bay-1"]
    docked.tables["driver"] = good
    docked.reload()
    await docked.until(lambda told: "config.refused" not in {one["id"] for one in told["problems"]})
    record(tmp_path, "bay-1", b"film" * 5000)
    await docked.until(lambda told: told["tally"]["held"]["captures"] == 1)


async def test_what_cannot_change_is_named_and_the_rest_is_taken_up(docked: Docked, tmp_path: Path) -> None:
    docked.tables["station"]["epoch"] = 2
    docked.tables["policy"] = {"spool": "receipted"}
    docked.tables["driver"] = [*docked.tables["driver"], folder_driver(tmp_path, "bay-2")]
    docked.reload()
    told = await docked.until(lambda told: "config.waits" in {one["id"] for one in told["problems"]})
    assert len(told["drivers"]) == 2
    (notice,) = [one for one in told["problems"] if one["id"] == "config.waits"]
    assert "station.epoch" in notice["detail"]
    assert "policy.spool" in notice["detail"]
    assert told["log"]["origin"].endswith("/log1")


async def test_a_sender_that_ended_is_told_nothing_more(station: Station) -> None:
    """Else each reload would leave one behind, that is woken for ever."""
    before = len(station.gate._listeners)
    station.connect(BenchUplink())
    beside = station.beside(BenchUplink("two"), UplinkOptions(use="bench", name="two", role="fallback"))
    first = station.forward
    assert first is not None
    assert len(station.gate._listeners) == before + 2
    for one in (beside, first, first):
        one.close()
    assert len(station.gate._listeners) == before
    assert first._fallbacks == []


async def test_a_destination_comes_changes_and_goes(docked: Docked, tmp_path: Path) -> None:
    record(tmp_path, "bay-1", b"film" * 50_000)
    await docked.until(lambda told: told["tally"]["held"]["captures"] == 1)
    async with EmulatedDems(tmp_path / "dems") as dems:
        docked.tables["uplink"] = [tus(dems.url, dems.receipt_vkey)]
        docked.reload()
        await docked.until(lambda told: told["tally"]["receipted"]["captures"] == 1)
        docked.tables["uplink"] = [tus(dems.url, dems.receipt_vkey, in_flight=2)]
        docked.reload()
        await docked.until(lambda _: docked.daemon.words.read_text().count("config_reloaded") == 2)
        record(tmp_path, "bay-1", b"another" * 5000, clip="CLIP0002.MP4")
        await docked.until(lambda told: told["tally"]["receipted"]["captures"] == 2)
        docked.tables["uplink"] = []
        docked.reload()
        await docked.until(lambda told: told["links"] == [])
        assert await dems.violations() == []
    await docked.daemon.stop()
    book = read_state(docked.daemon.state)
    assert book is not None
    assert book.problems == []
