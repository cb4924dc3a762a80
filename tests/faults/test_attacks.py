"""Attacks: which tests make them, in one list that is run as a whole; and secrets, looked for in all that is said.

Most attacks are made beside what they attack. Here stands which they are, so that the report can count them and a test
that is renamed is missed.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from agent.note import Signer
from agent.selfsigned import make_certificate
from agent.testing.cameras import CameraFolder
from agent.testing.dems import EmulatedDems
from agent.testing.devices import some_bytes
from agent.testing.ports import free_port
from agent.testing.process import DaemonProcess, toml, tus
from tests.faults.form import LONG, OVER, time_is_over
from tests.faults.report import reached

ROOT = Path(__file__).parents[2]
ATTACKS = {
    "forged, replayed and mismatched receipts": [
        "tests/releaser/test_releaser.py::test_1000_forged_replayed_or_mismatched_receipts_delete_nothing",
        "tests/custody/test_receipt.py",
        "tests/spine/test_forward_doubt.py::test_a_bad_receipt_is_never_a_yes_and_at_last_waits_for_a_person",
    ],
    "forged commands over the broker": [
        "tests/broker/test_commands.py::test_forged_stale_foreign_oversize_and_formless_commands_are_refused",
        "tests/broker/test_commands.py::test_a_command_that_comes_again_gets_the_same_answer_and_is_not_obeyed_again",
        "tests/broker/test_hostile.py",
    ],
    "forged hotlists": [
        "tests/drivers/hotlist/test_manifest.py",
        "tests/drivers/hotlist/test_lists.py::test_what_is_wrong_with_a_list_leaves_the_one_before",
    ],
    "who may order, and who may look": ["tests/station/test_orders.py", "tests/station/test_control.py"],
    "slow clients of the intake servers and of the screen": [
        "tests/listening/test_listening.py",
        "tests/station/test_door.py",
    ],
    "hostile brokers": ["tests/mqtt/test_door.py::test_a_hostile_broker_costs_no_memory"],
    "paths, names and links of devices": ["tests/drivers/usb_volume/test_hostile.py"],
    "plates that are no hit, searched everywhere": ["tests/drivers/hotlist/test_secrecy.py"],
    "the status service under schemathesis": ["tests/station/test_openapi.py"],
    "the intake servers under schemathesis": ["tests/listening/test_everything.py"],
}
SECRETS = {
    "token": "s3cret-token-Zq81",
    "proxy": "s3cret-proxy-Kx47",
    "witness": "s3cret-witness-Vb20",
    "tsa": "s3cret-tsa-Wn93",
    "list": "s3cret-list-Ym15",
    "elsewhere": "s3cret-elsewhere-Hd66",
    "session": "s3cret-session-Jt31",
}
"""What stands in files that the configuration names, and in addresses of it and of others."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_is_made_somewhere(attack: str) -> None:
    for argument in ATTACKS[attack]:
        file, _, test = argument.partition("::")
        assert (ROOT / file).exists(), argument
        assert not test or f"def {test}(" in (ROOT / file).read_text(), argument


@pytest.mark.skipif(not LONG, reason="in the long form only: `make test` runs them where they stand")
@pytest.mark.parametrize("attack", ATTACKS)
def test_each_attack_fails(attack: str) -> None:
    if time_is_over():
        reached(14, attack, asked=1, reached=0, violations=0, detail=OVER)
        return
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVIDOCK_FAULT", "PYTEST_"))}
    kept["EVIDOCK_SCHEMATHESIS"] = "40"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    # Not below ours: a station's socket lies deep below, and its path may have 107 bytes (unix(7)).
    with tempfile.TemporaryDirectory(prefix="ea-") as folder:
        command += [f"--basetemp={folder}/p", *ATTACKS[attack]]
        done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, timeout=300, check=False)
    said = done.stdout.decode(errors="replace")
    counted = re.search(r"(\d+) passed", said)
    passed = 0 if counted is None else int(counted[1])
    detail = "" if passed else "nothing of it could be run here"
    reached(14, attack, asked=max(passed, 1), reached=passed, violations=int(done.returncode != 0), detail=detail)
    assert done.returncode == 0, said[-3000:]


async def test_no_secret_stands_in_anything_that_is_said(tmp_path: Path) -> None:
    """A token for the DEMS and a proxy's password: in no log, answer, entry, bundle or error."""
    token, login = tmp_path / "token", tmp_path / "login"
    for path, secret in ((token, SECRETS["token"]), (login, f"officer:{SECRETS['proxy']}")):
        path.write_text(secret)
        path.chmod(0o600)
    camera = CameraFolder(tmp_path / "camera")
    camera.record(some_bytes(2000))
    async with EmulatedDems(tmp_path / "dems") as dems:
        away = {"proxy": "http://127.0.0.1:9", "proxy_login_file": str(login)}  # nobody listens: errors name the way
        uplink = tus(dems.url, dems.receipt_vkey, token_file=str(token), **away)
        async with DaemonProcess(tmp_path / "s", drivers=[camera.driver()], uplink=uplink) as daemon:
            await daemon.ready()
            await asyncio.sleep(1)
            said = [*await answers(daemon.state), *await asyncio.to_thread(commands, daemon.config, tmp_path)]
        said += await asyncio.to_thread(files, daemon, tmp_path)
    found = sorted({name for name, secret in SECRETS.items() for one in said if secret.encode() in one})
    reached(
        14, "secrets, looked for in all that is said", asked=len(SECRETS), reached=len(SECRETS), violations=len(found)
    )
    assert not found
    assert any(b"proxy" in one for one in said), "nobody tried to use them"


