"""What strangers do with a bag: older programs, clocks that nobody compared, keys of which they have only some."""

from __future__ import annotations

import ast
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.custody.export import evidock_verify
from agent.custody.receipt import ReceiptNote, write
from agent.note import Signer, sign
from tests.export.look import Held, failed, load, look, summed
from tests.export.make import AT, KEYS, LOG, log, receipts, root, witness

if TYPE_CHECKING:
    from tests.export.make import Station

GIVEN = (*KEYS.logs, *KEYS.witnesses, *KEYS.receipts)


@pytest.fixture(scope="module")
def held(bag: Path) -> Held:
    return load(bag)


def shell(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "verify.sh"], cwd=folder, capture_output=True, text=True, check=False)


def written(held: Held, folder: Path) -> Path:
    for name, raw in held.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def test_the_single_file_runs_on_the_python_that_it_names(bag: Path) -> None:
    ast.parse(Path(evidock_verify.__file__).read_text(), feature_version=(3, 9))
    older = "import datetime, runpy, sys; del datetime.UTC, sys.argv[0]; runpy.run_path(sys.argv[0], None, '__main__')"
    command = [sys.executable, "-c", older, evidock_verify.__file__, str(bag)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("earlier", "right"), [(timedelta(minutes=1), True), (timedelta(days=2), False)])
def test_a_receipt_of_a_clock_that_is_behind(
    two: tuple[Station, list[str]], held: Held, earlier: timedelta, *, right: bool
) -> None:
    """The clock of the DEMS and that of the station are nobody's to compare: within a day they say the same."""
    made, (first, _) = two
    one = made.journal.get(first)
    said = ReceiptNote(first, one.digest.sha256, one.digest.length, LOG, one.index, AT.replace(minute=2) - earlier, 2)
    found = look(summed(held | {f"custody/receipts/{one.index:06d}.note": sign(write(said), receipts)}))
    assert failed(found) == (set() if right else {f"receipt {first}"})


def test_an_entry_of_the_future_bounds_no_receipt() -> None:
    assert evidock_verify.earliest("2999-01-01T00:00:00.000Z") == ""
    assert evidock_verify.earliest("2026-11-22T07:02:17.123Z") == "2026-11-21T07:02:17Z"


def test_a_policy_of_his_own_brings_a_forger_no_keys(held: Held) -> None:
    """His log and his witness stand in his policy alone, and not among the bag's keys."""
    mine, his = Signer.ed25519(LOG, bytes(32)), Signer.cosigner("his.example.org/witness", bytes(31) + b"1")
    boss = Signer.ed25519("agency.example.org/root", bytes(31) + b"3")
    checkpoint = sign_checkpoint(
        Checkpoint.parse(held["custody/checkpoint"].decode().partition("\n\n")[0] + "\n"), mine, his.at(AT)
    )
    policy = f"log {log.vkey}\nlog {mine.vkey}\nwitness dems {witness.vkey}\nwitness his {his.vkey}\nquorum his\n"
    forged = {
        name: raw.replace(held["custody/checkpoint"], checkpoint).replace(b'"custody/000003.checkpoint"', b"null")
        for name, raw in held.items()
        if not name.endswith((".pem", ".checkpoint"))
    } | {
        "policy.note": sign(policy, boss),
        "keys/vkeys": f"{receipts.vkey}\n".encode(),
        "keys/root.vkey": f"{boss.vkey}\n".encode(),
    }
    assert not failed(look(summed(forged)))
    assert "checkpoint checkpoint" in failed(look(summed(forged), GIVEN))
    assert "policy policy.note" in failed(look(summed(forged), GIVEN, (root.verifier,)))


def test_what_was_taken_from_the_bag_is_said(held: Held) -> None:
    def notes(*keys: object) -> list[str]:
        return [f"{what} {subject}" for outcome, what, subject in look(held, *keys) if outcome == "NOTE"]  # type: ignore[arg-type]

    assert notes() == ["key keys"]
    assert notes((), (root.verifier,)) == ["key keys"]
    assert notes(GIVEN) == ["key root.vkey"]
    assert notes(GIVEN, (root.verifier,)) == []


@pytest.mark.interop
def test_an_entry_below_the_checkpoint_whose_proof_was_taken_away_is_found(held: Held, tmp_path: Path) -> None:
    """Without its proof an entry could say anything: no export leaves it out."""
    entry = held["custody/000001.json"].replace(b'"officer":"Tremblay"', b'"officer":"Gagnon"')
    assert entry != held["custody/000001.json"]
    forged = {name: raw for name, raw in held.items() if name != "custody/000001.tlog-proof"}
    for changed in ({}, {"custody/000001.json": entry}, {"custody/000001.tlog-proof": b""}):
        assert "entry 000001" in failed(look(summed(forged | changed)))
    done = shell(written(summed(forged), tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    assert "FAILED  custody/000001: its proof is not here\n" in done.stdout
