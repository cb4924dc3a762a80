from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.custody.checkpoint import NoQuorum
from agent.custody.policy import Policy, open_policy, parse
from agent.custody.proof import Proof, check_proof
from agent.merkle import BadProof
from agent.note import BadNote, Verifier

VECTORS = Path(__file__).parent / "vectors"
ORIGIN = "edge.example.org/dock-0042/log1"
ENTRY = (VECTORS / "log/proofs/000137.json").read_bytes()
PROOF = (VECTORS / "log/proofs/000137.tlog-proof").read_bytes()


@pytest.fixture(scope="module")
def policy() -> Policy:
    root = Verifier.parse((VECTORS / "log/policy.vkey").read_text().strip())
    return open_policy((VECTORS / "log/policy.note").read_bytes(), [root])


def small_policy(vkeys: Path) -> Policy:
    log, witness = vkeys.read_text().split()[:2]
    return parse(f"log {log}\nwitness dems {witness}\nquorum dems\n")


def cases() -> list[Any]:
    table = json.loads((VECTORS / "log/cases/cases.json").read_text())
    return [pytest.param(case, id=case["file"]) for case in table if case["kind"] == "proof"]


@pytest.mark.parametrize("case", cases())
def test_cases(case: dict[str, Any], policy: Policy, vectors: Path) -> None:
    raw = (vectors / "log/cases" / case["file"]).read_bytes()
    try:
        check_proof(raw, ENTRY, policy)
        accepted = True
    except (BadNote, BadProof):
        accepted = False
    assert accepted == case["accept"], case["why"]


def test_the_small_log(vectors: Path) -> None:
    folder = vectors / "small"
    opened = check_proof(
        (folder / "entry137.tlog-proof").read_bytes(),
        (folder / "entry137.json").read_bytes(),
        small_policy(folder / "vkeys"),
        log=ORIGIN,
        index=137,
    )
    assert opened.checkpoint.size == 300


def test_the_shortest_set(samples: Path) -> None:
    folder = samples / "short"
    raw, entry = (folder / "entry137.tlog-proof").read_bytes(), (folder / "entry137.json").read_bytes()
    check_proof(raw, entry, small_policy(folder / "vkeys"), log=ORIGIN, index=137)


def test_every_proof_of_the_larger_log(samples: Path, policy: Policy) -> None:
    files = sorted((samples / "log/proofs").glob("*.tlog-proof"))
    assert len(files) == 14
    for file in files:
        raw, entry = file.read_bytes(), file.with_suffix(".json").read_bytes()
        assert check_proof(raw, entry, policy, log=ORIGIN, index=int(file.stem)).checkpoint.size == 300
        assert Proof.parse(raw).write() == raw
        with pytest.raises(BadProof, match="another root"):
            check_proof(raw, entry + b"\n", policy)  # what an editor adds to the end of a file


def test_what_is_missing_is_told_apart(policy: Policy, vectors: Path) -> None:
    with pytest.raises(NoQuorum):
        check_proof((vectors / "log/cases/proof-no-witness.tlog-proof").read_bytes(), ENTRY, policy)
    with pytest.raises(BadProof, match="is a proof of entry 137, not of 138"):
        check_proof(PROOF, ENTRY, policy, index=138)
    with pytest.raises(BadProof, match=r"for the log edge\.example\.org/dock-0042/log1, not for x"):
        check_proof(PROOF, ENTRY, policy, log="x")
    with pytest.raises(BadProof, match="another root"):
        check_proof(PROOF, ENTRY.replace(b"held", b"hold"), policy)


def test_an_extra_line_is_kept_and_not_believed(policy: Policy, vectors: Path) -> None:
    raw = (vectors / "log/cases/proof-extra.tlog-proof").read_bytes()
    proof = Proof.parse(raw)
    assert proof.extra == b"hello"
    assert proof.write() == raw
    check_proof(raw, ENTRY, policy)


HEAD, CHECKPOINT = PROOF.split(b"\n\n", 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        HEAD,
        HEAD + b"\n",
        b"\n" + PROOF,
        PROOF.replace(b"proof@v1", b"proof@v1 "),
        PROOF.replace(b"\n", b"\r\n"),
        PROOF.replace(b"index 137\n", b""),
        PROOF.replace(b"index 137", b"137"),
        b"c2sp.org/tlog-proof@v1\n\n" + CHECKPOINT,
        PROOF.replace(b"index 137", b"index  137"),
        PROOF.replace(b"index 137", b"index -1"),
        PROOF.replace(b"index 137", b"index 9223372036854775808"),
        PROOF.replace(b"index 137", b"index \xd9\xa1"),
        PROOF.replace(b"index 137", b"extra aGVsbG9=\nindex 137"),
        PROOF.replace(b"index 137", b"extra\nindex 137"),
        PROOF.replace(b"index 137", b"index 137\nextra aGVsbG8="),
        PROOF.replace(b"index 137", b"extra aGVsbG8=\nextra aGVsbG8=\nindex 137"),
        PROOF.replace(b"index 137\n", b"index 137\nAAAA\n"),
        PROOF.replace(b"index 137\n", b"index 137\n" + (b64encode(bytes(32)) + b"\n") * 60),
    ],
)
def test_what_is_no_proof_file(raw: bytes) -> None:
    with pytest.raises(BadNote):
        Proof.parse(raw)


def test_every_changed_bit_and_every_cut_is_found(policy: Policy) -> None:
    for at in range(len(PROOF) * 8):
        changed = bytearray(PROOF)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises((BadNote, BadProof)):
            check_proof(bytes(changed), ENTRY, policy)
    last_line = PROOF.rindex("\u2014".encode())
    for length in range(len(PROOF)):
        with pytest.raises(NoQuorum if length == last_line else (BadNote, BadProof)):
            check_proof(PROOF[:length], ENTRY, policy)
    for at in range(len(ENTRY)):
        with pytest.raises(BadProof):
            check_proof(PROOF, ENTRY[:at] + bytes([ENTRY[at] ^ 1]) + ENTRY[at + 1 :], policy)


def test_the_longest_way_is_read() -> None:
    longest = Proof(0, (bytes(32),) * 63, CHECKPOINT)
    assert Proof.parse(longest.write()) == longest


@settings(deadline=None, max_examples=60)
@given(
    st.builds(
        Proof,
        index=st.integers(0, 2**63 - 1),
        hashes=st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
        checkpoint=st.binary(max_size=50),
        extra=st.none() | st.binary(max_size=20),
    )
)
def test_what_is_written_is_read(proof: Proof) -> None:
    assert Proof.parse(proof.write()) == proof