async def test_no_login_of_an_address_stands_in_anything_that_is_said(tmp_path: Path) -> None:
    """Of a witness, a time stamping authority, a list's server, and of where a DEMS sends us: with all that fails."""

    async def elsewhere(_: web.Request) -> web.Response:
        away = f"http://dems:{SECRETS['elsewhere']}@127.0.0.1:9/portal?session={SECRETS['session']}"
        return web.Response(status=307, headers={"Location": away})

    app, port = web.Application(), free_port()
    app.router.add_route("*", "/{rest:.*}", elsewhere)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", at := free_port()).start()
    camera = CameraFolder(tmp_path / "camera")
    camera.record(some_bytes(2000))
    make_certificate(tmp_path / "tsa.pem", tmp_path / "tsa.key", ["tsa.example.org"])
    witness = Signer.cosigner("witness.example.org/w", bytes(32)).verifier.vkey
    custody = {
        "witness": [{"vkey": witness, "url": f"http://station:{SECRETS['witness']}@127.0.0.1:9/w"}],
        "tsa_url": f"http://station:{SECRETS['tsa']}@127.0.0.1:9/tsa",
        "tsa_ca_file": str(tmp_path / "tsa.pem"),
        "tsa_every": "1 s",
    }
    fetched = {"url": "http://127.0.0.1:9/l", "manifest_url": f"http://station:{SECRETS['list']}@127.0.0.1:9/l.sha256"}
    lists = [{"name": "region", "layout": "plates", "proof": "digest", **fetched}]
    hotlists = {"use": "alpr.hotlist", "name": "hotlists", "folder": str(tmp_path / "lists"), "list": lists}
    made = DaemonProcess(
        tmp_path / "s",
        drivers=[camera.driver(), hotlists],
        uplink=tus(f"http://127.0.0.1:{at}/files"),
        status={"port": port},
    )
    made.config.write_text(made.config.read_text() + toml({"custody": custody}))
    async with made as daemon:
        await daemon.ready()
        await asyncio.sleep(3)
        said = [*await answers(daemon.state), *await asyncio.to_thread(commands, daemon.config, tmp_path)]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in ("/", "/metrics", "/v1/status", "/v1/problems"):
                async with session.get(path) as answer:
                    said.append(await answer.read())
    said += await asyncio.to_thread(files, daemon, tmp_path)
    await runner.cleanup()
    told = b"\n".join(said)
    assert not {name for name, secret in SECRETS.items() if secret.encode() in told}
    assert b"was sent elsewhere" in told, "nobody was sent elsewhere"
    assert b"***@127.0.0.1:9/w" in told, "nobody asked the witness"


async def answers(state: Path) -> list[bytes]:
    """What the daemon tells its own commands."""
    connector, said = aiohttp.UnixConnector(str(state / "control.sock")), list[bytes]()
    async with aiohttp.ClientSession(connector=connector) as session:
        for path in ("status", "devices", "bays", "captures", "journal/entries", "journal/leaves", "spool/room"):
            async with session.get(f"http://station/{path}") as answer:
                said.append(await answer.read())
    return said


def commands(config: Path, folder: Path) -> list[bytes]:
    """What commands print."""
    said: list[bytes] = []
    for words in (
        ["status"],
        ["support-bundle", "--yes", "--to", str(folder / "bundle.tar.gz")],
        ["check"],
        ["config", "show"],
        ["custody", "trust"],
        ["capture", "list"],
        ["journal", "export"],
    ):
        command = [sys.executable, "-m", "agent.cli", "--config", str(config), *words]
        done = subprocess.run(command, capture_output=True, timeout=120, check=False, cwd=folder)
        said += [done.stdout, done.stderr]
    return said


def files(daemon: DaemonProcess, folder: Path) -> list[bytes]:
    """What lies on the disk afterwards; a bundle is looked into."""
    said = [daemon.words.read_bytes()]
    said += [path.read_bytes() for path in daemon.state.rglob("*") if path.is_file()]
    assert list(folder.glob("bundle*")), "no bundle was made"
    for bundle in folder.glob("bundle*"):
        with tarfile.open(bundle) as tar:
            said += [inner.read() for one in tar if (inner := tar.extractfile(one)) is not None]
    return said
