"""The uplink `clearance`: real storage (Azurite) behind emulated services, the suite of all uplinks, and its own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import subprocess
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization

from agent.capture import Strength
from agent.errors import NotNow, SpoolDamaged, UplinkDown
from agent.journal import queries
from agent.testing.devices import some_bytes
from agent.testing.sendings import held_sending
from agent.testing.uplink_conformance import UplinkConformance, sent
from agent.uplink.clearance.blob import Blob, NotSigned, block_name, number_of
from agent.uplink.clearance.envelope import cipher_length, pin_of
from agent.uplink.clearance.rate import Rate
from tests.uplinks import azurite, swift
from tests.uplinks.brief import Brief, long_form
from tests.uplinks.clearance_emulator import DAY, KEY_ID, made_key
from tests.uplinks.clearance_rig import LONG, MIB, ClearanceRig, broken_off, rigged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.station import Station
    from tests.uplinks.azurite import Azurite


pytestmark = pytest.mark.interop


class Rigged:
    @pytest.fixture(autouse=True)
    def _running(self, storage: Azurite) -> None:
        self.storage = storage

    @asynccontextmanager
    async def rig(self, tmp_path: Path) -> AsyncIterator[ClearanceRig]:
        async with rigged(tmp_path / "clearance", self.storage) as made:
            yield made


@long_form
class TestClearance(Rigged, UplinkConformance):
    pass


class TestClearanceInShort(Rigged, Brief):
    pass


@pytest.fixture
async def rig(tmp_path: Path, storage: Azurite) -> AsyncIterator[ClearanceRig]:
    async with rigged(tmp_path / "clearance", storage) as made:
        yield made


# --- what others make of it -------------------------------------------------------------------------------------------


def agency_key(folder: Path) -> Path:
    path = folder / "agency.pem"
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(made_key("agency").private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return path


@pytest.mark.parametrize("length", [0, 16, len(LONG)])
async def test_openssl_opens_what_lies_in_the_storage(
    rig: ClearanceRig, station: Station, tmp_path: Path, length: int
) -> None:
    """As docs/uplinks.md shows it to the agency: with its key and openssl, and nothing of ours."""
    data = LONG[:length]
    await sent(rig.uplink(), await held_sending(station, data))
    (item,) = rig.done
    (file,) = item.files.values()
    sealed, told = await rig.service.blob(item, file)
    assert len(sealed) == cipher_length(length)
    assert file.checksum == hashlib.sha512(sealed).hexdigest()
    (tmp_path / "blob").write_bytes(sealed)
    (tmp_path / "encryptiondata").write_text(json.dumps(told))
    key = agency_key(tmp_path)
    page = (swift.HOME.parents[2] / "docs" / "uplinks.md").read_text()
    (script,) = [one for one in page.split("```sh\n")[1:] if "pkeyutl" in one]
    process = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script.partition("```")[0], cwd=tmp_path, env={**os.environ, "KEY": str(key)}
    )
    assert await process.wait() == 0
    assert (tmp_path / "film").read_bytes() == data


async def test_microsoft_s_library_opens_what_lies_in_the_storage(
    rig: ClearanceRig, station: Station, tmp_path: Path
) -> None:
    """Its own client-side encryption, of which the envelope has the form."""
    python = swift.HOME / "bin" / "python"
    if not list(swift.HOME.glob("lib/python*/site-packages/azure/storage/blob")):
        pytest.skip("azure-storage-blob is not installed: make peers")
    await sent(rig.uplink(), await held_sending(station, LONG))
    (item,) = rig.done
    (file,) = item.files.values()
    url = rig.service._url(f"/evidence-{item.id}/{file.id}")
    process = await asyncio.create_subprocess_exec(
        python, swift.HOME.with_name("azure_reader.py"), url, agency_key(tmp_path), KEY_ID, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out == LONG


async def test_a_stranger_can_tie_what_was_sent_to_what_was_taken(
    rig: ClearanceRig, station: Station, tmp_path: Path
) -> None:
    """From the entry of the log alone: ciphertext of this digest, opened with this wrapped key, is the capture."""
    sending = await held_sending(station, LONG)
    station.connect(rig.uplink(read_back=True))
    await station.send()
    holding = await station.only()
    assert holding.receipt is not None
    assert holding.receipt.strength is Strength.DIGEST
    story = await station.desk.read(lambda journal: list(queries.story(journal, holding.id)))
    (told,) = [one["predicate"]["receipt"] for one in story if one["predicate"]["event"] == "receipted"]
    (item,) = rig.done
    (file,) = item.files.values()
    assert (told["sent"]["evidence"], told["sent"]["resource"], told["sent"]["tenant"]) == (
        item.id,
        file.id,
        "tenant123",
    )
    sealed, beside = await rig.service.blob(item, file)
    assert told["sent"]["checksum"] == {"algorithm": "Sha512", "digest": hashlib.sha512(sealed).hexdigest()}
    assert told["sent"]["length"] == len(sealed)
    encryption = told["sent"]["encryption"]
    assert encryption["wrapped_key"] == beside["WrappedContentKey"]["EncryptedKey"]
    assert encryption["iv"] == beside["ContentEncryptionIV"]
    assert encryption["key_id"] == KEY_ID
    assert encryption["key_spki_sha256"] == pin_of(made_key("agency").public_key())
    # And from the other side: the item at Clearance names what was taken, and the entry that says so.
    digest = sending.holding.digest
    for said in (
        f"capture {holding.id},",
        f"SHA-256 {digest.sha256.hex()}, {digest.length} bytes",
        f"entry {holding.index} of {holding.log}",
    ):
        assert said in item.told["Description"]
    assert item.told["SourceId"] == holding.id
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    await station.verify()
    await station.hang_up()


# --- resumption and the purge -----------------------------------------------------------------------------------------


async def test_a_restart_sends_only_the_blocks_that_are_not_there(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB + 5000)
    before = rig.proxy.received
    await sent(rig.uplink(blocks=1), sending)
    assert rig.proxy.received - before < 2 * MIB + 77 + MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert len(rig.service.items) == 1


async def test_what_is_remembered_opens_nothing_by_itself(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 2 * MIB)
    kept = json.loads(sending.state or "")
    oaep_wrapped = base64.b64decode(kept["wrapped"])
    content = made_key("agency").decrypt(oaep_wrapped, _oaep())
    assert base64.b64encode(content).decode() not in (sending.state or "")
    assert content.hex() not in (sending.state or "")


def _oaep() -> Any:  # noqa: ANN401 - of cryptography
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding  # noqa: PLC0415

    return padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - RSA-OAEP


async def test_what_was_purged_begins_anew_as_another_item_with_another_key(
    rig: ClearanceRig, station: Station
) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB)
    first = json.loads(sending.state or "")
    await rig.service.later(DAY)
    receipt = await sent(rig.uplink(), sending)
    assert receipt.strength is Strength.LENGTH
    (item,) = rig.done
    assert item.id != first["evidence"]
    _, told = await rig.service.blob(item, next(iter(item.files.values())))
    assert told["WrappedContentKey"]["EncryptedKey"] != first["wrapped"]
    assert told["ContentEncryptionIV"] != first["iv"]
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


@pytest.mark.parametrize(("hours", "anew"), [(23, False), (25, True)])
async def test_what_is_older_than_the_purge_is_not_built_upon(
    rig: ClearanceRig,
    station: Station,
    hours: int,
    anew: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It may be there yet, and would go in the middle of the rest."""
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB)
    kept = json.loads(sending.state or "")
    began_at = datetime.now(UTC) - timedelta(hours=hours)
    sending.state = json.dumps(kept | {"began_at": began_at.isoformat()})
    await sent(rig.uplink(), sending)
    (item,) = rig.done
    assert (item.id != kept["evidence"]) is anew


