"""What strangers do with a bag: older programs, clocks that nobody compared, keys of which they have only some."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.cli.verify import stamped
from agent.custody.bag import Bag
from agent.custody.bag_files import Folder
from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.custody.export import Keys, evidock_verify
from agent.custody.receipt import ReceiptNote, write
from agent.note import Signer, encode64, sign
from tests.export.look import Alone, Held, Memory, failed, load, look, missing, summed
from tests.export.make import AT, KEYS, LOG, log, receipts, root, seed, station, witness

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


def test_the_key_of_another_log_or_of_a_witness_vouches_for_no_receipt(
    two: tuple[Station, list[str]], held: Held
) -> None:
    """Whoever has the key of a second station cannot say in the name of the DEMS that it stores what the first took."""
    made, (first, _) = two
    one = made.journal.get(first)
    other, desk = Signer.ed25519("edge.example.org/dock-0043/log1", bytes(31) + b"4"), (receipts.verifier,)
    seen = Signer.ed25519(
        "dems.example.org/seen", seed("test dems witness key")
    )  # the witness's key, as one that signs plain notes
    for signer in (other, seen):
        said = ReceiptNote(first, one.digest.sha256, one.digest.length, LOG, one.index, AT.replace(minute=5), 2)
        note = {f"custody/receipts/{one.index:06d}.note": sign(write(said), signer)}
        keys = {"keys/vkeys": held["keys/vkeys"] + f"{signer.vkey}\n".encode()}
        forged, given = summed(held | note | keys), (*GIVEN, signer.verifier)
        found = look(forged, given, (root.verifier,))
        assert ("MISSING", "key", "receipts") in found, "what a key is for, it does not say"
        assert (f"receipt {first}" in failed(found)) is (signer is seen)
        assert f"receipt {first}" in failed(look(forged, given, (root.verifier,), desk))
        assert f"receipt {first}" in failed(look(forged, given, (), desk))
    assert not [one for one in look(held, GIVEN, (root.verifier,), desk) if one[0] in ("FAILED", "NOTE")]
    assert f"receipt {first}" in failed(look(held, GIVEN, (), (log.verifier,))), "a log's key signs no receipt"


class Asked(list[str]):
    """Names that count how often somebody looks through all of them for one."""

    looks = 0

    def __contains__(self, name: object) -> bool:
        Asked.looks += 1
        return super().__contains__(name)


class Read(dict[int, dict[str, Any]]):
    """Entries that count how often somebody goes through all of them."""

    looks = 0

    def items(self) -> Any:  # noqa: ANN401 - a view of them
        Read.looks += 1
        return super().items()

    def values(self) -> Any:  # noqa: ANN401 - a view of them
        Read.looks += 1
        return super().values()


def test_a_bag_of_many_captures_is_gone_through_as_often_as_one_of_few(tmp_path: Path) -> None:
    """With hundreds of thousands of files, whatever looks through all of them for each of them takes hours."""
    looked = []
    for count in (2, 9):
        (tmp_path / f"{count}").mkdir()
        with station(tmp_path / f"{count}") as made:
            captures = [asyncio.run(made.take(f"CLIP{n}", b"clip %d" % n, group="one")) for n in range(count)]
            for one in captures:
                made.receipt(one)
            held = load(made.export(tmp_path / f"bag{count}", captures, made.seal()))
        Asked.looks = Read.looks = 0
        memory, alone = Memory(held), Alone(held)
        memory.names, alone.names = Asked(memory.names), Asked(alone.names)
        bag = Bag(memory)
        bag._leaves, alone.leaves = Read(), Read()
        assert not [one for one in bag.check() if str(one.outcome) == "FAILED"]
        assert not [one for one in alone.run([], []) if one[0] == "FAILED"]
        looked.append((Asked.looks, Read.looks))
    assert looked[0] == looked[1]


def test_a_file_of_keys_that_cannot_be_read_is_named(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("")
    for option in ("--keys", "--root", "--receipts"):
        for name in ("missing", "none"):
            done = CliRunner().invoke(app, ["verify", str(bag), option, str(tmp_path / name)])
            assert getattr(done.exception, "exit_code", 0) == 2
            assert name in str(done.exception)
            assert str(bag) not in str(done.exception)
            assert evidock_verify.main([str(bag), option, str(tmp_path / name)]) == 2


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


RUN_OUT = Path(__file__).parent / "run_out"
"""A token of `openssl ts` over a file, and its authority's certificates, which were good for less than a minute."""


