from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.note import COSIGNATURE, BadNote, Note, Signer, Verifier, decode64, encode64, parse_number, sign

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parent / "vectors"
LOG = "edge.example.org/dock-0042/log1"
WITNESS = "dems.example.org/witness1"
AT = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


def seed(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()


def keys(file: Path) -> list[Verifier]:
    return [Verifier.parse(line) for line in file.read_text().split()]


agent = Signer.ed25519(LOG, seed("test device key"))
witness = Signer.cosigner(WITNESS, seed("test dems witness key"))
TEXT = "first line\n\nthird line\n"
NOTE = sign(TEXT, agent)


def refused(raw: bytes, *verifiers: Verifier) -> str:
    with pytest.raises(BadNote) as caught:
        Note.parse(raw).verified_by(verifiers or [agent.verifier])
    return str(caught.value)


def test_the_example_of_the_standard(vectors: Path) -> None:
    verifier = Verifier.parse((vectors / "c2sp/signed-note.vkey").read_text().strip())
    assert (verifier.name, verifier.key_id.hex()) == ("example.com/foo", "530d903a")
    note = Note.parse((vectors / "c2sp/signed-note.note").read_bytes())
    assert note.text == "This is an example message.\n"
    assert [one.by for one in note.verified_by([verifier])] == [verifier]


def test_the_published_keys_are_written_as_they_are_read(vectors: Path) -> None:
    for line in (vectors / "small/vkeys").read_text().split():
        assert Verifier.parse(line).vkey == line
    assert [agent.vkey, witness.vkey] == (vectors / "small/vkeys").read_text().split()[:2]
    for name, key in zip(("log", "witness", "receipts"), keys(vectors / "small/vkeys"), strict=True):
        assert key.pem() == (vectors / f"small/{name}.pem").read_bytes()


def test_signing_gives_the_published_bytes(vectors: Path) -> None:
    # Ed25519 (RFC 8032) is deterministic: the very bytes that the other implementation wrote must come out.
    published = (vectors / "small/checkpoint").read_bytes()
    assert sign(Note.parse(published).text, agent, witness.at(AT)) == published
    published = (vectors / "log/checkpoint").read_bytes()
    assert sign(Note.parse(published).text, agent, witness.at(AT)) == published


def test_a_cosignature_says_when(vectors: Path) -> None:
    note = Note.parse((vectors / "small/checkpoint").read_bytes())
    log, cosigned = note.verified_by(keys(vectors / "small/vkeys"))
    assert (log.by.name, log.time, log.cosigned_at) == (LOG, None, None)
    assert (cosigned.by.name, cosigned.time, cosigned.cosigned_at) == (WITNESS, 1795332000, AT)


def test_two_lines_of_one_name_are_told_apart_by_their_key_ids(vectors: Path) -> None:
    both = keys(vectors / "log/rotation/vkeys")
    note = Note.parse((vectors / "log/rotation/checkpoint").read_bytes())
    assert [one.by for one in note.verified_by(both)] == both
    assert [one.by for one in note.verified_by(both[1:])] == both[1:]


def test_the_vectors_are_those_of_the_samples(samples: Path) -> None:
    ours = [file for name in ("small", "log") for file in (VECTORS / name).glob("**/*") if file.is_file()]
    assert len(ours) > 50
    for file in ours:
        assert file.read_bytes() == (samples / file.relative_to(VECTORS)).read_bytes()


def cases(kind: str) -> list[Any]:
    table = json.loads((VECTORS / "log/cases/cases.json").read_text())
    return [pytest.param(case, id=case["file"]) for case in table if case["kind"] == kind]


@pytest.mark.parametrize("case", cases("note"))
def test_cases(case: dict[str, Any], vectors: Path) -> None:
    raw = (vectors / "log/cases" / case["file"]).read_bytes()
    try:
        Note.parse(raw).verified_by(keys(vectors / "log/vkeys")[2:])
        accepted = True
    except BadNote:
        accepted = False
    assert accepted == case["accept"], case["why"]


def test_a_text_keeps_its_empty_lines() -> None:
    assert Note.parse(NOTE).text == TEXT
    assert Note.parse(sign("\n", agent)).text == "\n"
    assert Note.parse(sign("ends with empty lines\n\n\n", agent)).text == "ends with empty lines\n\n\n"


def test_text_of_every_script_is_signed() -> None:
    text = (
        "Zeuge\u0085\u2028 n\u00f6tig, \U0001f4f7\n"  # two characters that some take for newlines: the format does not
    )
    note = Note.parse(sign(text, agent))
    assert note.text == text
    assert len(note.verified_by([agent.verifier])) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: raw.replace(b"third", b"fourth"), "does not fit"),
        (lambda raw: raw[:-1], "newline"),
        (lambda raw: raw + b"\n", "no|needs"),
        (lambda raw: raw + b"text\n", "em dash"),
        (lambda raw: raw.replace("\u2014".encode(), b"-"), "em dash"),
        (lambda raw: raw.replace("\u2014 ".encode(), "\u2014  ".encode()), "name"),
        (lambda raw: raw.replace(b"dock-0042/log1 ", b"dock-0042/log1  "), "base64"),
        (lambda raw: raw.replace(b"dock-0042/log1", b"dock+0042/log1"), "name"),
        (lambda raw: raw.replace(b"dock-0042/log1", "dock\u00a00042/log1".encode()), "name"),
        (lambda raw: raw.replace(b"first", b"first\x00"), "control"),
        (lambda raw: raw.replace(b"first", b"first\r"), "control"),
        (lambda raw: raw.replace(b"first", b"first\xff"), "UTF-8"),
        (lambda raw: raw.replace(b"first", b"first\xed\xa0\x80"), "UTF-8"),
        (lambda raw: raw.replace(b"first", b"first\xc0\x8a"), "UTF-8"),
        (lambda raw: raw[:-2] + b"\n", "base64"),
        (lambda raw: raw[:-1] + b" \n", "base64"),
        (lambda raw: raw.rpartition(b" ")[0] + b" RgpzdA==\n", "no signature"),
        (lambda raw: raw.rpartition(b" ")[0] + b"\n", "no signature"),
        (lambda raw: raw.rpartition(b" ")[0] + b" RgpzdAA=\n", "does not fit"),
        (lambda raw: raw.replace(b"\n\n\xe2", b"\n\xe2"), "em dash"),
        (lambda raw: raw[raw.index("\u2014".encode()) :], "needs"),
        (lambda _: b"", "newline"),
        (lambda _: b"\n", "needs"),
        (lambda _: b"\n\n", "needs"),
        (lambda _: b"x" * 262_145, "too long"),
        (lambda raw: raw + raw[raw.index("\u2014".encode()) :] * 3000, "too long"),
    ],
)
def test_what_is_refused(change: Callable[[bytes], bytes], why: str) -> None:
    with pytest.raises(BadNote, match=why):
        Note.parse(change(NOTE)).verified_by([agent.verifier])