async def test_blocks_that_were_purged_in_the_last_moment_begin_anew(
    rig: ClearanceRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is not there any more when the blob is made of them."""
    true_put, lost = Blob.put, list[str]()

    async def put(blob: Blob, name: str, content: bytes) -> None:
        if number_of(name) == 2 and not lost:
            lost.append(name)
            return
        await true_put(blob, name, content)

    monkeypatch.setattr(Blob, "put", put)
    sending = await held_sending(station, LONG)
    await sent(rig.uplink(), sending, tries=1)
    assert lost
    assert len(rig.service.items) == 2
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_an_integration_with_a_new_key_begins_anew(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB)
    rig.service.integration = made_key("integration, renewed")
    rig.service.connection_file(rig.file)
    await sent(rig.uplink(), sending)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_bytes_under_which_the_spool_rotted_cost_the_key(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    path = station.spool.path(sending.holding.digest.sha256)
    path.write_bytes(LONG[:-1] + bytes([LONG[-1] ^ 1]))
    with pytest.raises(SpoolDamaged):
        await sent(rig.uplink(), sending)
    assert sending.state is None, "a key that encrypted other bytes is not used again"
    assert rig.done == []


@pytest.mark.parametrize("lost", ["/evidence", "/resource", "/complete"])
async def test_answers_of_the_services_that_are_lost_double_nothing(
    rig: ClearanceRig, station: Station, lost: str
) -> None:
    rig.service.answers_lost = [lost, lost]
    sending = await held_sending(station, LONG)
    await sent(rig.uplink(), sending, tries=5)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_a_link_that_cannot_carry_it_before_the_purge_begins_nothing(rig: ClearanceRig, station: Station) -> None:
    uplink = rig.uplink()
    uplink._rate.now = 10.0
    with pytest.raises(UplinkDown, match="146 hours") as down:
        await uplink.send(await held_sending(station, LONG))
    assert down.value.alone
    assert rig.service.items == {}
    uplink._rate.now = 1e6
    await sent(uplink, await held_sending(station, b"x", "other"))


def test_a_link_that_was_slow_once_is_tried_again() -> None:
    rate = Rate()
    rate.took(1000, 1.0)
    for _ in range(200):
        with suppress(UplinkDown):
            rate.require(10**10, 86400)
            break
    else:
        pytest.fail("never again")


# --- what expires -----------------------------------------------------------------------------------------------------


async def test_tokens_and_addresses_that_expire_in_mid_upload_cost_no_block(
    rig: ClearanceRig, station: Station
) -> None:
    rig.service.token_uses = 2
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB + 5000)
    kept, before = json.loads(sending.state or ""), rig.proxy.received
    old = azurite.blob_sas(f"evidence-{kept['evidence']}", kept["resource"], permits="rcw", seconds=-5)
    sending.state = json.dumps(kept | {"uri": f"{kept['uri'].partition('?')[0]}?{old}"})
    await sent(rig.uplink(blocks=1), sending)
    assert rig.proxy.received - before < 2 * MIB + 77 + MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    renewed = f"GET /ds/api/v1/tenant/tenant123/evidence/{kept['evidence']}/resource/{kept['resource']}"
    assert rig.service.asked.count(renewed) == 1
    assert sum(one.endswith("/connect/token") for one in rig.service.asked) > 2


@pytest.mark.parametrize("turns", [None, 2])
async def test_a_block_that_is_sent_once_more_with_a_fresh_address_has_a_turn_for_that(
    rig: ClearanceRig, station: Station, monkeypatch: pytest.MonkeyPatch, turns: int | None
) -> None:
    """Its address expires while it is on its way: a budget counts it twice, and what is more urgent may go before."""
    sending, true_put, tries = await held_sending(station, LONG), Blob.put, [0]
    sending.turns = turns

    async def put(blob: Blob, name: str, content: bytes) -> None:
        await true_put(blob, name, content)
        tries[0] += 1
        if tries[0] == 2:
            rig.service.sas_seconds = 7200.0
            raise NotSigned("its signature has expired")

    monkeypatch.setattr(Blob, "put", put)
    uplink = rig.uplink(blocks=1)
    if turns is not None:
        with pytest.raises(NotNow):
            await uplink.send(sending)
        assert tries[0] == 2
        sending.turns = None
    await sent(uplink, sending)
    twice = turns is None  # else it was there by then, and is listed
    assert (tries[0], sending.outgone) == (6 + twice, len(LONG) + twice * MIB)
    assert sending.unasked == []
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_a_service_that_gives_no_fresh_address(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB)
    rig.service.renews = False
    kept = json.loads(sending.state or "")
    sending.state = json.dumps(kept | {"uri": kept["uri"].replace("sig=", "sig=x")})
    with pytest.raises(UplinkDown, match="no fresh address") as down:
        await sent(rig.uplink(), sending)
    assert down.value.alone


async def test_addresses_that_permit_no_listing_send_everything_again(rig: ClearanceRig, station: Station) -> None:
    rig.service.permits = "cw"
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB)
    await sent(rig.uplink(), sending)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_a_listed_block_that_is_another_is_never_built_upon(rig: ClearanceRig, station: Station) -> None:
    """By its number it is the next one, and by its name it holds other bytes."""
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 2 * MIB + 5000)
    uri, other = json.loads(sending.state or "")["uri"], some_bytes(MIB, "other")
    name = quote(block_name(3, other), safe="")
    async with rig.service._session.put(f"{uri}&comp=block&blockid={name}", data=other) as answer:
        assert answer.status == 201
    await sent(rig.uplink(), sending)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert len(rig.service.items) == 1, "and it is no reason to begin anew"


async def test_a_storage_that_lists_every_block_under_another_name_gets_no_byte_without_its_turn(
    rig: ClearanceRig, station: Station
) -> None:
    """Else whoever answers there decides what a link may carry, and how fast."""
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 2 * MIB + 5000)
    uri, other = json.loads(sending.state or "")["uri"], some_bytes(MIB, "other")
    for number in range(2, 6):
        name = quote(block_name(number, other), safe="")
        async with rig.service._session.put(f"{uri}&comp=block&blockid={name}", data=other) as answer:
            assert answer.status == 201
    sending.turns, before = 1, rig.proxy.received
    with pytest.raises(NotNow):
        await sent(rig.uplink(), sending)
    assert rig.proxy.received - before == MIB
    sending.turns, before, asked = None, rig.proxy.received, sending.outgone
    await sent(rig.uplink(), sending)
    left = len(LONG) - 3 * MIB
    assert sending.outgone - asked == left
    assert left < rig.proxy.received - before < left + 4096, "with the list of its blocks"
    assert sending.unasked == []
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_bytes_that_arrive_wrong_are_refused_by_the_storage(rig: ClearanceRig, station: Station) -> None:
    """The MD5 that is stated of each block is compared; Azurite has another word for it than Azure."""
    rig.proxy.changes = 1
    sending = await held_sending(station, LONG)
    with pytest.raises(UplinkDown, match=r"arrived as other bytes|400 InvalidOperation"):
        await sent(rig.uplink(blocks=1), sending)
    await sent(rig.uplink(), sending)
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