@pytest.mark.interop
def test_a_time_stamp_outlives_its_certificate(held: Held, tmp_path: Path) -> None:
    """It was made while the certificates were good; a court looks at it years later."""
    made = datetime(2026, 11, 29, 13, 24, 19, tzinfo=UTC)
    token, data, roots = ((RUN_OUT / name).read_bytes() for name in ("checkpoint.tsr", "checkpoint", "tsa.pem"))
    assert stamped(token, data, roots) == made
    kept = {name: raw for name, raw in held.items() if not name.startswith(("custody/", "keys/"))}
    kept |= {"custody/checkpoint": data, "custody/checkpoint.tsr": token, "keys/tsa.pem": roots}
    folder = written(kept, tmp_path / "bag")
    assert evidock_verify.Bag(folder)._token("custody/checkpoint.tsr") == (
        "openssl accepts the time stamp of 2026-11-29T13:24:19Z"
    )
    assert "OK      custody/checkpoint.tsr: time stamp\n" in shell(folder).stdout
    (folder / "custody/checkpoint").write_bytes(data + b"x")
    with pytest.raises(evidock_verify.Wrong):
        evidock_verify.Bag(folder)._token("custody/checkpoint.tsr")
    assert "FAILED  custody/checkpoint.tsr: time stamp\n" in shell(folder).stdout


def test_whose_time_stamps_they_are_is_taken_from_the_bag(held: Held, tmp_path: Path) -> None:
    """Whoever makes a false one makes its authority too."""
    marked = {"keys/tsa.pem": (RUN_OUT / "tsa.pem").read_bytes(), "custody/checkpoint.tsr": b"none"}
    written(summed(held | marked), tmp_path)
    ours = [(str(one.outcome), one.what, one.subject) for one in Bag(Folder(tmp_path), given=GIVEN).check()]
    keys = [evidock_verify.Key.parse(key.vkey) for key in GIVEN]
    alone = [one[:3] for one in evidock_verify.Bag(tmp_path).run(keys, [])]
    assert ("NOTE", "key", "tsa.pem") in ours
    assert ("NOTE", "key", "tsa.pem") in alone


def both(*words: str | Path) -> int:
    """What both verifiers give as exit code: they must agree."""
    ours, theirs = CliRunner().invoke(app, ["verify", *map(str, words)]), evidock_verify.main(list(map(str, words)))
    code = getattr(ours.exception, "exit_code", ours.exit_code)
    assert code == theirs
    return theirs


def test_a_key_of_a_kind_that_nobody_knows(held: Held) -> None:
    der = bytes.fromhex("300b300506032a030403020001")  # SubjectPublicKeyInfo of the algorithm 1.2.3.4
    name = hashlib.sha256(der).hexdigest()[:8]
    line = f"\N{EM DASH} {LOG} {encode64(bytes.fromhex(name) + b'signature')}\n".encode()
    forged = {path: raw for path, raw in held.items() if path not in ("policy.note", "keys/root.vkey")}
    forged["keys/vkeys"] += f"{LOG}+{name}+{encode64(bytes([2]) + der)}\n".encode()
    forged["custody/checkpoint"] += line
    checks = Alone(summed(forged)).run([], [])
    assert ("FAILED", "checkpoint", "checkpoint") in [check[:3] for check in checks]


