from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.custody.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from agent.custody.witness import NOTHING_SEEN, SIZE_TYPE, Answer, Head, Request, add_cosignatures, judge, read_size
from agent.merkle import Frontier, TileReader, consistency_proof, leaf_hash
from agent.note import BadNote, Signer, encode64, sign

VECTORS = Path(__file__).parent / "vectors"
ORIGIN = "edge.example.org/dock-0042/log1"
AT = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


def seed(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()


agent = Signer.ed25519(ORIGIN, seed("test device key"))
dems = Signer.cosigner("dems.example.org/witness1", seed("test dems witness key"))
REQUEST = (VECTORS / "log/add-checkpoint.req").read_bytes()
FORKED = (VECTORS / "log/fork/add-checkpoint.req").read_bytes()


def head(file: str) -> Head:
    checkpoint = open_checkpoint((VECTORS / file).read_bytes(), [agent.verifier]).checkpoint
    return Head(checkpoint.size, checkpoint.root)


AT_100 = head("log/checkpoint.100")
AT_300 = head("log/checkpoint")
FORK_300 = head("log/fork/checkpoint")


def ask(body: bytes, last: Head | None = AT_100) -> Answer:
    return judge(body, {ORIGIN: [agent.verifier]}, {} if last is None else {ORIGIN: last}, dems, AT)


def test_the_published_request_gets_the_published_answer(vectors: Path) -> None:
    answer = ask(REQUEST)
    assert answer.status == 200
    assert answer.body == (vectors / "log/add-checkpoint.resp").read_bytes()
    assert (answer.origin, answer.head) == (ORIGIN, AT_300)
    signed = Request.parse(REQUEST).checkpoint
    assert add_cosignatures(signed, answer.body, [dems.verifier]) == (vectors / "log/checkpoint").read_bytes()


@pytest.mark.parametrize("file", ["small/add-checkpoint.req", "log/add-checkpoint.req", "log/fork/add-checkpoint.req"])
def test_a_request_is_written_as_it_is_read(file: str, vectors: Path) -> None:
    raw = (vectors / file).read_bytes()
    request = Request.parse(raw)
    assert (request.old, len(request.hashes)) == (100, 8)
    assert request.write() == raw


def test_the_shortest_set(samples: Path, vectors: Path) -> None:
    root = Head(100, Request.parse(b"old 0\n" + (vectors / "small/root-100").read_bytes() + b"\n\n").hashes[0])
    assert ask((samples / "short/add-checkpoint.req").read_bytes(), root).status == 200


def test_the_fork_is_cosigned_only_by_a_witness_that_has_not_seen_the_truth() -> None:
    assert ask(FORKED).status == 200  # up to 100 both histories are one
    conflict = ask(FORKED, AT_300)
    assert (conflict.status, conflict.body, conflict.content_type) == (409, b"300\n", SIZE_TYPE)
    assert read_size(conflict.body) == 300
    pressed = replace(Request.parse(FORKED), old=300, hashes=()).write()
    assert ask(pressed, AT_300).status == 422
    assert ask(pressed, FORK_300).status == 200


def test_an_unknown_log() -> None:
    assert judge(REQUEST, {}, {}, dems, AT) == Answer(404)
    assert judge(REQUEST, {ORIGIN: [dems.verifier]}, {}, dems, AT) == Answer(404)  # a witness key signs for no log


def test_a_signature_that_is_not_the_logs() -> None:
    request = Request.parse(REQUEST)
    text = request.checkpoint.decode().rpartition("\n\n")[0] + "\n"
    stranger = Signer.ed25519(ORIGIN, seed("a stranger"))
    changed = request.checkpoint.replace(b"\n300\n", b"\n301\n")
    for note in (sign(text, stranger), changed, request.checkpoint + agent.line("other\n").encode()):
        assert ask(replace(request, checkpoint=note).write()) == Answer(403)


def test_the_sizes_are_asked_for_in_the_order_of_the_standard() -> None:
    request = Request.parse(REQUEST)
    assert ask(replace(request, old=301).write()) == Answer(400)
    assert ask(replace(request, old=99).write()).body == b"100\n"
    assert ask(REQUEST, None).body == b"0\n"
    assert ask(replace(request, old=300).write()).status == 409


def test_a_proof_that_does_not_lead_there() -> None:
    request = Request.parse(REQUEST)
    for hashes in ((), request.hashes[:-1], request.hashes[::-1], (*request.hashes, bytes(32))):
        assert ask(replace(request, hashes=hashes).write()) == Answer(422)
    assert ask(REQUEST, Head(100, bytes(32))) == Answer(422)


def test_the_first_checkpoint_needs_no_proof_and_may_have_none() -> None:
    request = replace(Request.parse(REQUEST), old=0)
    assert ask(replace(request, hashes=()).write(), None).head == AT_300
    assert ask(request.write(), None) == Answer(422)


def test_an_empty_tree_has_one_root() -> None:
    for root, status in ((NOTHING_SEEN.root, 200), (bytes(32), 422)):
        note = sign_checkpoint(Checkpoint(ORIGIN, 0, root), agent)
        assert ask(Request(0, (), note).write(), None).status == status


def test_the_same_checkpoint_again_is_cosigned_again_with_the_later_time() -> None:
    again = replace(Request.parse(REQUEST), old=300, hashes=()).write()
    answer = judge(again, {ORIGIN: [agent.verifier]}, {ORIGIN: AT_300}, dems, AT + timedelta(hours=1))
    assert (answer.status, answer.head) == (200, AT_300)
    have = (VECTORS / "log/checkpoint").read_bytes()
    assert add_cosignatures(have, answer.body, [dems.verifier]) == have  # the earlier time is the closer bound


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n\n",
        b"old 100\n\n",
        REQUEST.replace(b"old 100", b"old 0100"),
        REQUEST.replace(b"old 100", b"old -1"),
        REQUEST.replace(b"old 100", b"old"),
        REQUEST.replace(b"old 100", b"100"),
        b"old 100",
        REQUEST.replace(b"old 100", b"new 100"),
        REQUEST.replace(b"\n", b"\r\n"),
        REQUEST.replace(b"old 100\n", b"old 100\nAAAA\n"),
        REQUEST.replace(b"old 100\n", b"old 100\n" + b"A" * 43 + b"=\n" * 60),
        REQUEST.replace(b"old 100\n", b"old 100\n" + (b"A" * 43 + b"=\n") * 56),
        REQUEST.replace(b"old 100\n", "old 100\n\u00e9\n".encode()),
        REQUEST.replace(b"\n300\n", b"\n0300\n"),
        REQUEST.replace(b"\n300\n", b"\n"),
        REQUEST[:-1],
        REQUEST.rpartition("\u2014".encode())[0],
    ],
)
def test_what_is_no_request(raw: bytes) -> None:
    assert ask(raw) == Answer(400)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, len(REQUEST) * 8 - 1))
