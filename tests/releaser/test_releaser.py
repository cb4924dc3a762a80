"""The program that deletes: it deletes what is proven, and nothing else, whatever it is asked."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import durable
from agent.custody.policy import parse
from agent.note import Note, decode64, encode64
from agent.releaser import Believed, Releaser, batches
from tests.releaser.case import (
    CONTENT,
    COSIGNED_AT,
    HELD_AT,
    LOG,
    RECEIPTS,
    STRANGER,
    WITNESS,
    Case,
    leaf,
    make_case,
    make_trust,
    proof_of,
    receipt,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.fresh  # the program that deletes is started as a station starts it


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    made.mkdir()
    return made


@pytest.fixture
def releaser(tmp_path: Path) -> Releaser:
    return Releaser(Believed.read(make_trust(tmp_path / "trust.json")))


@pytest.fixture
def case(volume: Path) -> Case:
    return make_case(volume)


def image(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Everything that a device has: names, bytes, times."""
    found = sorted(path for path in folder.rglob("*"))
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns, path.stat().st_mode)
        for path in found
    }


def test_what_is_proven_is_deleted_and_nothing_else(releaser: Releaser, case: Case) -> None:
    other = case.file.with_name("CLIP0002.MP4")
    other.write_bytes(b"another")
    assert releaser.answer(case.line()) == {"result": "released"}
    assert not case.file.exists()
    assert other.read_bytes() == b"another"
    assert releaser.answer(case.line()) == {"result": "absent"}


