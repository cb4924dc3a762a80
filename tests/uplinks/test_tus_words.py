"""Headers are read in one spelling, and whatever a stranger writes into them, they raise nothing."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from agent.capture import PART_LENGTH
from agent.errors import UplinkDown
from agent.uplink.http.answer import Answer, note_in, number, repr_digest, retry_after
from agent.uplink.http.checkup import _described
from agent.uplink.http.claims import metadata, named_in
from agent.uplink.http.expiry import renew_at
from agent.uplink.http.options import FLOOR
from agent.uplink.http.parts import PartLength
from agent.uplink.http.proofs import Proof, journaled
from agent.uplink.tus import TusUplink
from agent.uplink.tus.trouble import explained
from agent.uplink.tus.wire import Abilities, stated
from tests.uplinks.memory import MIB, holding_of, some_bytes

HERE = URL("https://dems.example.org/files")
DIGEST = hashlib.sha256(b"abc").digest()
DIGEST64 = base64.b64encode(DIGEST).decode()


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    return Answer("HEAD", HERE, status, CIMultiDict((k.replace("_", "-"), v) for k, v in headers.items()), body)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("17", 17),
        ("9007199254740991", 2**53 - 1),
        *((text, None) for text in ("9007199254740992", "9" * 5000, "-1", "+1", "1.0", "", " 1", "1, 1", "٣", "0x1")),
    ],
)
def test_numbers(text: str, value: int | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (f"sha-256=:{DIGEST64}:", DIGEST),
        (f"sha-512=:AAAA:, sha-256=:{DIGEST64}:", DIGEST),
        (f"sha-256=:{DIGEST64}:;note=1, unixsum=:AAAA:", DIGEST),
        (f"sha-256={DIGEST64}", None),
        (f"sha-256=:{DIGEST64[:-4]}:", None),
        (f"xsha-256=:{DIGEST64}:", None),
        ("sha-256=:=:", None),
        ("", None),
    ],
)
def test_repr_digest(text: str, value: bytes | None) -> None:
    assert repr_digest(answer(Repr_Digest=text)) == value


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 22 Nov 2026 07:00:00 GMT", 900),  # whatever our own clock says: only the two dates are compared
        ("Sun, 22 Nov 2026 07:30:00 GMT", 0),
        ("Sun, 22 Nov 2020 07:00:00 GMT", 3600),
    ],
)
def test_a_date_until_which_to_wait_is_read_by_the_clock_that_wrote_it(date: str, seconds: float) -> None:
    assert retry_after(answer(503, Retry_After="Sun, 22 Nov 2026 07:15:00 GMT", Date=date)) == seconds


@pytest.mark.parametrize(
    "date",
    ["Mon, 23 Nov 99999999999999999999 07:48:12 GMT", "Mon, 23 Nov 2026 07:48:12 +99999999999999", "Mon, 23 Nov"],
)
def test_a_date_that_no_calendar_has_is_none(date: str) -> None:
    assert retry_after(answer(503, Retry_After=date)) is None
    assert retry_after(answer(503, Retry_After="Sun, 22 Nov 2120 07:15:00 GMT", Date=date)) == 3600
    assert renew_at(answer(201, Upload_Expires=date)) is None


def test_metadata_leaves_nothing_empty() -> None:
    holding = holding_of(b"abc")
    for pair in metadata(holding).split(","):
        key, _, value = pair.partition(" ")
        assert key.isascii()
        assert base64.b64decode(value, validate=True)
        assert named_in(answer(Upload_Metadata=metadata(holding)), key) == base64.b64decode(value).decode()
    assert stated(Proof(holding.digest.sha256)) == f"sha256 {DIGEST64}"
    assert stated(Proof(holding.digest.sha256, through=True)) == f"sha256-through {DIGEST64}"


def test_abilities() -> None:
    told = Abilities.told_by(
        answer(
            Tus_Version="1.0.0, 0.2.2",
            Tus_Extension="creation, creation-with-upload,checksum",
            Tus_Checksum_Algorithm="sha1, sha256",
            Tus_Max_Size="1000",
            Evidock_Receipt="signed",
        )
    )
    assert (told.versions, told.longest, told.checks_parts, told.takes_whole) == (("1.0.0", "0.2.2"), 1000, True, True)
    nothing = Abilities.told_by(answer())
    assert (nothing.versions, nothing.longest, nothing.checks_parts, nothing.takes_whole) == ((), None, False, False)
    other = Abilities.told_by(answer(Tus_Extension="checksum", Tus_Checksum_Algorithm="sha1,md5"))
    assert not other.checks_parts


@given(st.text(), st.integers(100, 599), st.binary(max_size=300))
def test_whatever_a_stranger_says_raises_nothing(text: str, status: int, body: bytes) -> None:
    headers = dict.fromkeys(
        ("Upload_Offset", "Repr_Digest", "Evidock_Receipt", "Retry_After", "Upload_Metadata", "Tus_Version"), text
    )
    said = answer(status, body, Content_Type=text, Location=text, Server=text, Tus_Resumable=text, **headers)
    assert isinstance(said.offset, int | None)
    assert repr_digest(said) is None or len(repr_digest(said) or b"") == 32
    note_in(said)
    named_in(said, "capture")
    waited = retry_after(said)
    assert waited is None or 0 <= waited <= 3600
    Abilities.told_by(said)
    sentence = explained(said)
    assert str(sentence).isprintable()
    assert len(str(sentence)) < 400


@given(st.text())
def test_a_location_leads_to_a_permitted_origin_or_nowhere(text: str) -> None:
    door = TusUplink(TusUplink.Options(use="tus", name="dems", url=str(HERE))).door
    with suppress(UplinkDown):
        url = door.resolved(text, HERE)
        assert url.origin() == HERE.origin()
        assert str(url).isascii()


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/files/a", "https://dems.example.org/files/a"),
        ("a", "https://dems.example.org/a"),
        ("files/a", "https://dems.example.org/files/a"),
        ("//dems.example.org/a", "https://dems.example.org/a"),
        ("https://DEMS.example.org:443/a%2Fb?x=%20#y", "https://DEMS.example.org/a%2Fb?x=%20"),
        ("?id=7", "https://dems.example.org/files?id=7"),
    ],
)
def test_locations(location: str, place: str) -> None:
    door = TusUplink(TusUplink.Options(use="tus", name="dems", url=str(HERE))).door
    assert str(door.resolved(location, HERE)) == place


@pytest.mark.parametrize(
    "location",
    [
        "http://dems.example.org/files/a",
        "http://dems.example.org:443/files/a",
        "https://dems.example.org:8443/files/a",
        "//dems.example.org:8443/files/a",
        "https://dock:secret@dems.example.org/files/a",
        "https://dems.example.org@elsewhere.example.org/files/a",
        "https://dems.example.org.elsewhere.example.org/files/a",
        "https://elsewhere.example.org/files/a",
        "ftp://dems.example.org/files/a",
        "https://store.example.org/files/a",
        "http://store.example.org:9000/files/a",
    ],
)
def test_an_origin_is_scheme_name_and_port_and_bears_no_login(location: str) -> None:
    """Each differs in one thing from what is permitted (RFC 6454 section 4)."""
    permitted = ("https://store.example.org:9000",)
    door = TusUplink(TusUplink.Options(use="tus", name="dems", url=str(HERE), other_origins=permitted)).door
    assert str(door.resolved("https://store.example.org:9000/a", HERE)) == "https://store.example.org:9000/a"
    with pytest.raises(UplinkDown, match=r"which nobody permitted|no address"):
        door.resolved(location, HERE)


@pytest.mark.parametrize("url", ["https://dems.example.org/evidence/", "https://dems.example.org/evidence"])
def test_receipts_lie_beside_the_place_of_creation(url: str) -> None:
    door = TusUplink(TusUplink.Options(use="tus", name="dems", url=url)).door
    assert str(door.beside("receipts/x")) == "https://dems.example.org/receipts/x"


def test_through_which_ends_the_journal_knows_the_digest() -> None:
    holding = holding_of(some_bytes(2 * PART_LENGTH + 5))
    for end in (PART_LENGTH, 2 * PART_LENGTH, 2 * PART_LENGTH + 5):
        assert journaled(holding, end) == hashlib.sha256(some_bytes(2 * PART_LENGTH + 5)[:end]).digest()
    for end in (0, 1, MIB, PART_LENGTH - 1, PART_LENGTH + 1, 2 * PART_LENGTH + 4, 3 * PART_LENGTH):
        assert journaled(holding, end) is None
    small = holding_of(b"abc")
    assert journaled(small, 3) == small.digest.sha256
    assert journaled(small, PART_LENGTH) is None


def test_parts_shrink_when_they_are_lost_and_grow_again_but_not_beyond_what_a_proxy_takes() -> None:
    part = PartLength(16 * MIB)
    assert part.end(0, 100 * MIB) == 16 * MIB
    assert part.end(17 * MIB, 100 * MIB) == 32 * MIB
    assert part.end(0, 5) == 5
    part.lost(16 * MIB)
    part.lost(16 * MIB)  # two captures met the same cut
    assert part.now == 8 * MIB
    part.kept(64 * MIB)  # what comes home between two cuts says how long a part may be
    part.lost(8 * MIB)
    part.lost(8 * MIB)
    assert part.now == MIB
    part.kept(127 * MIB)
    assert part.now == MIB
    part.kept(MIB)
    assert part.now == 2 * MIB
    for _ in range(16):
        part.kept(64 * MIB)
    assert part.now == 16 * MIB
    assert part.refused(16 * MIB)
    for _ in range(16):
        part.kept(64 * MIB)
    assert part.now == 8 * MIB
    for _ in range(20):
        part.lost(part.now)
    assert part.now == FLOOR
    assert not part.refused(FLOOR)


def test_a_quick_link_brings_several_parts_in_one_request() -> None:
    part = PartLength(16 * MIB)
    for times, seconds in ((1, 0.2), (5, 0.9), (10, 0.25), (32, 0.1), (32, 5.0)):  # and then it became slow
        assert part.end(0, 1000 * MIB) == 16 * MIB
        assert part.end(0, 1000 * MIB, several=True) == times * 16 * MIB
        assert part.end(48 * MIB, 1000 * MIB, several=True) % (16 * MIB) == 0
        part.kept(times * 16 * MIB, seconds)
    assert part.end(0, 1000 * MIB, several=True) == 256 * MIB
    part.kept(256 * MIB, 5.0)
    part.kept(128 * MIB, 5.0)
    assert part.end(0, 1000 * MIB, several=True) == 64 * MIB
    assert part.refused(64 * MIB)  # a proxy has a limit
    for _ in range(9):
        part.kept(32 * MIB, 0.1)
    assert part.end(0, 1000 * MIB, several=True) == 32 * MIB
    part.lost(32 * MIB)  # the link broke: a part is the most that it costs the next time
    assert part.end(0, 1000 * MIB, several=True) <= 16 * MIB


def test_a_request_is_as_long_as_its_receiver_loses_nothing_of_it() -> None:
    part = PartLength(16 * MIB)
    for times, seconds in ((1, 0.8), (5, 4.5), (5, 1.9), (10, 9.0), (5, 3.9)):
        assert part.end(16 * MIB, 1000 * MIB, several=True) == (1 + times) * 16 * MIB
        part.kept(times * 16 * MIB, seconds, loses=False)


def test_where_a_part_length_is_configured_no_request_is_longer() -> None:
    part = PartLength(4 * MIB)
    for _ in range(9):
        part.kept(4 * MIB, 0.01)
    assert part.end(0, 1000 * MIB, several=True) == 4 * MIB


@pytest.mark.parametrize("host", ["dems..example.org", f"{'a' * 64}.example.org", ".example.org"])
@pytest.mark.parametrize("option", ["url", "proxy", "other_origins"])
def test_a_name_that_nobody_can_resolve_stops_the_start(host: str, option: str) -> None:
    """Else each capture would fail by itself, as if the fault were its own."""
    address = f"https://{host}/files"
    options: dict[str, object] = {"url": str(HERE), option: (address,) if option == "other_origins" else address}
    with pytest.raises(ValueError, match="a part of the host's name is empty or longer than 63 characters"):
        TusUplink.Options(use="tus", name="dems", **options)  # type: ignore[arg-type]


def test_a_strangers_certificate_that_follows_no_rule_is_described_all_the_same() -> None:
    """It has its names twice, as no authority makes it: whoever opens the encryption may show anything."""
    key, today = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 11, 22, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stranger")])
    names = x509.SubjectAlternativeName([x509.DNSName("dems.example.org")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(today).not_valid_after(today + timedelta(days=1))
    again = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), names.public_bytes())
    made = builder.add_extension(names, critical=False).add_extension(again, critical=False).sign(key, SHA256())
    der = made.public_bytes(Encoding.DER).replace(bytes.fromhex("0603551d63"), bytes.fromhex("0603551d11"))
    told = _described(x509.load_der_x509_certificate(der))
    assert told.startswith("one for stranger, signed by stranger, from 2026-11-22 to 2026-11-23")
