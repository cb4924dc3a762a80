"""A bag, verified by programs of others: nothing here asks our own code whether the bag is good."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import bagit
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pymerkle import InmemoryTree

from agent.cli.verify import stamped
from agent.custody.bag import Bag
from agent.custody.bag_files import Folder, exit_code
from agent.custody.export import Keys, evidock_verify
from agent.note import Signer, sign
from agent.testing.dems.stamping import Authority
from tests.export.make import AT, LOG, log, receipts, root, station, witness

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.export.make import Station

pytestmark = pytest.mark.interop

RUN_OUT = Path(__file__).parent / "run_out"


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_bagit(bag: Path) -> None:
    theirs = bagit.Bag(str(bag))
    assert theirs.validate()
    assert theirs.info["Payload-Oxum"] == "21.2"
    assert set(theirs.entries) | {"tagmanifest-sha256.txt", "tagmanifest-sha512.txt"} == {
        path.relative_to(bag).as_posix() for path in bag.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("program", "files"),
    [
        ("sha256sum", ["manifest-sha256.txt", "tagmanifest-sha256.txt"]),
        ("sha512sum", ["manifest-sha512.txt", "tagmanifest-sha512.txt"]),
        ("b3sum", ["b3sums.txt"]),
    ],
)
def test_sums(bag: Path, program: str, files: list[str]) -> None:
    needs(program)
    done = run(program, "-c", *files, cwd=bag)
    lines = sum(len((bag / name).read_text().splitlines()) for name in files)
    assert (done.returncode, done.stdout.count(": OK\n")) == (0, lines)


POSIX = ("cat", "cmp", "cp", "cut", "date", "find", "grep", "head", "mktemp", "rm", "sed", "sort", "tail", "tr", "uniq")
"""What verify.sh uses that every POSIX system has, or nearly."""

MACOS = {  # no sha256sum, and as its manuals say
    "date": 'case $1 in -*d*) echo "date: illegal option -- d" >&2; exit 1 ;; -ur) set -- -ud "@$2" "$3" ;; esac',
    "xargs": 'case "$1 $2" in *-*r*) echo "xargs: illegal option -- r" >&2; exit 1 ;; esac',
    "head": 'case $1 in -c | -n) ;; *) echo "head: illegal option" >&2; exit 1 ;; esac',
}


@pytest.fixture(params=["sh", "dash", "bash", "busybox", "busybox alone", "sh as on macOS"])
def checking(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """verify.sh by one shell, with openssl, xxd, and the tools of one kind of system; nothing else is there."""
    shell, _, tools = request.param.partition(" ")
    needs(shell, "openssl", "xxd")
    place = tmp_path / "bin"
    place.mkdir()
    for program in ("openssl", *POSIX, "xargs", "xxd"):
        found = str(shutil.which(shell if tools == "alone" and program != "openssl" else program))
        if tools == "as on macOS" and program in MACOS:
            (place / program).write_text(f'#!/bin/sh\n{MACOS[program]}\nexec {found} "$@"\n')
            (place / program).chmod(0o755)
        else:
            (place / program).symlink_to(found)
    command = [str(shutil.which(shell)), *(["sh"] if shell == "busybox" else [])]

    def check(bag: Path) -> subprocess.CompletedProcess[str]:
        env = {"PATH": str(place), "TMPDIR": str(tmp_path)}
        words = [*command, str(bag / "verify.sh")]
        return subprocess.run(words, cwd="/", capture_output=True, text=True, check=False, env=env)

    return check


def test_the_shell_script(bag: Path, checking: Callable[[Path], subprocess.CompletedProcess[str]]) -> None:
    done = checking(bag)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert all(line.startswith("OK ") for line in lines)
    assert len(lines) == 4 + 1 + 2 + 5 + 1 + 2 + 2  # sums, policy, checkpoint, entries, quoted, captures, receipts
    assert len((bag / "verify.sh").read_text().splitlines()) <= 66


def test_the_shell_script_names_each_file_that_differs(
    bag: Path, checking: Callable[[Path], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    changed, gone, more = "custody/000001.json", "keys/vkeys", "custody/story-of-mine.jsonl"
    film = next(path.relative_to(copy).as_posix() for path in sorted((copy / "data").iterdir()))
    (copy / changed).write_bytes((copy / changed).read_bytes() + b"\n")
    (copy / film).write_bytes(b"another film")
    (copy / gone).unlink()
    (copy / more).touch()
    done = checking(copy)
    assert (done.returncode, done.stderr) == (1, "")
    named = {(line[0], line.split("  ", 1)[1]) for line in done.stdout.splitlines() if line[0] in "<>"}
    assert named == {("<", changed), (">", changed), ("<", film), (">", film), (">", gone), ("<", more)}


@pytest.mark.parametrize("name", ["manifest-sha256.txt", "tagmanifest-sha512.txt"])
def test_the_shell_script_says_what_a_list_does_not(
    bag: Path, checking: Callable[[Path], subprocess.CompletedProcess[str]], tmp_path: Path, name: str
) -> None:
    """A list that is gone names nothing: each file is told as one that is here."""
    copy = shutil.copytree(bag, tmp_path / "bag")
    listed = (copy / name).read_text()
    (copy / name).unlink()
    done = checking(copy)
    assert (done.returncode, done.stderr) == (1, "")
    assert all(f"< {line}" in done.stdout for line in listed.splitlines() if "tagmanifest" in name or "/" in line)


def test_the_shell_script_by_a_time_stamp_whose_certificate_ran_out(
    bag: Path, checking: Callable[[Path], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """When it was made is read without date(1), which reads such a time in some systems only."""
    copy = shutil.copytree(bag, tmp_path / "bag")
    for name, at in (("checkpoint.tsr", "custody"), ("checkpoint", "custody"), ("tsa.pem", "keys")):
        shutil.copy(RUN_OUT / name, copy / at)
    assert "OK      custody/checkpoint.tsr: time stamp\n" in checking(copy).stdout


def test_the_shell_script_says_what_is_missing(two: tuple[Station, list[str]], tmp_path: Path) -> None:
    needs("openssl", "xxd")
    made, captures = two
    bag = made.export(tmp_path / "bag", captures[:1], made.seal(log))
    done = run("sh", "verify.sh", cwd=bag)
    assert done.returncode == 3
    assert [line for line in done.stdout.splitlines() if not line.startswith("OK ")] == [
        "MISSING checkpoint: cosigned by nobody known"
    ]


@pytest.fixture(scope="session")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of record.go, built without any network from the packages of the distribution."""
    go = shutil.which("go") or next(map(str, sorted(Path("/usr/lib").glob("go-*/bin/go"))), None)
    sources = Path("/usr/share/gocode")
    if go is None or not (sources / "src/golang.org/x/mod/sumdb/tlog").is_dir():
        pytest.skip("Go and golang.org/x/mod are not installed (Debian: golang-go golang-golang-x-mod-dev)")
    folder = tmp_path_factory.mktemp("record")
    env = os.environ | {"GO111MODULE": "off", "GOPATH": str(sources), "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    source = Path(__file__).parent / "record.go"
    subprocess.run([go, "build", "-o", folder / "record", source], check=True, env=env, cwd=folder)
    return folder / "record"


@pytest.mark.slow
def test_the_checksum_database(record: Path, bag: Path, tmp_path: Path) -> None:
    assert run(record, bag, log.vkey, cwd=tmp_path).stdout == "5 entries stand in the log\n"
    copy = shutil.copytree(bag, tmp_path / "bag")
    (copy / "custody/000001.json").write_bytes((bag / "custody/000001.json").read_bytes() + b"\n")
    assert run(record, copy, log.vkey, cwd=tmp_path).returncode == 1


def test_pymerkle(two: tuple[Station, list[str]], bag: Path) -> None:
    made, _ = two
    tree, lines = InmemoryTree(algorithm="sha256"), (bag / "custody/checkpoint").read_text().split("\n")
    for _, entry in made.journal.leaves.between(0, int(lines[1])):
        tree.append_entry(entry)
    assert base64.b64encode(tree.get_root(int(lines[1]))).decode() == lines[2]
    for path in (bag / "custody").glob("*.tlog-proof"):
        head = path.read_text().partition("\n\n")[0].split("\n")
        theirs = tree.prove_inclusion(int(path.stem) + 1, int(lines[1])).serialize()["path"]
        leaf = hashlib.sha256(b"\x00" + path.with_suffix(".json").read_bytes()).hexdigest()
        assert [leaf, *(base64.b64decode(line).hex() for line in head[2:])] == theirs


def test_openssl_by_hand(bag: Path) -> None:
    needs("openssl")
    # As a person types it, from the text of the receipt alone.
    by_hand = f"""
        T=$(mktemp -d)
        sed -n '/^$/q;p' custody/receipts/000001.note > $T/text
        tail -n 1 custody/receipts/000001.note | awk '{{print $3}}' | base64 -d | tail -c +5 > $T/signature
        openssl pkeyutl -verify -pubin -inkey keys/receipts-{receipts.verifier.key_id.hex()}.pem -rawin -in $T/text \\
            -sigfile $T/signature
        rm -r $T
    """
    assert run("sh", "-c", by_hand, cwd=bag).stdout.strip() == "Signature Verified Successfully"
    page = next((bag / "certificates").glob("*.html")).read_text()
    commands = re.findall(r"<pre>(.*?)</pre>", page)[:2]
    for command in commands:  # what the certificate tells a person to type, it also says the answer of
        answer = run("sh", "-c", command.replace("&#x27;", "'"), cwd=bag).stdout.split()[0]
        assert answer in page.replace(command, "")


@pytest.mark.slow
def test_case_uco(bag: Path, tmp_path: Path) -> None:
    validator = Path(sys.executable).with_name("case_validate")
    if not validator.exists():
        pytest.skip("case_validate is not installed (PyPI case-utils)")
    # Two suggestions (not violations): UUIDs of version 8 are newer than the ontology, and it does not know BLAKE3.
    done = run(validator, "--allow-info", bag / "case.jsonld", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, "Conforms: True")
    assert "Severity: sh:Violation" not in done.stdout
    assert "Severity: sh:Warning" not in done.stdout


def test_the_sample_bag(samples: Path) -> None:
    report = Bag(Folder(samples / "bag"), stamped=stamped).check()
    assert exit_code(report) == 0
    assert [check.subject for check in report if check.what == "timestamp"] == ["checkpoint.tsr"]
    assert evidock_verify.main([str(samples / "bag")]) == 0


def test_time_stamps(two: tuple[Station, list[str]], tmp_path: Path) -> None:
    needs("openssl", "xxd")
    made, captures = two
    seal = made.seal()
    authority = Authority(tmp_path / "tsa")
    (tmp_path / "checkpoint").write_bytes(seal.checkpoint or b"")
    query = run("openssl", "ts", "-query", "-data", "checkpoint", "-sha256", "-cert", "-out", "query", cwd=tmp_path)
    assert query.returncode == 0
    token = authority._stamp((tmp_path / "query").read_bytes())
    assert token
    bag = made.export(tmp_path / "bag", captures, made.seal(tokens=(token,), tsa=authority.ca_file.read_bytes()))
    assert "OK      custody/checkpoint.tsr: time stamp\n" in run("sh", "verify.sh", cwd=bag).stdout
    found = Bag(Folder(bag), stamped=stamped).check()
    assert [(check.outcome, check.subject) for check in found if check.what == "timestamp"] == [
        ("OK", "checkpoint.tsr")
    ]
    alone = [check for check in evidock_verify.Bag(bag).run([], []) if check[1] == "timestamp"]
    assert [check[:3] for check in alone] == [("OK", "timestamp", "checkpoint.tsr")]
    # A token over other bytes.
    other = made.export(
        tmp_path / "other", captures, made.seal(log, tokens=(token,), tsa=authority.ca_file.read_bytes())
    )
    assert "FAILED  custody/checkpoint.tsr: time stamp\n" in run("sh", "verify.sh", cwd=other).stdout
    assert exit_code(Bag(Folder(other), stamped=stamped).check()) == 1
    assert evidock_verify.main([str(other)]) == 1


def test_a_log_that_signs_with_p256(tmp_path: Path) -> None:
    """For stations whose validated module has no Ed25519."""
    needs("openssl", "xxd")
    signer = Signer.p256(LOG, ec.derive_private_key(7, ec.SECP256R1()))
    policy = sign(f"log {signer.vkey}\nwitness dems {witness.vkey}\nquorum dems\n", root)
    keys = Keys((signer.verifier,), (witness.verifier,), (receipts.verifier,), root.verifier)
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        made.receipt(capture)
        bag = made.export(tmp_path / "bag", [capture], made.seal(signer, witness.at(AT), keys=keys, policy=policy))
    assert run("sh", "verify.sh", cwd=bag).returncode == 0
    assert exit_code(Bag(Folder(bag)).check()) == 0
    assert evidock_verify.main([str(bag)]) == 0


@pytest.mark.slow
def test_a_log_whose_key_is_being_changed(record: Path, tmp_path: Path) -> None:
    """Two signature lines carry one name: each is found by its key id, by Go's sumdb too."""
    needs("openssl", "xxd")
    new = Signer.ed25519(LOG, bytes(32))
    policy = sign(f"log {log.vkey}\nlog {new.vkey}\nwitness dems {witness.vkey}\nquorum dems\n", root)
    keys = Keys((log.verifier, new.verifier), (witness.verifier,), (receipts.verifier,), root.verifier)
    with station(tmp_path) as made:
        capture = asyncio.run(made.take("CLIP", b"clip"))
        made.receipt(capture)
        seal = made.seal(log, new, witness.at(AT), keys=keys, policy=policy)
        bag = made.export(tmp_path / "bag", [capture], seal)
    done = run("sh", "verify.sh", cwd=bag)
    assert (done.returncode, f"signed by {LOG} {LOG}\n" in done.stdout) == (0, True)
    assert exit_code(Bag(Folder(bag)).check()) == 0
    assert evidock_verify.main([str(bag)]) == 0
    (tmp_path / "go").mkdir()
    for key in (log, new):  # whoever knows only one of them
        assert run(record, bag, key.vkey, cwd=tmp_path / "go").stdout == "2 entries stand in the log\n"


def test_the_single_file_needs_only_python_and_cryptography(bag: Path, tmp_path: Path) -> None:
    source = Path(evidock_verify.__file__)
    shutil.copy(source, tmp_path / "evidock_verify.py")
    blocked = tmp_path / "agent.py"
    blocked.write_text("raise ImportError('this must not be needed')\n")
    done = run(sys.executable, "evidock_verify.py", bag, cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "PROVEN")
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source.read_text(), re.MULTILINE))
    assert imported - set(sys.stdlib_module_names) == {"cryptography"}


def test_over_openssl_and_a_witnesss_clock(bag: Path) -> None:
    """What verify.sh prints as the witness's time is the time in its signature line."""
    needs("openssl", "xxd")
    line = next(row for row in (bag / "custody/checkpoint").read_text().split("\n") if witness.verifier.name in row)
    time = int.from_bytes(base64.b64decode(line.split(" ")[2])[4:12])
    assert f"(at {datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ})" in run("sh", "verify.sh", cwd=bag).stdout
