"""Nothing in a bag can be changed, lost or added unnoticed; and what a forger sums anew is found by what it proves."""

from __future__ import annotations

import base64
import random
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from agent.custody import bag_files
from agent.custody.bag_files import Report, check_files
from agent.custody.checkpoint import Checkpoint, sign_checkpoint
from agent.note import Signer, sign
from tests.export.look import Alone, Held, Memory, failed, load, look, missing, summed
from tests.export.make import AT, KEYS, LOG, POLICY, log, receipts, root, witness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.export.make import Station

GIVEN = (*KEYS.logs, *KEYS.witnesses, *KEYS.receipts)
UNBOUND = r"certificates/.*|case\.jsonld|VERIFY\.txt|verify\.sh|bag-info\.txt|keys/.*\.pem"
"""What a forger may write as he likes, for it proves nothing: pages for reading, and keys that stand in vkeys too."""


@pytest.fixture(scope="session")
def held(bag: Path) -> Held:
    return load(bag)


def test_a_good_bag(held: Held) -> None:
    found = look(held)
    assert not failed(found)
    assert not missing(found)
    assert ("NOTE", "key", "keys") in found
    assert look(held, GIVEN, (root.verifier,), KEYS.receipts) == [one for one in found if one[:2] != ("NOTE", "key")]
    assert look(summed(held)) == found


