from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.custody.policy import BadPolicy, Group, Log, Policy, Witness, open_policy, parse
from agent.note import BadNote, Signature, Signer, Verifier, encode64, sign

VECTORS = Path(__file__).parent / "vectors"


def seed(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()


root = Signer.ed25519("agency.example.org/root", seed("test agency root key"))
agent = Signer.ed25519("edge.example.org/dock-0042/log1", seed("test device key"))
X1, X2, X3, Y1, Y2, Y3 = (
    Signer.cosigner(f"{n}.example", seed(n)).verifier for n in ("x1", "x2", "x3", "y1", "y2", "y3")
)

# The example of c2sp.org/tlog-policy, with keys.
EXAMPLE = f"""log {agent.vkey}

witness X1 {X1.vkey}
witness X2 {X2.vkey}
witness X3 {X3.vkey}
group X-witnesses 2 X1 X2 X3

witness Y1 {Y1.vkey}
witness Y2 {Y2.vkey}
witness Y3 {Y3.vkey}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""


def satisfied(policy: Policy, *signed: Verifier) -> bool:
    return policy.satisfied(Signature(one, 1) for one in signed)


def test_the_published_policy(vectors: Path) -> None:
    raw = (vectors / "log/policy.note").read_bytes()
    assert (vectors / "log/policy.vkey").read_text().strip() == root.vkey
    policy = open_policy(raw, [root.verifier])
    dems = Verifier.parse((vectors / "log/vkeys").read_text().split()[1])
    board = Signer.cosigner("oversight.example.org/witness1", seed("test oversight witness key")).verifier
    assert policy == Policy(
        logs=(Log(agent.verifier),),
        witnesses=(Witness("dems", dems), Witness("board", board)),
        groups=(Group("outside", 1, ("dems", "board")),),
        quorum="outside",
    )
    assert policy.log_keys("edge.example.org/dock-0042/log1") == [agent.verifier]
    assert policy.log_keys("edge.example.org/dock-0042/log2") == []
    assert sign(raw.decode().rpartition("\n\n")[0] + "\n", root) == raw


def test_only_the_root_key_signs_a_policy() -> None:
    other = Signer.ed25519(root.verifier.name, seed("someone else"))
    witness = Signer.cosigner(root.verifier.name, seed("test agency root key"))
    with pytest.raises(BadNote, match="no known key"):
        open_policy(sign(EXAMPLE, other), [root.verifier])
    with pytest.raises(BadNote, match="no known key"):
        open_policy(sign(EXAMPLE, witness.at(datetime.now(UTC))), [witness.verifier])
    with pytest.raises(BadNote, match="does not fit"):
        open_policy(sign(EXAMPLE, root).replace(b"group X-witnesses 2", b"group X-witnesses 1"), [root.verifier])


def test_the_example_of_the_standard() -> None:
    policy = parse(EXAMPLE)
    assert policy.quorum == "X-and-Y"
    xs, ys = (X1, X2, X3), (Y1, Y2, Y3)
    for n in range(7):
        for signed in combinations(xs + ys, n):
            enough = len({*xs} & {*signed}) >= 2 and len({*ys} & {*signed}) >= 1
            assert satisfied(policy, *signed) == enough


def test_a_quorum_of_one_witness_and_of_nobody() -> None:
    one = parse(f"witness X1 {X1.vkey}\nwitness X2 {X2.vkey}\nquorum X1\n")
    assert satisfied(one, X1)
    assert not satisfied(one, X2)
    assert not satisfied(one)
    nobody = parse("quorum none\n")
    assert satisfied(nobody)
    assert nobody.cosigned_at([Signature(X1, 1)]) is None


def test_a_witness_that_signs_twice_counts_once() -> None:
    policy = parse(f"witness X1 {X1.vkey}\nwitness X2 {X2.vkey}\ngroup both 2 X1 X2\nquorum both\n")
    assert not policy.satisfied([Signature(X1, 1), Signature(X1, 2)])
    assert policy.cosigned_at([Signature(X1, 1), Signature(X1, 2)]) is None


def test_a_key_of_the_same_name_is_not_the_witness() -> None:
    policy = parse(f"witness X1 {X1.vkey}\nquorum X1\n")
    assert not satisfied(policy, Signer.cosigner(X1.name, seed("impostor")).verifier)


def test_white_space_comments_and_urls() -> None:
    text = (
        f"\t log\t{agent.vkey}   https://edge.example.org/log1 \n"
        "   # a comment of any words: log witness quorum, \u00e9\u00a0\u2028\n"
        " \t\n"
        f"quorum none\nwitness \u212a\u00a0x {X1.vkey} https://dems.example.org/w\n"
    )
    policy = parse(text)
    assert policy.logs == (Log(agent.verifier, "https://edge.example.org/log1"),)
    assert policy.witnesses == (Witness("\u212a\u00a0x", X1, "https://dems.example.org/w"),)  # only tab and space part


LINES = f"log {agent.vkey}\nwitness X1 {X1.vkey}\nwitness X2 {X2.vkey}\ngroup G any X1\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "newline"),
        ("quorum none", "newline"),
        ("\n", "no quorum"),
        (LINES, "no quorum"),
        ("quorum none\nquorum none\n", "line 2: there is a second quorum"),
        ("quorum\n", "line 1: a quorum line does not have 1 words"),
        ("quorum none none\n", "does not have 3 words"),
        ("Quorum none\n", "'Quorum' is not a word"),
        ("receipts x\nquorum none\n", "line 1: 'receipts' is not a word"),
        ("quorum X1\n" + LINES, "line 1: 'X1' is not defined on an earlier line"),
        (LINES + "quorum Y\n", "line 5: 'Y' is not defined"),
        (LINES + f"witness X1 {X3.vkey}\n", "line 5: the name 'X1' is taken"),
        (LINES + f"witness G {X3.vkey}\n", "the name 'G' is taken"),
        (LINES + f"witness none {X3.vkey}\n", "the name 'none' is taken"),
        (LINES + "group none any X2\n", "the name 'none' is taken"),
        (LINES + "group G any X2\n", "the name 'G' is taken"),
        (LINES + "group H any H\n", "'H' is not defined"),
        (LINES + "group H any none\n", "'none' is not defined"),
        (LINES + "group H any X1\n", "'X1' is a member already"),
        (LINES + "group H any X2 X2\n", "'X2' is a member already"),
        (LINES + "group H 0 X2\n", "0 of 1"),
        (LINES + "group H 2 X2\n", "2 of 1"),
        (LINES + "group H 01 X2\n", "number"),
        (LINES + "group H +1 X2\n", "number"),
        (LINES + "group H most X2\n", "number"),
        (LINES + "group H any\n", "does not have 3 words"),
        (LINES + f"log {agent.vkey}\n", "stands there already"),
        (LINES + f"witness X9 {X1.vkey}\n", "stands there already"),
        (LINES + f"witness X9 {Signer.cosigner('renamed.example', seed('x1')).vkey}\n", "stands there already"),
        (LINES + f"log {Signer.ed25519('x1.example', seed('x1')).vkey}\n", "stands there already"),
        (LINES + f"log {X3.vkey}\n", "not of a kind for a log"),
        (LINES + f"witness X9 {root.vkey}\n", "not of a kind for a witness"),
        (LINES + f"witness X9 {X3.vkey[:-1]}\n", "line 5"),
        (LINES + f"witness X9 w+00000000+{encode64(bytes([6]) + bytes(1312))}\n", "not supported, 0x06"),
        (LINES + f"witness X9 {X3.vkey} https://a b\n", "does not have 5 words"),
        ("\n" * 5000 + "quorum none\n", "at most"),
    ],
)
def test_one_wrong_line_spoils_the_policy(text: str, why: str) -> None:
    with pytest.raises(BadPolicy, match=why.replace("+", r"\+")):
        parse(text)


def test_many_groups_in_a_chain_are_judged() -> None:
    witnesses = [Signer.cosigner(f"w{n}.example", seed(f"w{n}")).verifier for n in range(2)]
    lines = [f"witness w{n} {one.vkey}\n" for n, one in enumerate(witnesses)]
    lines += ["group g0 all w0 w1\n", *(f"group g{n} any g{n - 1}\n" for n in range(1, 3000)), "quorum g2999\n"]
    policy = parse("".join(lines))
    assert satisfied(policy, *witnesses)
    assert not satisfied(policy, witnesses[0])


words = st.sampled_from(
    ["log", "witness", "group", "quorum", "none", "any", "all", "1", "a", "b", "#", X1.vkey, agent.vkey]
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.lists(words | st.text(max_size=4), max_size=5), max_size=6))
def test_any_text_is_a_policy_or_our_error(lines: list[list[str]]) -> None:
    try:
        policy = parse("".join(" ".join(line) + "\n" for line in lines))
    except BadPolicy:
        return
    assert policy.quorum


MARKED = f"{EXAMPLE}compromised {agent.vkey} 2026-11-22T07:20:00Z"
NEXT = Signer.ed25519(agent.verifier.name, bytes(32))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"compromised {X1.vkey} 2026-11-22T07:20:00Z", "no log of an earlier line"),
        (f"compromised {NEXT.vkey} 2026-11-22T07:20:00Z", "no log of an earlier line"),
        (f"compromised {agent.vkey} 2026-11-22", "not a time"),
        (f"compromised {agent.vkey} 2026-02-30T00:00:00Z", "not a time"),
        (f"compromised {agent.vkey} 2026-11-22T07:20:00Z -1", "a number"),
        (f"compromised {agent.vkey}", "does not have 2 words"),
        (f"compromised {agent.vkey} 2026-11-22T07:20:00Z\n{MARKED.rpartition(chr(10))[2]}", "marked already"),
    ],
)
def test_a_mark_that_nobody_understands_spoils_the_policy(line: str, why: str) -> None:
    with pytest.raises(BadPolicy, match=why):
        parse(f"{EXAMPLE}{line}\n")


def test_a_marked_key_counts_for_what_the_quorum_saw_before() -> None:
    seen = int(datetime(2026, 11, 22, 7, 20, tzinfo=UTC).timestamp())
    signed = [Signature(agent.verifier), *(Signature(one, seen) for one in (X1, X2, Y1))]
    parse(f"{MARKED}\n").check_marks(10**6, signed)
    parse(f"{MARKED} 300\n").check_marks(300, signed)
    later = [Signature(agent.verifier), *(Signature(one, seen + 1) for one in (X1, X2, Y1))]
    for text, size, found in ((MARKED, 1, later), (f"{MARKED} 300", 301, signed), (MARKED, 1, signed[:2])):
        with pytest.raises(BadNote, match="marked as compromised since 2026-11-22T07:20:00Z"):
            parse(f"{text}\n").check_marks(size, found)
    parse(f"{MARKED}\n").check_marks(1, [Signature(NEXT.verifier), *later])  # a key that is not marked signed as well