def test_folders_without_end(bag: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    inner = [str(copy)]
    for _ in range(1200):
        inner.append(f"{inner[-1]}/d")
        os.mkdir(inner[-1])  # noqa: PTH102 - a path for each would be read anew each time
    try:
        assert both(copy) == 1
    finally:
        for folder in reversed(inner[1:]):
            os.rmdir(folder)  # noqa: PTH106


def test_whoever_names_the_root_is_told_where_no_policy_is(bag: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("".join(f"{key.vkey}\n" for key in GIVEN))
    (tmp_path / "root").write_text(f"{root.vkey}\n")
    (tmp_path / "alone").mkdir()
    for name in ("000001.json", "000001.tlog-proof", "checkpoint"):
        shutil.copy(bag / "custody" / name, tmp_path / "alone")
    keys = ("--keys", tmp_path / "keys")
    for name in ("000001.tlog-proof", "checkpoint"):
        assert both(tmp_path / "alone" / name, *keys) == 0
        assert both(bag / "custody" / name, *keys, "--root", tmp_path / "root") == 0
        assert both(tmp_path / "alone" / name, *keys, "--root", tmp_path / "root") == 3


def test_a_file_that_is_none_holds_nobody_up(bag: Path, tmp_path: Path) -> None:
    proof = Path(shutil.copy(bag / "custody/000001.tlog-proof", tmp_path))
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{key.vkey}\n" for key in GIVEN))
    with (tmp_path / "000001.json").open("wb") as entry:
        entry.truncate(evidock_verify.SMALL + 1)
    assert both(proof, "--keys", keys) == 2
    with (tmp_path / "large").open("wb") as large:
        large.truncate(evidock_verify.SMALL + 1)
    assert both(tmp_path / "large", "--keys", keys) == 2
    (tmp_path / "000001.json").unlink()
    os.mkfifo(tmp_path / "000001.json")
    assert both(proof, "--keys", keys) == 2


def test_what_a_compromised_key_quoted_bounds_nothing_and_stops_no_export(tmp_path: Path) -> None:
    """The key was changed since: the evidence of the days between is proven by the new one."""
    new = Signer.ed25519(LOG, bytes(32))
    policy = sign(
        f"log {log.vkey}\nlog {new.vkey}\nwitness dems {witness.vkey}\nquorum dems\n"
        f"compromised {log.vkey} 2026-11-22T07:01:30Z\n",
        root,
    )
    keys = Keys((log.verifier, new.verifier), (witness.verifier,), (receipts.verifier,), root.verifier)
    with station(tmp_path) as made:
        good = made.quote(AT.replace(minute=1))
        before = asyncio.run(made.take("CLIP1", b"first clip"))
        bad = made.quote(AT.replace(minute=3))
        after = asyncio.run(made.take("CLIP2", b"second clip"))
        for one in (before, after):
            made.receipt(one)
        seal = made.seal(new, witness.at(AT), keys=keys, policy=policy)
        held = load(made.export(tmp_path / "bag", [before, after], seal))
        single = load(made.export(tmp_path / "single", [after], seal))
    known = (log.verifier, new.verifier, *KEYS.witnesses, *KEYS.receipts)
    for one in (held, single):
        found = look(one, known, (root.verifier,), KEYS.receipts)
        assert (failed(found), missing(found)) == (set(), set())
        assert f"custody/{bad:06d}.checkpoint" not in one
    assert held[f"manifests/{after}.json"].count(b"custody/%06d.checkpoint" % good) == 1
    assert b'"after": null' in single[f"manifests/{after}.json"]


def test_a_name_that_the_readers_terminal_cannot_show(bag: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    (copy / "\N{CJK UNIFIED IDEOGRAPH-8B49}").write_bytes(b"")
    command, env = [sys.executable, evidock_verify.__file__, str(copy)], os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == "NOT PROVEN: something is wrong"
