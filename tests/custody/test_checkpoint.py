from __future__ import annotations

import hashlib
from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.custody.checkpoint import Checkpoint, NoQuorum, open_checkpoint, open_cosigned, sign_checkpoint
from agent.custody.policy import open_policy, parse
from agent.merkle import EMPTY_ROOT
from agent.note import BadNote, Signer, Verifier, sign

VECTORS = Path(__file__).parent / "vectors"
ORIGIN = "edge.example.org/dock-0042/log1"
AT = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


def seed(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()


agent = Signer.ed25519(ORIGIN, seed("test device key"))
dems = Signer.cosigner("dems.example.org/witness1", seed("test dems witness key"))
board = Signer.cosigner("oversight.example.org/witness1", seed("test oversight witness key"))
HEAD = Checkpoint(ORIGIN, 300, b64decode("1XLJ0EEEAUd71qd5C8S2arRjnFUon9dI4hZa9j8eWxs="))


@pytest.mark.parametrize("folder", ["small", "log"])
def test_the_published_checkpoint(folder: str, vectors: Path) -> None:
    raw = (vectors / folder / "checkpoint").read_bytes()
    opened = open_checkpoint(raw, [agent.verifier], [dems.verifier])
    assert (opened.checkpoint.origin, opened.checkpoint.size) == (ORIGIN, 300)
    assert [signature.by for signature in opened.signatures] == [agent.verifier, dems.verifier]
    assert opened.signatures[1].cosigned_at == AT
    assert sign_checkpoint(opened.checkpoint, agent, dems.at(AT)) == raw


def test_the_shortest_set(samples: Path) -> None:
    folder = samples / "short"
    log, witness = (Verifier.parse(line) for line in (folder / "vkeys").read_text().split())
    assert open_checkpoint((folder / "checkpoint").read_bytes(), [log], [witness]).checkpoint == HEAD


def test_the_quorum_of_the_published_policy(vectors: Path) -> None:
    root = Verifier.parse((vectors / "log/policy.vkey").read_text().strip())
    policy = open_policy((vectors / "log/policy.note").read_bytes(), [root])
    opened = open_cosigned((vectors / "log/checkpoint").read_bytes(), policy)
    assert (opened.checkpoint.size, opened.cosigned_at) == (300, AT)
    with pytest.raises(NoQuorum, match="'outside' has not cosigned"):
        open_cosigned((vectors / "log/checkpoint.100").read_bytes(), policy)


def test_a_rotated_key_is_taken_beside_the_old_one_and_alone(vectors: Path) -> None:
    old, new = (Verifier.parse(line) for line in (vectors / "log/rotation/vkeys").read_text().split())
    raw = (vectors / "log/rotation/checkpoint").read_bytes()
    for known in ([old, new], [old], [new]):
        assert [signature.by for signature in open_checkpoint(raw, known).signatures] == known


def test_a_fork_is_signed_just_as_well_and_only_its_root_differs(vectors: Path) -> None:
    true = open_checkpoint((vectors / "log/checkpoint").read_bytes(), [agent.verifier]).checkpoint
    fork = open_checkpoint((vectors / "log/fork/checkpoint").read_bytes(), [agent.verifier]).checkpoint
    assert replace(fork, root=true.root) == true
    assert fork != true


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        f"{ORIGIN}\n300\n",
        HEAD.text.removesuffix("\n"),
        "\n" + HEAD.text,
        HEAD.text + "\n",
        HEAD.text.replace("300", "0300"),
        HEAD.text.replace("300", "-300"),
        HEAD.text.replace("300", " 300"),
        HEAD.text.replace("300", ""),
        HEAD.text.replace("300", "9223372036854775808"),
        HEAD.text.replace("1XLJ", "1XL"),
        HEAD.text.replace("Wxs=", "Wxt="),
        HEAD.text.replace("1XLJ", "").replace("Wxs=", "Wxs"),
        f"{ORIGIN}\n300\nAAAA\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(BadNote):
        Checkpoint.parse(text)


def test_lines_of_other_logs_are_kept_as_they_are() -> None:
    head = Checkpoint("example.com/behind the sofa", 0, EMPTY_ROOT, ("more", "and more"))
    assert Checkpoint.parse(head.text) == head


def test_the_log_itself_must_sign() -> None:
    with pytest.raises(BadNote, match="itself did not sign"):
        open_checkpoint(sign(HEAD.text, dems.at(AT)), [agent.verifier], [dems.verifier])


def test_a_key_signs_for_its_own_log_only() -> None:
    other = Signer.ed25519("edge.example.org/dock-0043/log1", seed("another station"))
    forged = sign(HEAD.text, other)
    with pytest.raises(BadNote, match="no key is known for the log"):
        open_checkpoint(forged, [other.verifier])
    with pytest.raises(BadNote, match="no known key"):
        open_checkpoint(forged, [other.verifier, agent.verifier])
    with pytest.raises(ValueError, match="does not sign for"):
        sign_checkpoint(HEAD, other)


def test_a_witness_key_does_not_sign_for_a_log_even_under_its_name() -> None:
    witness = Signer.cosigner(ORIGIN, seed("a witness with the name of the log"))
    with pytest.raises(BadNote, match="no key is known"):
        open_checkpoint(sign(HEAD.text, witness.at(AT)), [witness.verifier], [witness.verifier])


def test_a_log_key_is_no_witness() -> None:
    insider = Signer.ed25519("dems.example.org/witness1", seed("kind 0x01"))
    opened = open_checkpoint(sign(HEAD.text, agent, insider), [agent.verifier], [insider.verifier])
    assert [signature.by for signature in opened.signatures] == [agent.verifier]


def test_what_would_be_read_otherwise_is_not_signed() -> None:
    for head in (
        Checkpoint(f"{ORIGIN}\n1", 2, HEAD.root),
        Checkpoint(ORIGIN, -1, HEAD.root),
        Checkpoint(ORIGIN, 1, b"short"),
        Checkpoint(ORIGIN, 1, HEAD.root, ("",)),
        Checkpoint(ORIGIN, 1, HEAD.root, ("two\nlines",)),
    ):
        with pytest.raises(ValueError, match=r"."):
            sign_checkpoint(head, agent)


def test_the_time_of_the_quorum_is_when_the_last_needed_witness_had_cosigned() -> None:
    keys = f"log {agent.vkey}\nwitness dems {dems.vkey}\nwitness board {board.vkey}\n"
    raw = sign_checkpoint(HEAD, agent, board.at(AT + timedelta(hours=1)), dems.at(AT), dems.at(AT + timedelta(hours=2)))
    for quorum, at in (
        ("group both all dems board\nquorum both\n", AT + timedelta(hours=1)),
        ("group one any dems board\nquorum one\n", AT),
        ("quorum board\n", AT + timedelta(hours=1)),
        ("quorum none\n", None),
    ):
        assert open_cosigned(raw, parse(keys + quorum)).cosigned_at == at


def test_every_changed_bit_of_a_cosigned_checkpoint_is_found(vectors: Path) -> None:
    raw = (vectors / "log/checkpoint").read_bytes()
    policy = parse(f"log {agent.vkey}\nwitness dems {dems.vkey}\nquorum dems\n")
    for at in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        with pytest.raises(BadNote):
            open_cosigned(bytes(changed), policy)
