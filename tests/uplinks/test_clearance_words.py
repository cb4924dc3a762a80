"""What the uplink `clearance` reads: its connection file, and answers of services that may be anything. No storage."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ConfigError, UplinkDown
from agent.uplink.clearance import ClearanceOptions, ClearanceUplink, words
from agent.uplink.clearance.bringing import Bringing
from agent.uplink.clearance.doors import Services
from agent.uplink.clearance.rate import Rate
from agent.uplink.clearance.sealed import block_length
from agent.uplink.clearance.upload import Upload
from agent.uplink.http.places import Places
from tests.uplinks.clearance_emulator import Clearance
from tests.uplinks.clearance_rig import MIB
from tests.uplinks.memory import MemorySending

if TYPE_CHECKING:
    from pathlib import Path


def test_blocks_are_as_many_as_azure_takes() -> None:
    assert block_length(100, 8 * MIB) == 8 * MIB
    length = 5 * (1 << 40)
    block = block_length(length, 8 * MIB)
    assert block % MIB == 0
    assert -(-length // block) <= 50_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"TenantId": None}, "TenantId"),
        ({"DocumentStoreBaseAddresses": []}, "DocumentStoreBaseAddresses"),
        ({"DocumentStoreBaseAddresses": ["http://ds.example.org"]}, "plain http"),
        ({"DisableEncryption": True}, "unencrypted"),
        ({"ServicePrincipalKey": {"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}}, "bits is not used"),
        ({"ServicePrincipalKey": {"kty": "EC"}}, "ServicePrincipalKey"),
    ],
)
async def test_a_connection_file_that_is_none(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    path = tmp_path / "connection.json"
    async with Clearance(1, 1) as service:
        service.connection_file(path)
    told = json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    path.write_text(json.dumps({k: v for k, v in (told | change).items() if v is not None}))
    with pytest.raises(ConfigError, match=says) as error:
        ClearanceUplink(ClearanceOptions(use="clearance", name="dems", connection_file=path))
    assert told["ServicePrincipalKey"]["d"] not in str(error.value), "a secret is told"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b" " * 100_000])
def test_connection_files_of_any_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.json").write_bytes(content)
    with pytest.raises(ConfigError):
        ClearanceUplink(ClearanceOptions(use="clearance", name="dems", connection_file=tmp_path / "c.json"))


@pytest.mark.parametrize("place", ["http://a.blob.core.windows.net", "https://x:y@a.blob.core.windows.net"])
async def test_an_address_without_tls_or_with_a_login_gets_no_byte(tmp_path: Path, place: str) -> None:
    path = tmp_path / "connection.json"
    async with Clearance(1, 1) as service:
        service.connection_file(path)
    told = path.read_text("utf-8-sig").replace("http://127.0.0.1", "https://clearance.example.org")
    path.write_text(told)
    services = Services(ClearanceOptions(use="clearance", name="dems", connection_file=path))
    bringing = Bringing(services, MemorySending(b"x"), Places(1), Rate())
    with pytest.raises(UplinkDown, match="which nobody permitted"):
        bringing._permitted(f"{place}/c/b?sig=x")
    good = "https://a.blob.core.windows.net/c/b?sig=x"
    assert bringing._permitted(good) == good
    await services.aclose()


ANSWERS = [
    b'{"EvidenceId": "812", "Uri": "https://a.blob.core.windows.net/c/b?sv=1&sig=x"}',
    b'{"key": {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "k"}}',
    b'[{"ResourceId": 813, "UploadedTimeUtc": null}]',
    b'{"Uri": "https://[?sig=x", "EvidenceId": [], "key": []}',
]


@given(st.sampled_from(ANSWERS), st.integers(0, 90), st.binary(max_size=8))
def test_answers_of_any_bytes_are_a_value_or_none(answer: bytes, at: int, put: bytes) -> None:
    """Cut after every byte, and with other bytes in their middle."""
    for body in (answer[:at], answer[:at] + put + answer[at:], answer[:at] + put + answer[at + len(put) :]):
        words.text_in(body, "EvidenceId")
        words.listed(body, "813")
        uri = words.uri_in(body)
        assert uri is None or uri.startswith(("http://", "https://"))
        if (jwk := words.key_in(body)) is not None:
            with suppress(ValueError):
                jwk.public()
        block = Upload.read(body.decode("latin-1"))
        assert block is None


def test_answers_as_they_should_be_are_read() -> None:
    assert words.text_in(ANSWERS[0], "EvidenceId") == "812"
    assert words.uri_in(ANSWERS[0]) == "https://a.blob.core.windows.net/c/b?sv=1&sig=x"
    assert words.listed(ANSWERS[2], "813") == {"ResourceId": 813, "UploadedTimeUtc": None}
    assert words.uri_in(ANSWERS[3]) is None
    assert words.key_in(b"[" * 100_000) is None