def test_every_changed_byte_of_every_file_is_found(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    files, changed = Memory(dict(held)), ""
    real_sums, real_lines = bag_files._sums, bag_files.lines_of
    sums = {name: real_sums(files, name) for name in files.names}
    lines = {name: real_lines(files, name, 128 if "512" in name else 64) for name in held if "manifest-" in name}
    # A file that is as it was is not summed anew: sixty thousand bags would take an hour.
    monkeypatch.setattr(bag_files, "_sums", lambda at, name: real_sums(at, name) if name == changed else sums[name])
    monkeypatch.setattr(
        bag_files, "lines_of", lambda at, name, n: real_lines(at, name, n) if name == changed else lines[name]
    )
    count = 0
    for changed, raw in held.items():
        for at in range(len(raw)):
            # 0x20 makes a small letter large: the same digest, in another spelling.
            for flip in (0x01, 0x20) if "manifest-" in changed else (0x01,):
                one = bytearray(raw)
                one[at] ^= flip
                files.held[changed] = bytes(one)
                report = Report()
                check_files(files, report)
                assert bag_files.exit_code(report) == 1, (changed, at, flip)
                count += 1
        files.held[changed] = raw
    assert count >= sum(map(len, held.values()))


def test_the_single_file_finds_changed_bytes(held: Held) -> None:
    chance = random.Random(6)
    places = [(name, at) for name, raw in held.items() for at in range(len(raw))]
    for name, at in chance.sample(places, 3000):
        one = bytearray(held[name])
        one[at] ^= 1 << chance.randrange(8)
        bag = Alone(held | {name: bytes(one)})
        bag._files()
        assert any(check[0] == "FAILED" for check in bag.checks), (name, at)


def test_a_changed_byte_is_found_by_both(held: Held) -> None:
    chance = random.Random(2)
    for name in held:
        at = chance.randrange(len(held[name]))
        one = bytearray(held[name])
        one[at] ^= 1 << chance.randrange(8)
        assert failed(look(held | {name: bytes(one)})), (name, at)


def test_what_is_cut_lost_or_added_is_found(held: Held) -> None:
    for name in held:
        assert failed(look({other: raw for other, raw in held.items() if other != name})), name
        assert failed(look(held | {name: held[name][:-1]})), name
        assert failed(look(held | {name: held[name] + b"\n"})), name
    extras = (
        "data/extra.mp4",
        "custody/x",
        "x",
        ".hidden",
        "data/.hidden",
        "tagmanifest-md5.txt",
        "keys/tagmanifest-sha256.txt",
    )
    for extra in extras:
        assert failed(look(held | {extra: b""})) >= {f"files {extra}"}


def test_what_a_forger_sums_anew_is_found_by_what_it_proves(held: Held) -> None:
    chance = random.Random(3)
    evidence = [name for name in held if not re.fullmatch(UNBOUND, name) and "manifest-" not in name]
    for _ in range(300):
        name = chance.choice(evidence)
        one = bytearray(held[name])
        at = chance.randrange(len(one))
        one[at] ^= 1 << chance.randrange(8)
        assert failed(look(summed(held | {name: bytes(one)}))), (name, at)


def test_where_the_two_verifiers_look_at_other_things(held: Held) -> None:
    chance = random.Random(4)
    for name in held:
        if re.fullmatch(UNBOUND, name):
            for _ in range(4):
                one = bytearray(held[name])
                one[chance.randrange(len(one))] ^= 1 << chance.randrange(8)
                look(summed(held | {name: bytes(one)}))  # agree, whatever they say


def swaps(held: Held) -> Iterator[tuple[str, str]]:
    places = (r"data/.*", r"custody/\d+\.json", r"custody/\d+\.tlog-proof", r"custody/receipts/.*", r"manifests/.*")
    for pattern in (*places, r"custody/story-.*"):
        names = sorted(name for name in held if re.fullmatch(pattern, name))
        yield names[0], names[1]


def test_files_in_each_others_places_are_found(held: Held) -> None:
    for one, other in swaps(held):
        assert failed(look(summed(held | {one: held[other], other: held[one]}))), (one, other)
        assert failed(look(summed(held | {one: held[other]}))), (one, other)


def test_a_file_or_an_entry_that_nothing_proves_is_found(held: Held) -> None:
    stray = "00000000-0000-8000-8000-000000000000"
    entry = held["custody/000001.json"].replace(b'"seq":1', b'"seq":9')
    for name, raw in (
        (f"data/{stray}.mp4", b"x"),
        ("data/x.mp4", b"x"),
        ("data/sub/x.mp4", b"x"),
        (f"manifests/{stray}.json", b"{}"),
        (f"custody/story-{stray}.jsonl", b""),
        ("custody/receipts/000009.note", held["custody/receipts/000001.note"]),
        ("custody/000009.tlog-proof", held["custody/000001.tlog-proof"]),
    ):
        assert failed(look(summed(held | {name: raw}))), name
    second = look(summed(held | {"custody/000009.json": entry}))
    assert {found.split()[0] for found in failed(second)} == {"capture", "manifest", "recording", "story"}
    other = entry.replace(b'"event":"held"', b'"event":"seen"').replace(b'"name":"', b'"name":"x')
    found = look(summed(held | {"custody/000009.json": other}))
    assert (failed(found), missing(found)) == (set(), {"entry 000009"})
    for raw in (b"", b"[]", b"{}", b'{"predicate":{"seq":9},"subject":[]}', b"[" * 100_000, b"\xff", b"1e999"):
        assert "entry 000009" in failed(look(summed(held | {"custody/000009.json": raw})))


def test_a_manifest_that_two_readers_read_differently_is_found(held: Held) -> None:
    name = next(name for name in held if re.fullmatch("manifests/[0-9a-f].*", name))
    doubled = held[name].replace(b'  "capture": ', b'  "capture": "other",\n  "capture": ', 1)
    assert failed(look(summed(held | {name: doubled}))) == {f"manifest {name[10:46]}"}


@pytest.mark.interop
@pytest.mark.parametrize("name", ["-out", "x\n-out", "a b", "x\nVERIFY.txt", "é", "$(id)", "*"])
def test_a_file_cannot_speak_to_the_shell_by_its_name(bag: Path, name: str, tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    (copy / name).write_bytes(b"")
    done = subprocess.run(["sh", "verify.sh"], cwd=copy, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("FAILED  a link, or a name") is (name != "-out")
    (copy / name).unlink()
    assert load(copy) == load(bag)  # and nothing was written over
    assert failed(look(load(bag) | {name: b""})) >= {f"files {name}"}


def test_a_forger_with_his_own_keys_is_found_by_the_agencys(held: Held) -> None:
    """He signs all anew and puts his keys into the bag: only keys from elsewhere tell."""
    mine, his = Signer.ed25519(LOG, bytes(32)), Signer.cosigner(witness.verifier.name, bytes(31) + b"1")
    desk, boss = (
        Signer.ed25519(receipts.verifier.name, bytes(31) + b"2"),
        Signer.ed25519("agency.example.org/root", bytes(31) + b"3"),
    )
    text = held["custody/checkpoint"].decode().partition("\n\n")[0] + "\n"
    checkpoint = sign_checkpoint(Checkpoint.parse(text), mine, his.at(AT))
    forged = dict(held)
    for name, raw in held.items():
        if name.endswith(".tlog-proof"):
            forged[name] = raw.replace(held["custody/checkpoint"], checkpoint)
        if name.startswith("custody/receipts/"):
            forged[name] = sign(raw.decode().partition("\n\n")[0] + "\n", desk)
    forged |= {
        "custody/checkpoint": checkpoint,
        "policy.note": sign(f"log {mine.vkey}\nwitness dems {his.vkey}\nquorum dems\n", boss),
        "keys/vkeys": f"{mine.vkey}\n{his.vkey}\n{desk.vkey}\n".encode(),
        "keys/root.vkey": f"{boss.vkey}\n".encode(),
    }
    # Not even he can make an entry of before quote his witness.
    forged = {name: raw for name, raw in forged.items() if not name.endswith((".pem", ".checkpoint"))}
    forged = {name: raw.replace(b"custody/000003.checkpoint", b"custody/checkpoint") for name, raw in forged.items()}
    forged = {name: raw.replace(b'"after": "custody/checkpoint"', b'"after": null') for name, raw in forged.items()}
    assert not failed(look(summed(forged)))
    assert failed(look(summed(forged), GIVEN)) == {f"key {one.name}" for one in GIVEN}
    assert "policy policy.note" in failed(look(summed(forged), (), (root.verifier,)))


def test_a_link_or_a_pipe_in_a_bag_is_found(bag: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    (copy / "VERIFY.txt").unlink()
    (copy / "VERIFY.txt").symlink_to(bag / "VERIFY.txt")
    report = Report()
    check_files(bag_files.Folder(copy), report)
    assert {check.subject for check in report if check.outcome == "FAILED"} >= {"VERIFY.txt"}
    assert subprocess.run(["sh", copy / "verify.sh"], capture_output=True, check=False).returncode == 1


@pytest.mark.interop
@pytest.mark.slow
def test_the_shell_script_finds_changed_bytes(held: Held, bag: Path, tmp_path: Path) -> None:
    chance, copy = random.Random(5), shutil.copytree(bag, tmp_path / "bag")
    script = copy.parent / "verify.sh"
    script.write_bytes(held["verify.sh"])  # of the reader, not of the bag
    evidence = sorted(name for name in held if not re.fullmatch(UNBOUND, name))
    for number in range(14):
        name = chance.choice(sorted(held) if number < 5 else evidence)
        one = bytearray(held[name])
        one[chance.randrange(len(one))] ^= 1 << chance.randrange(8)
        changed = held | {name: bytes(one)}
        forged = number >= 5 and "manifest-" not in name and not re.match("manifests/|custody/story|b3sums|bagit", name)
        for path, raw in (summed(changed) if forged else changed).items():
            (copy / path).write_bytes(raw)
        done = subprocess.run(["sh", script, copy], capture_output=True, encoding="ascii", check=False)
        assert done.returncode == 1, (name, forged, done.stdout, done.stderr)
        assert "FAILED" in done.stdout
        for path, raw in held.items():
            (copy / path).write_bytes(raw)
    assert subprocess.run(["sh", script, copy], capture_output=True, check=False).returncode == 0


@pytest.mark.interop
def test_a_stolen_station_key_signs_no_receipt_and_no_policy(held: Held, tmp_path: Path) -> None:
    """Whoever has the station's key alone gives it another role in the bag: the names of files are his to choose."""
    place, receipt = log.verifier.key_id.hex(), "custody/receipts/000001.note"
    forged = sign(held[receipt].decode().partition("\n\n")[0].replace("copies 2", "copies 9") + "\n", log)
    policy = sign(f"log {log.vkey}\nquorum none\n", log)
    pem = held[f"keys/log-{place}.pem"]
    for changed in (
        {receipt: forged, f"keys/receipts-{place}.pem": pem},
        {"policy.note": policy, f"keys/root-{place}.pem": pem},
        {"policy.note": policy, f"keys/root-{place}.pem": pem, "keys/root.vkey": b""},
    ):
        made = summed(held | changed)
        assert failed(look(made, GIVEN))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, raw in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(raw)
        done = subprocess.run(["sh", folder / "verify.sh"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.interop
@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("custody/000001.tlog-proof", b"index 1\n", b"index 08\n"),
        ("custody/000001.tlog-proof", b"index 1\n", b"index x\n"),
        ("custody/000001.tlog-proof", b"index 1\n", b"\n"),
        ("custody/checkpoint", b"\n7\n", b"\n7x\n"),
        ("custody/checkpoint", b"\n7\n", b"\n09\n"),
        ("custody/checkpoint", b"\n7\n", b"\n\n"),
        ("custody/checkpoint", b"\x97\xa2", b""),
        ("custody/receipts/000001.note", b"dock-0042/log1 1\n", b"dock-0042/log1 0x1\n"),
        ("custody/receipts/000001.note", b"sha256", b"sha255"),
    ],
)
def test_the_shell_script_ends_with_a_verdict(
    held: Held, bag: Path, tmp_path: Path, name: str, old: bytes, new: bytes
) -> None:
    copy = shutil.copytree(bag, tmp_path / "bag")
    raw = held[name].replace(old, new)
    if old == b"\x97\xa2":  # a witness's line that is too short to hold a time
        short = base64.b64encode(witness.verifier.key_id + b"\x00")
        raw = re.sub(rb"(witness1) \S+", rb"\1 " + short, held[name])
    assert raw != held[name]
    for path, content in summed(held | {name: raw}).items():
        (copy / path).write_bytes(content)
    done = subprocess.run(["sh", copy / "verify.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, "FAILED" in done.stdout) == (1, True), done.stdout + done.stderr


def test_a_policy_that_asks_for_more(two: tuple[Station, list[str]], held: Held) -> None:
    board = Signer.cosigner("board.example.org/witness", bytes(31) + b"4")
    named = f"log {log.vkey}\nwitness dems {witness.vkey}\nwitness board {board.vkey}\n"
    text = f"{named}group both all dems board\nquorum both\n"
    found = look(summed(held | {"policy.note": sign(text, root)}))
    assert (failed(found), missing(found)) == (set(), {"bound 000003", "quorum both"})
    one = text.replace("both all dems board", "both 1 dems board")
    assert not missing(look(summed(held | {"policy.note": sign(one, root)})))
    none = summed({name: raw for name, raw in held.items() if name != "policy.note"})
    assert missing(look(none)) == set()
    assert missing(look(none, (), (root.verifier,))) == {"policy policy.note"}
    stranger = POLICY.decode().partition("\n\n")[0].replace(witness.vkey, board.vkey) + "\n"
    assert "policy policy.note" in failed(look(summed(held | {"policy.note": sign(stranger, root)})))


@pytest.mark.interop
@pytest.mark.parametrize(
    ("mark", "believed"),
    [
        ("2026-11-22T07:20:00Z", True),
        ("2026-11-22T07:20:00Z 7", True),
        ("2026-11-22T07:19:59Z", False),
        ("2026-11-22T07:20:00Z 6", False),
    ],
)
def test_a_key_that_is_marked_as_compromised_signs_nothing_later(
    held: Held, bag: Path, tmp_path: Path, mark: str, *, believed: bool
) -> None:
    text = POLICY.decode().partition("\n\n")[0]
    marked = summed(held | {"policy.note": sign(f"{text}\ncompromised {log.vkey} {mark}\n", root)})
    found = look(marked, GIVEN, (root.verifier,))
    assert ("checkpoint checkpoint" in failed(found)) is not believed
    assert believed is not bool(failed(found))
    copy = shutil.copytree(bag, tmp_path / "bag")
    for path, content in marked.items():
        (copy / path).write_bytes(content)
    done = subprocess.run(["sh", copy / "verify.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, "it marks a key" in done.stdout) == (3, True), done.stdout