def test_a_changed_bit_is_never_cosigned(at: int) -> None:
    changed = bytearray(REQUEST)
    changed[at // 8] ^= 1 << at % 8
    assert ask(bytes(changed)).status != 200


def test_cosignatures_of_others_are_left_out() -> None:
    signed = Request.parse(REQUEST).checkpoint
    text = signed.decode().rpartition("\n\n")[0] + "\n"
    stranger = Signer.cosigner("witness.example/w1", seed("a stranger"))
    lines = [one.at(AT).line(text).encode() for one in (stranger, dems)]
    assert add_cosignatures(signed, b"".join(lines), [dems.verifier]) == signed + lines[1]
    assert add_cosignatures(signed, b"".join(lines), [dems.verifier, stranger.verifier]) == signed + lines[0] + lines[1]
    assert add_cosignatures(signed, lines[1] * 2, [dems.verifier]) == signed + lines[1]
    for answer in (
        b"",
        lines[0],
        dems.at(AT).line("another text\n").encode(),
        b"text\n\n" + lines[1],
        b"more\n\n" + dems.at(AT).line(f"{text}\nmore\n").encode(),
        lines[1] + b"\n" + lines[1],
        agent.line(text).encode(),  # the log's own signature is no witness's
        lines[1][:-1],
    ):
        with pytest.raises(BadNote):
            add_cosignatures(signed, answer, [dems.verifier, agent.verifier])


def test_a_cosignature_without_a_time_is_not_taken() -> None:
    signed = Request.parse(REQUEST).checkpoint
    text = signed.decode().rpartition("\n\n")[0] + "\n"
    timeless = dems._key.sign(f"cosignature/v1\ntime 0\n{text}".encode())  # type: ignore[call-arg]
    value = dems.verifier.key_id + bytes(8) + timeless
    line = f"\u2014 {dems.verifier.name} {encode64(value)}\n".encode()
    with pytest.raises(BadNote, match="must state its time"):
        add_cosignatures(signed, line, [dems.verifier])


@pytest.mark.parametrize("raw", [b"", b"\n", b"300", b"300\n\n", b"0300\n", b"-1\n", b" 300\n", b"\xd9\xa3\n"])
def test_what_is_no_size(raw: bytes) -> None:
    with pytest.raises(BadNote):
        read_size(raw)


# --- stations whose disk was put back, or copied ----------------------------------------------------------------------


class Station:
    """A station's log, with all that a disk image of it would bring back."""

    def __init__(self, leaves: list[bytes], cosigned: int) -> None:
        self.leaves, self.cosigned = leaves, cosigned

    def image(self) -> Station:
        return Station([*self.leaves], self.cosigned)

    def grow(self, chance: random.Random, most: int) -> None:
        self.leaves += [leaf_hash(chance.randbytes(40)) for _ in range(chance.randint(1, most))]

    def tile(self, level: int, index: int, width: int) -> bytes:
        first = index * 256
        if level == 0:
            return b"".join(self.leaves[first : first + width])
        roots = []
        for at in range(first, first + width):
            frontier = Frontier()
            frontier.extend(self.leaves[at * 256**level : (at + 1) * 256**level])
            roots.append(frontier.root())
        return b"".join(roots)

    def request(self, old: int) -> bytes:
        size = len(self.leaves)
        hashes = TileReader(self.tile, size)
        proof = consistency_proof(old, size, hashes) if old <= size else []
        note = sign_checkpoint(Checkpoint(ORIGIN, size, Frontier.at(size, hashes).root()), agent)
        return Request(old, tuple(proof), note).write()


class Dems:
    """A witness with a memory."""

    def __init__(self) -> None:
        self.seen: dict[str, Head] = {}

    def add(self, station: Station, old: int) -> Answer:
        answer = judge(station.request(old), {ORIGIN: [agent.verifier]}, self.seen, dems, AT)
        if answer.origin and answer.head:
            self.seen[answer.origin] = answer.head
            station.cosigned = answer.head.size
        return answer


@pytest.mark.parametrize("trial", range(100))
def test_a_station_that_was_rolled_back_or_cloned_is_found(trial: int) -> None:
    chance = random.Random(trial)
    witness, station = Dems(), Station([], 0)
    station.grow(chance, 300)
    assert witness.add(station, 0).status == 200
    image = station.image()
    for _ in range(chance.randint(1, 3)):
        station.grow(chance, 40)
        assert witness.add(station, station.cosigned).status == 200
    held = witness.seen[ORIGIN]

    image.grow(chance, 80)  # the image runs, and writes another history
    answer = witness.add(image, image.cosigned)
    assert (answer.status, read_size(answer.body)) == (409, held.size)
    if len(image.leaves) < held.size:  # what the agent must stop at: the witness has more than we
        image.grow(chance, 1)
        image.leaves += [leaf_hash(chance.randbytes(40)) for _ in range(held.size - len(image.leaves))]
    assert witness.add(image, held.size).status == 422
    assert witness.seen[ORIGIN] == held

    station.grow(chance, 10)  # the true station is not disturbed
    assert witness.add(station, station.cosigned).status == 200


def test_an_answer_that_was_lost_is_no_rollback() -> None:
    chance = random.Random(1)
    witness, station = Dems(), Station([], 0)
    station.grow(chance, 50)
    witness.add(station, 0)
    station.cosigned = 0  # the power failed between the witness's disk and ours
    size = len(station.leaves)
    station.grow(chance, 50)
    answer = witness.add(station, station.cosigned)
    assert (answer.status, read_size(answer.body)) == (409, size)
    assert witness.add(station, size).status == 200


def test_weeks_without_a_witness_are_closed_by_one_proof() -> None:
    chance = random.Random(2)
    witness, station = Dems(), Station([], 0)
    station.grow(chance, 5)
    witness.add(station, 0)
    station.leaves += [leaf_hash(chance.randbytes(40)) for _ in range(20_000)]
    body = station.request(station.cosigned)
    assert len(Request.parse(body).hashes) <= 16
    assert witness.add(station, station.cosigned).status == 200