def test_the_folder_is_forced_after_the_deletion_also_when_asked_again(
    releaser: Releaser, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(durable, "force_folder", lambda _: seen.append(case.file.exists()))
    releaser.answer(case.line())
    releaser.answer(case.line())
    assert seen == [False, False]


def test_a_deletion_that_the_device_does_not_confirm_is_the_last_on_this_volume(
    releaser: Releaser, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise durable.ForceFailed(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(durable, "force_folder", fails)
        assert releaser.answer(case.line())["result"] == "refused"
    assert "did not confirm" in releaser.answer(make_case(case.root).line())["why"]
    assert case.file.exists()
    # Unplugged and plugged in again, as it was told to be: the kernel gives out the same numbers.
    again = dataclasses.replace(make_case(case.root), plugged="again")
    assert releaser.answer(again.line()) == {"result": "released"}


def test_a_file_without_an_end_is_read_no_further_than_it_should_be(
    releaser: Releaser, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that lies about a length, or a program that goes on writing, must not hold up all others."""
    given = [0]

    def endless(_: int, length: int) -> bytes:
        given[0] += 1
        assert given[0] < 10
        return bytes(length)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", endless)
        assert releaser.answer(case.line())["result"] == "differs"
    assert case.file.exists()


@pytest.mark.parametrize("hears", [True, False])
def test_who_asked_is_told_that_it_reads(
    releaser: Releaser, case: Case, monkeypatch: pytest.MonkeyPatch, *, hears: bool
) -> None:
    said = list[bytes]()

    def say(line: bytes) -> None:
        said.append(line)
        if not hears:
            raise BrokenPipeError

    releaser.say = say
    assert releaser.answer(case.line())["result"] == "released"
    assert said == [], "a file that is read in a moment is worth no word"
    case.file.write_bytes(CONTENT)
    os.utime(case.file, ns=(case.mtime_ns, case.mtime_ns))
    monkeypatch.setattr("agent.releaser._PULSE", 0.0)
    assert releaser.answer(case.line())["result"] == "released"
    assert said
    assert set(said) == {b'{"result": "reading"}\n'}


def test_what_is_asked_together_shares_the_forcing_of_a_folder_and_is_answered_after_it(
    releaser: Releaser, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[bool] = []
    monkeypatch.setattr(durable, "force_folder", lambda _: forced.append(case.file.exists()))
    other = make_case(case.root, b"DCIM/100EVDCK/CLIP0002.MP4")
    results = [one["result"] for one in releaser.answers([case.line(), b"nonsense", case.line(), other.line()])]
    assert results == ["released", "refused", "absent", "released"]
    assert forced == [False]


def test_a_folder_that_cannot_be_forced_is_a_no_to_all_that_was_asked_together(
    releaser: Releaser, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: int) -> None:
        raise durable.ForceFailed(errno.EIO, "Input/output error")

    monkeypatch.setattr(durable, "force_folder", fails)
    assert {one["result"] for one in releaser.answers([case.line(), case.line()])} == {"refused"}


def test_lines_are_answered_however_they_arrive() -> None:
    pieces = iter([b"one\ntw", b"o\nthree\n", b"left", b""])
    assert list(batches(lambda: next(pieces))) == [[b"one"], [b"two", b"three"]]


NO_CHANGE: dict[str, Callable[[Case], Case]] = {
    "no receipt": lambda case: dataclasses.replace(case, receipt=b""),
    "a receipt of a stranger under the same name": lambda case: dataclasses.replace(
        case, receipt=signed(receipt(), STRANGER)
    ),
    "a checkpoint is no receipt": lambda case: dataclasses.replace(
        case, receipt=proof_of(case.leaf, LOG).partition(b"\n\n")[2]
    ),
    "no proof": lambda case: dataclasses.replace(case, proof=b""),
    "not cosigned": lambda case: dataclasses.replace(case, proof=proof_of(case.leaf, LOG)),
    "cosigned and not signed by the log": lambda case: dataclasses.replace(
        case, proof=proof_of(case.leaf, WITNESS.at(COSIGNED_AT))
    ),
    "another entry is proven": lambda case: dataclasses.replace(
        case, proof=proof_of(b"{}", LOG, WITNESS.at(COSIGNED_AT))
    ),
    "the entry is not about holding": lambda case: _with_leaf(case, event="receipted"),
    "the entry is about another path": lambda case: _with_leaf(case, path=b"DCIM/100EVDCK/CLIP0002.MP4"),
    "the entry has another index": lambda case: _with_leaf(case, index=3),
    "the entry names other bytes": lambda case: _with_leaf(case, digest=b"\x00" * 32),
    "the entry names another length": lambda case: _with_leaf(case, length=1),
    "another capture": lambda case: dataclasses.replace(case, capture=str(uuid.uuid4())),
    "another time of change": lambda case: dataclasses.replace(case, mtime_ns=case.mtime_ns + 1),
    "another length": lambda case: dataclasses.replace(case, length=case.length + 1),
    "another volume": lambda case: dataclasses.replace(case, root_id=(case.root_id[0], case.root_id[1] + 1)),
    "out of the volume": lambda case: dataclasses.replace(case, path=b"../volume/DCIM/100EVDCK/CLIP0001.MP4"),
    "an absolute path": lambda case: dataclasses.replace(case, path=os.fsencode(case.file)),
    "a receipt that is older than the capture": lambda case: dataclasses.replace(
        case, receipt=signed(receipt(stored_at=HELD_AT - timedelta(days=2)))
    ),
}


def _with_leaf(case: Case, **changes: Any) -> Case:  # noqa: ANN401
    said: dict[str, Any] = {
        "path": case.path,
        "digest": hashlib.sha256(CONTENT).digest(),
        "length": len(CONTENT),
        **changes,
    }
    entry = leaf(**said)
    return dataclasses.replace(case, leaf=entry, proof=proof_of(entry, LOG, WITNESS.at(COSIGNED_AT)))


@pytest.mark.parametrize("how", NO_CHANGE)
def test_what_is_not_proven_leaves_the_device_as_it_was(releaser: Releaser, case: Case, how: str) -> None:
    before = image(case.root)
    answer = releaser.answer(NO_CHANGE[how](case).line())
    assert answer["result"] in {"refused", "gone"}
    assert answer["why"]
    assert image(case.root) == before


def test_bytes_that_read_differently_stay(releaser: Releaser, case: Case) -> None:
    times = case.file.stat()
    changed = bytearray(CONTENT)
    changed[4321] ^= 1
    case.file.write_bytes(changed)
    os.utime(case.file, ns=(times.st_atime_ns, times.st_mtime_ns))
    before = image(case.root)
    answer = releaser.answer(case.line())
    assert (answer["result"], answer["sha256"]) == ("differs", hashlib.sha256(changed).hexdigest())
    assert image(case.root) == before


def test_links_lead_nowhere(releaser: Releaser, case: Case, tmp_path: Path) -> None:
    precious = tmp_path / "precious.mp4"
    shutil.copy2(case.file, precious)
    case.file.unlink()
    case.file.symlink_to(precious)
    assert releaser.answer(case.line())["result"] == "refused"
    shutil.rmtree(case.root / "DCIM")
    (tmp_path / "elsewhere" / "100EVDCK").mkdir(parents=True)
    shutil.copy2(precious, tmp_path / "elsewhere" / "100EVDCK" / "CLIP0001.MP4")
    (case.root / "DCIM").symlink_to(tmp_path / "elsewhere")
    assert releaser.answer(case.line())["result"] == "refused"
    assert precious.exists()
    assert (tmp_path / "elsewhere" / "100EVDCK" / "CLIP0001.MP4").exists()


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"root_id": 1}', b"\xff", b"1" * 100_000])
def test_what_is_no_request_is_refused(releaser: Releaser, line: bytes) -> None:
    assert releaser.answer(line)["result"] == "refused"


def test_without_witnesses_the_receipt_alone_decides_where_the_trust_file_says_so(case: Case, tmp_path: Path) -> None:
    releaser = Releaser(Believed.read(make_trust(tmp_path / "t.json", asked=False)))
    assert releaser.answer(dataclasses.replace(case, proof=b"", receipt=b"").line())["result"] == "refused"
    assert releaser.answer(dataclasses.replace(case, proof=b"").line())["result"] == "released"


# --- 1,000 receipts that are not for this capture ---------------------------------------------------------------------

TRUE = receipt()
FIELDS = {
    "capture": st.uuids().map(str),
    "sha256": st.binary(min_size=32, max_size=32),
    "length": st.integers(0, 2**53),
    "log": st.sampled_from(["edge.example.org/dock-2/log1", "edge.example.org/dock-1/log2"]),
    "index": st.integers(0, 2**53),
    "stored_at": st.integers(2, 5000).map(lambda days: HELD_AT - timedelta(days=days)),
}


@st.composite
def wrong_receipts(draw: st.DrawFn) -> bytes:
    how = draw(st.sampled_from(["mismatched", "forged", "bent", "cut", "glued", "noise"]))
    if how == "mismatched":  # signed rightly, for something else: a replay
        field = draw(st.sampled_from(sorted(FIELDS)))
        said = dataclasses.replace(TRUE, **{field: draw(FIELDS[field])})
        return signed(said if said != TRUE else dataclasses.replace(TRUE, index=TRUE.index + 1))
    if how == "forged":  # the right words under another key
        return signed(TRUE, STRANGER)
    if how == "noise":
        return draw(st.binary(max_size=400))
    note = signed(TRUE)
    if how == "bent":  # one bit of it
        bent = bytearray(note)
        at = draw(st.integers(0, len(bent) * 8 - 1))
        bent[at // 8] ^= 1 << at % 8
        return bytes(bent)
    if how == "cut":
        return note[: draw(st.integers(0, len(note) - 1))]
    text, line = note.split(b"\n\n")  # the signature of one receipt under the words of another
    other = signed(dataclasses.replace(TRUE, length=draw(st.integers(0, 69_999)))).split(b"\n\n")
    return draw(st.sampled_from([text + b"\n\n" + other[1], other[0] + b"\n\n" + line]))


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(note=wrong_receipts())
def test_1000_forged_replayed_or_mismatched_receipts_delete_nothing(
    releaser: Releaser, case: Case, note: bytes
) -> None:
    assert releaser.answer(dataclasses.replace(case, receipt=note).line())["result"] == "refused"
    assert case.file.stat().st_mtime_ns == case.mtime_ns


def test_and_the_true_one_does(releaser: Releaser, case: Case) -> None:
    parts = Note.parse(case.receipt)
    assert decode64(encode64(parts.lines[0][2])) == parts.lines[0][2]
    assert parts.lines[0][0] == RECEIPTS.verifier.name
    assert releaser.answer(case.line()) == {"result": "released"}


# --- as a process -----------------------------------------------------------------------------------------------------


def test_it_imports_no_network() -> None:
    words = "import sys, agent.releaser; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout.split()
    forbidden = {"socket", "_socket", "ssl", "_ssl", "asyncio", "aiohttp", "http.client", "urllib.request", "pydantic"}
    assert forbidden.isdisjoint(modules)


@pytest.mark.parametrize("alone", [False, True], ids=["as it is", "in a network of nobody"])
def test_it_answers_line_by_line(case: Case, tmp_path: Path, *, alone: bool) -> None:
    prefix: list[str] = []
    if alone:
        prefix = ["unshare", "--map-root-user", "--net"]
        if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:  # noqa: PLW1510
            pytest.skip("this machine lets us make no network of our own")
    trust = make_trust(tmp_path / "trust.json")
    lines = [dataclasses.replace(case, receipt=b"").line(), b"noise", case.line(), case.line()]
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "agent.releaser", str(trust)],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        check=True,
        timeout=30,
    )
    results = [json.loads(line)["result"] for line in done.stdout.splitlines()]
    assert results == ["refused", "refused", "released", "absent"]


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"log": "x"}'])
def test_a_trust_file_that_cannot_be_used_ends_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trust.json").write_bytes(content)
    words = [sys.executable, "-m", "agent.releaser", str(tmp_path / "trust.json")]
    done = subprocess.run(words, input=b"", capture_output=True, check=False)
    assert done.returncode == 1
    assert b"cannot be used" in done.stderr


def test_a_policy_that_is_not_the_roots_proves_nothing(case: Case, tmp_path: Path) -> None:
    path = make_trust(tmp_path / "trust.json")
    said = json.loads(path.read_text())
    said["policy"] = base64.b64encode(b"quorum none\n\n").decode()
    path.write_text(json.dumps(said))
    assert Releaser(Believed.read(path)).answer(case.line())["result"] == "refused"


@pytest.mark.parametrize(("earlier", "result"), [(0, "released"), (1, "refused")])
def test_under_a_key_that_is_marked_as_compromised_nothing_later_is_deleted(
    case: Case, tmp_path: Path, earlier: int, result: str
) -> None:
    since = COSIGNED_AT - timedelta(seconds=earlier)
    lines = (
        f"log {LOG.vkey}",
        f"witness w {WITNESS.vkey}",
        "quorum w",
        f"compromised {LOG.vkey} {since:%Y-%m-%dT%H:%M:%SZ}",
    )
    believed = Believed.read(make_trust(tmp_path / "trust.json"))
    marked = dataclasses.replace(believed, policy=parse("".join(f"{line}\n" for line in lines)))
    assert Releaser(marked).answer(case.line())["result"] == result
    assert case.file.exists() is (result == "refused")
