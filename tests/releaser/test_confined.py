"""What the program that deletes gives up, and whom it believes: a person's word, never the daemon's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from agent.belief import asked_of, install, log_keys
from agent.cli import app
from agent.config import load
from agent.errors import ConfigError
from agent.note import ECDSA_P256, Signer
from agent.release import compared, trust_file
from agent.releaser import Believed
from agent.testing.probe import same_bytes
from drivers.body_worn.usb_volume.emulator import FatEmulator, why_not
from tests.releaser.case import RECEIPTS, WITNESS, make_case, make_trust

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.fresh  # the program that deletes is started as a station starts it

TRY = """
import errno, os, socket, subprocess, sys
from agent.confine import confine
here = sys.argv[1] + "/"
for name in "abc": open(here + name, "w").write(name)
inside = os.open(here, os.O_RDONLY)
confine()
acts = {
    "write": lambda: open(here + "a", "w"), "append": lambda: os.open(here + "a", os.O_RDWR),
    "make": lambda: os.open(here + "new", os.O_CREAT | os.O_RDONLY), "socket": socket.socket,
    "pair": socket.socketpair, "run": lambda: subprocess.run(["/bin/true"]),
    "rename": lambda: os.rename(here + "a", here + "z"), "folder": lambda: os.mkdir(here + "m"),
    "link": lambda: os.link(here + "a", here + "l"), "symlink": lambda: os.symlink("a", here + "s"),
    "rights": lambda: os.chmod(here + "a", 0o777), "cut": lambda: os.truncate(here + "a", 0),
    "named pipe": lambda: os.mkfifo(here + "p"), "remove folder": lambda: os.rmdir(here),
    "read": lambda: open(here + "a").read(), "unlink": lambda: os.unlink("b", dir_fd=inside),
    "force": lambda: os.fsync(inside),
}
for name, act in acts.items():
    try:
        act()
    except OSError as error:
        if error.errno == errno.EPERM: continue
        raise
    print(name)
"""

TOML = """
[station]
name = "dock-1"
agency = "example.org"
state = "{folder}/state"

[policy]
device = "release"

[custody]
log_key_kind = "{kind}"

[[custody.witness]]
vkey = "{witness}"
url = "http://127.0.0.1:9"

[[uplink]]
use = "tus"
name = "dems"
url = "http://127.0.0.1:9"
receipt_keys = ["{receipts}"]
"""


def toml(folder: Path, kind: str = "ed25519", receipts: str = RECEIPTS.vkey) -> Path:
    path = folder / "agent.toml"
    path.write_text(TOML.format(folder=folder, kind=kind, witness=WITNESS.vkey, receipts=receipts))
    return path


def test_confined_it_can_read_unlink_and_force_and_nothing_else(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TRY, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["read", "unlink", "force"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "c"]


@pytest.mark.skipif(why_not() is not None, reason=f"no FAT here: {why_not()}")
def test_on_a_real_fat_volume_it_deletes_the_proven_one_and_leaves_the_rest(tmp_path: Path) -> None:
    card = FatEmulator(tmp_path / "card.img", tmp_path / "card")
    (staging := tmp_path / "staging").mkdir()
    one = make_case(staging)
    for name in ("DCIM/100EVDCK/CLIP0001.MP4", "DCIM/100EVDCK/CLIP0002.MP4"):
        card.add(name, one.file.read_bytes())
    before = card.image.read_bytes()
    card.plug()
    try:
        case = make_case_on(card.mount, one)
        wrong = case.line().replace(b'"index": 2', b'"index": 3')
        done = subprocess.run(
            [sys.executable, "-m", "agent.releaser", str(make_trust(tmp_path / "trust.json"))],
            input=wrong + b"\n",
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["result"] == "refused"
        card.pull()
        same_bytes(card.image.read_bytes(), before, "the card, before a release is proven")
        card.plug(writable=True)
        case = make_case_on(card.mount, one)
        done = subprocess.run(
            [sys.executable, "-m", "agent.releaser", str(tmp_path / "trust.json")],
            input=case.line() + b"\n",
            capture_output=True,
            check=True,
        )
        assert (json.loads(done.stdout)["result"], done.stderr) == ("released", b"")
    finally:
        card.pull()
    assert not card.has("::DCIM/100EVDCK/CLIP0001.MP4")
    assert card.has("::DCIM/100EVDCK/CLIP0002.MP4")


def make_case_on(mount: Path, one: object) -> object:
    from dataclasses import replace  # noqa: PLC0415

    file, root = (mount / "DCIM/100EVDCK/CLIP0001.MP4").stat(), mount.stat()
    return replace(one, root=mount, mtime_ns=file.st_mtime_ns, root_id=(root.st_dev, root.st_ino))


def test_a_person_writes_the_trust_file_and_the_program_reads_it(tmp_path: Path) -> None:
    path = toml(tmp_path)
    words = ["--config", str(path), "custody", "trust"]
    first = CliRunner().invoke(app, words)
    assert (first.exit_code, "has no key yet" in first.output) == (3, True)
    assert not (tmp_path / "releaser.json").exists()
    assert not list(tmp_path.rglob("log.key")), "who only looks made the key of the log"
    assert CliRunner().invoke(app, [*words, "--write"]).exit_code == 0
    config = load(path)
    assert config.trust.stat().st_mode & 0o777 == 0o644
    believed = Believed.read(config.trust)
    assert (believed.log, believed.receipt_keys) == ("edge.example.org/dock-1/log1", (RECEIPTS.verifier,))
    assert believed.policy is not None
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert told["differs"] is None
    assert told["trust"]["logs"] == [log_keys(config)[0].vkey]
    toml(tmp_path, receipts=Signer.ed25519("dems.example.org/receipts", b"\x09" * 32).vkey)
    again = CliRunner().invoke(app, words)
    assert (again.exit_code, "something else than agent.toml: receipt_keys" in again.output) == (3, True)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'"x"', b"\xff", b"{"])
def test_a_trust_file_that_says_nothing_is_told(tmp_path: Path, content: bytes) -> None:
    config = load(toml(tmp_path))
    told = asked_of(config, log_keys(config))
    config.trust.write_bytes(content)
    assert compared(config.trust, told) is not None
    with pytest.raises(ConfigError, match="cannot be written"):
        trust_file(tmp_path / "no" / "file", told)


def test_the_key_of_the_log_may_be_one_of_p256(tmp_path: Path) -> None:
    config = load(toml(tmp_path, kind="p256"))
    install(config)
    (key,) = log_keys(config)
    assert key.kind == ECDSA_P256
    assert Believed.read(config.trust).log == key.name