def test_every_changed_bit_is_found() -> None:
    for at in range(len(NOTE) * 8):
        changed = bytearray(NOTE)
        changed[at // 8] ^= 1 << at % 8
        refused(bytes(changed))


def test_every_cut_is_found() -> None:
    for length in range(len(NOTE)):
        refused(NOTE[:length])


def test_a_line_of_an_unknown_key_is_ignored_and_proves_nothing() -> None:
    other = Signer.ed25519(LOG, seed("another key of the same name"))
    note = sign(TEXT, other, agent)
    assert [one.by for one in Note.parse(note).verified_by([agent.verifier])] == [agent.verifier]
    assert "no known key" in refused(sign(TEXT, other))
    assert "no known key" in refused(NOTE, witness.verifier)


def test_a_line_of_a_kind_to_come_is_ignored() -> None:
    line = f"\u2014 {WITNESS} {encode64(bytes(4 + 8 + 2420))}\n"  # as long as an ML-DSA-44 cosignature, kind 0x06
    note = Note.parse(NOTE + line.encode())
    assert len(note.verified_by([agent.verifier, witness.verifier])) == 1


def test_one_wrong_line_of_a_known_key_spoils_the_note() -> None:
    wrong = agent.line("another text\n").encode()
    assert "does not fit" in refused(NOTE + wrong)


def test_a_line_that_stands_twice_counts_once() -> None:
    assert len(Note.parse(NOTE + agent.line(TEXT).encode()).verified_by([agent.verifier, agent.verifier])) == 1


def test_the_name_and_the_kind_are_part_of_the_key_id() -> None:
    renamed = Signer.ed25519("edge.example.org/dock-0043/log1", seed("test device key"))
    assert renamed.verifier.key_id != agent.verifier.key_id
    assert "no known key" in refused(NOTE, renamed.verifier)
    cosigner = Signer.cosigner(LOG, seed("test device key"))
    assert "no known key" in refused(NOTE, cosigner.verifier)


def test_two_keys_that_share_a_key_id_are_refused() -> None:
    class Colliding(Verifier):
        key_id = agent.verifier.key_id

    other = Colliding(LOG, 1, Signer.ed25519("x", seed("x")).verifier.public)
    assert "share one key id" in refused(NOTE, agent.verifier, other)


def test_a_cosignature_over_another_time_is_found() -> None:
    name, key_id, value = Note.parse(sign(TEXT, witness.at(AT))).lines[0]
    later = (int.from_bytes(value[:8]) + 1).to_bytes(8)
    line = f"\u2014 {name} {encode64(key_id + later + value[8:])}\n"
    assert "does not fit" in refused(f"{TEXT}\n{line}".encode(), witness.verifier)


@pytest.mark.parametrize("value", [b"", bytes(7), bytes(8), b"\xff" * 72])
def test_a_cosignature_of_another_form_is_refused(value: bytes) -> None:
    line = f"\u2014 {WITNESS} {encode64(witness.verifier.key_id + value)}\n"
    refused(f"{TEXT}\n{line}".encode(), witness.verifier)


@pytest.mark.parametrize("time", [253_402_300_800, 2**63, 2**64 - 1])
def test_a_cosignature_of_a_time_that_no_calendar_has_is_refused(time: int) -> None:
    value = time.to_bytes(8) + Signer.ed25519(WITNESS, seed("test dems witness key"))._key.sign(
        f"cosignature/v1\ntime {time}\n{TEXT}".encode()
    )  # type: ignore[call-arg]
    line = f"\u2014 {WITNESS} {encode64(witness.verifier.key_id + value)}\n"
    assert "impossible time" in refused(f"{TEXT}\n{line}".encode(), witness.verifier)


def test_the_longest_note() -> None:
    longest = sign("x" * (262_144 - len(NOTE) + len(TEXT) - 1) + "\n", agent)
    assert len(longest) == 262_144
    assert len(Note.parse(longest).verified_by([agent.verifier])) == 1


def test_a_cosigner_needs_a_time() -> None:
    with pytest.raises(ValueError, match="needs its time"):
        sign(TEXT, witness)
    with pytest.raises(ValueError, match="needs its time"):
        sign(TEXT, witness.at(datetime.fromtimestamp(0, UTC)))
    with pytest.raises(TypeError, match="naive"):
        witness.at(AT.replace(tzinfo=None))


def test_what_no_reader_would_take_is_not_signed() -> None:
    for text in ("no newline", "tab\t\n", "", "crlf\r\n"):
        with pytest.raises(BadNote):
            sign(text, agent)
    with pytest.raises(ValueError, match="needs a signer"):
        sign(TEXT)
    for name in ("", "two words", "a+b", "a\u2003b", "a\x01b"):
        with pytest.raises(BadNote, match="name"):
            Signer.ed25519(name, bytes(32))


def test_p256() -> None:
    signer = Signer.p256(LOG, ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1()))
    der = signer.verifier.public
    assert signer.vkey == f"{LOG}+{hashlib.sha256(der).hexdigest()[:8]}+{encode64(bytes([2]) + der)}"
    assert Verifier.parse(signer.vkey) == signer.verifier
    note = sign(TEXT, signer)
    assert [one.by for one in Note.parse(note).verified_by([signer.verifier])] == [signer.verifier]
    assert "does not fit" in refused(note.replace(b"third", b"fourth"), signer.verifier)
    line = f"\u2014 {LOG} {encode64(signer.verifier.key_id + b'no DER')}\n"
    assert "does not fit" in refused(f"{TEXT}\n{line}".encode(), signer.verifier)


@pytest.mark.parametrize(
    ("vkey", "why"),
    [
        ("", "name, a key id"),
        ("name", "name, a key id"),
        ("name+00000000", "name, a key id"),
        (agent.vkey.replace("460a7374", "460a7375"), "not that of its key"),
        (agent.vkey.replace("460a7374", "460A7374"), "not that of its key"),
        (agent.vkey.replace("460a7374", "60a7374"), "not that of its key"),
        (agent.vkey.replace("dock-0042", "dock-0043"), "not that of its key"),
        (agent.vkey.replace("edge.", "edge "), "name"),
        (agent.vkey + "\n", "base64"),
        (agent.vkey[:-1] + "g", "second spelling|not that"),
        (agent.vkey[:-4], "cannot be read"),
        ("n+00000000+" + encode64(b"\x06" + bytes(1312)), "kind that is not supported, 0x06"),
        ("n+00000000+" + encode64(b"\x02" + bytes(91)), "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_used(vkey: str, why: str) -> None:
    with pytest.raises(BadNote, match=why):
        Verifier.parse(vkey)


def test_a_key_of_another_curve_is_refused() -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256K1())):
        der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        with pytest.raises(BadNote, match="not supported, 0x02"):
            Verifier("n", 2, der)
    ed25519 = serialization.load_pem_public_key(agent.verifier.pem())
    der = ed25519.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(BadNote, match="not supported, 0x02"):
        Verifier("n", 2, der)


def test_a_signer_does_not_show_its_key() -> None:
    assert "Private" not in repr(agent)


@pytest.mark.parametrize("text", ["0", "1", "10", "9223372036854775807"])
def test_numbers(text: str) -> None:
    assert str(parse_number(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "00", "01", "-1", "+1", " 1", "1 ", "1_0", "\u0661", "\u00b2", "1.0", "0x1", "9223372036854775808", "9" * 99],
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(BadNote, match="number"):
        parse_number(text)


@given(st.binary(max_size=70))
def test_base64_has_one_spelling(raw: bytes) -> None:
    text = encode64(raw)
    assert decode64(text) == raw
    for other in (text + "\n", text + "=", " " + text, text.rstrip("=") if "=" in text else text + "A"):
        with pytest.raises(BadNote):
            decode64(other)


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters()))
def test_any_text_survives(text: str) -> None:
    whole = text + "\n"
    try:
        raw = sign(whole, agent, witness.at(AT))
    except ValueError:
        assert any(char < " " and char != "\n" for char in text) or any("\ud800" <= char <= "\udfff" for char in text)
        return
    note = Note.parse(raw)
    assert note.text == whole
    assert len(note.verified_by([agent.verifier, witness.verifier])) == 2


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_note_or_our_error(raw: bytes) -> None:
    for candidate in (raw, NOTE[: len(NOTE) // 2] + raw, TEXT.encode() + b"\n" + "\u2014 ".encode() + raw):
        try:
            Note.parse(candidate)
        except BadNote:
            continue


@pytest.mark.interop
def test_openssl_verifies_each_kind(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    p256 = Signer.p256(LOG, ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1()))
    note = Note.parse(sign(TEXT, agent, witness.at(AT), p256))
    for signature, (_, _, value) in zip(
        note.verified_by([agent.verifier, witness.verifier, p256.verifier]), note.lines, strict=True
    ):
        time = f"cosignature/v1\ntime {signature.time}\n" if signature.by.kind == COSIGNATURE else ""
        (tmp_path / "message").write_text(time + TEXT)
        (tmp_path / "signature").write_bytes(value[8 if time else 0 :])
        (tmp_path / "key.pem").write_bytes(signature.by.pem())
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "message"]
        command += ["-sigfile", "signature"] + (["-digest", "sha256"] if signature.by.kind == 2 else [])
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "Signature Verified Successfully"), done.stderr
