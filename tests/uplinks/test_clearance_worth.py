"""What a receipt of the uplink `clearance` is worth: what of the service's yes was seen, compared, or read back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

import pytest

from agent.capture import Standing, Strength
from agent.errors import BadReceipt, UplinkDown
from agent.testing.sendings import held_sending
from agent.testing.uplink_conformance import sent
from agent.uplink.clearance.blob import Blob
from agent.uplink.clearance.envelope import pin_of
from tests.uplinks.clearance_emulator import KEY_ID, made_key
from tests.uplinks.clearance_rig import LONG, MIB, ClearanceRig, broken_off, rigged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.station import Station
    from tests.uplinks.azurite import Azurite

pytestmark = pytest.mark.interop


@pytest.fixture
async def rig(tmp_path: Path, storage: Azurite) -> AsyncIterator[ClearanceRig]:
    async with rigged(tmp_path / "clearance", storage) as made:
        yield made


async def test_a_service_that_is_not_known_to_compare_proves_a_length(rig: ClearanceRig, station: Station) -> None:
    uplink = rig.uplink()
    found = {one.what: one for one in await uplink.check()}
    assert found["token"].state == found["key"].state == "ok"
    assert KEY_ID in found["key"].detail
    assert found["digests"].state == "warning"
    receipt = await sent(uplink, await held_sending(station, b"x"))
    assert (receipt.strength, receipt.sha256, receipt.length) == (Strength.LENGTH, None, 1)
    assert receipt.sent["proof"] == "none"


@pytest.mark.parametrize(("compares", "strength"), [(True, Strength.DIGEST), (False, Strength.LENGTH)])
async def test_a_canary_shows_whether_it_compares(
    rig: ClearanceRig,
    station: Station,
    compares: bool,  # noqa: FBT001 - a parameter of the test
    strength: Strength,
) -> None:
    rig.service.compares = compares
    uplink = rig.uplink(canary=True)
    found = {one.what: one.state for one in await uplink.check()}
    assert found["digests"] == ("ok" if compares else "warning")
    assert (await sent(uplink, await held_sending(station, b"x"))).strength is strength


async def test_a_service_that_says_no_to_the_right_checksum_too_compares_nothing(rig: ClearanceRig) -> None:
    """That it refused the wrong one was no answer to it."""
    rig.service.takes_none = True
    uplink = rig.uplink(canary=True)
    found = {one.what: one for one in await uplink.check()}
    assert found["digests"].state == "warning"
    assert "is not known" in found["digests"].detail
    await uplink.aclose()


@pytest.mark.parametrize("answers", [[503], [500], [403], [409], [413], [404], [200, 503]])
async def test_an_answer_that_speaks_of_no_checksum_is_no_refusal_of_a_wrong_one(
    rig: ClearanceRig, station: Station, answers: list[int]
) -> None:
    """Receipts of a whole day would be believed for it."""
    rig.service.compares, rig.service.stumbles = answers[0] == 200, answers
    uplink = rig.uplink(canary=True)
    receipt = await sent(uplink, await held_sending(station, b"x"))
    assert (receipt.strength, receipt.sent["proof"]) == (Strength.LENGTH, "none")


@pytest.mark.parametrize("before", [0, 1], ids=["upon the wrong one", "upon the right one"])
async def test_a_connection_that_is_lost_in_a_canary_tells_nothing_and_is_tried_again(
    rig: ClearanceRig, station: Station, before: int
) -> None:
    rig.service.compares, uplink = before == 1, rig.uplink(canary=True)
    sending = await held_sending(station, b"x")
    rig.service.stumbles = [200] * before + [0]
    with pytest.raises(UplinkDown) as down:
        await uplink.send(sending)
    assert down.value.way
    assert rig.done == []
    strength = Strength.DIGEST if rig.service.compares else Strength.LENGTH
    assert (await sent(uplink, sending)).strength is strength


async def test_what_the_service_lists_is_asked_for_after_its_yes(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, b"x")
    rig.service.calls_uploaded = False
    with pytest.raises(UplinkDown, match="does not call it uploaded") as down:
        await sent(rig.uplink(), sending)
    assert down.value.alone
    rig.service.calls_uploaded = True
    assert (await sent(rig.uplink(), sending)).strength is Strength.LENGTH
    assert len(rig.service.items) == 1
    rig.service.keeps = False
    with pytest.raises(UplinkDown, match="loses this upload each time"):
        await sent(rig.uplink(), await held_sending(station, b"y", "other"))


async def test_a_storage_that_has_another_length_than_was_sent_completes_nothing(
    rig: ClearanceRig, station: Station
) -> None:
    sending = await held_sending(station, LONG)
    rig.proxy.lies = {"Content-Length": "7"}
    with pytest.raises(BadReceipt, match="the storage has 7 bytes of this capture"):
        await sent(rig.uplink(), sending)
    assert rig.done == []


async def test_a_completion_of_which_nobody_saw_the_yes_proves_a_length(rig: ClearanceRig, station: Station) -> None:
    """It was completed before, says the service when it is asked again; with which checksum, it does not say."""
    uplink, sending = rig.uplink(canary=True), await held_sending(station, b"x")
    await uplink.check()
    rig.service.answers_lost = ["/complete"]  # of its file
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    item = list(rig.service.items)[-1]
    rig.service.answers_lost = [f"/evidence/{item}/complete"]
    with pytest.raises(UplinkDown):
        await uplink.send(sending)
    assert rig.service.items[item].complete
    receipt = await sent(uplink, sending)
    assert (receipt.strength, receipt.sent["proof"]) == (Strength.LENGTH, "none")
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}


async def test_what_was_changed_in_the_storage_is_found_by_reading_back(rig: ClearanceRig, station: Station) -> None:
    rig.proxy.rots = True
    with pytest.raises(BadReceipt, match="gave back other bytes"):
        await sent(rig.uplink(read_back=True), await held_sending(station, LONG))
    assert rig.done == [], "it is not completed, and is purged"


@pytest.mark.parametrize("ends", ["cut", "stall"])
async def test_a_storage_that_ends_while_it_is_read_back_is_tried_again(
    rig: ClearanceRig, station: Station, ends: Literal["cut", "stall"]
) -> None:
    rig.proxy.ends = ends
    sending = await held_sending(station, LONG)
    async with asyncio.timeout(30):
        with pytest.raises(UplinkDown, match="broke off while its bytes were read back") as down:
            await sent(rig.uplink(read_back=True, stall=2.0), sending)
    assert down.value.alone
    assert rig.done == []
    rig.proxy.ends, before = None, rig.proxy.received
    assert (await sent(rig.uplink(read_back=True), sending)).strength is Strength.DIGEST
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert rig.proxy.received - before < MIB, "it is asked for again, and not sent again"


async def test_a_blob_of_which_nobody_heard_that_it_was_made_is_not_sent_again(
    rig: ClearanceRig, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_commit, lost = Blob.commit, list[str]()

    async def commit(blob: Blob, *words: Any, **more: Any) -> bool:  # noqa: ANN401 - as it is
        made = await true_commit(blob, *words, **more)
        if not lost:
            lost.append("the answer")
            raise UplinkDown("the connection broke", way=True)
        return made

    monkeypatch.setattr(Blob, "commit", commit)
    sending = await held_sending(station, LONG)
    with pytest.raises(UplinkDown, match="broke"):
        await sent(rig.uplink(), sending)
    before = rig.proxy.received
    await sent(rig.uplink(), sending)
    assert rig.proxy.received - before < MIB
    assert await rig.arrived() == {sending.holding.id: [sending.holding.digest.sha256]}
    assert len(rig.service.items) == 1


async def test_a_key_that_is_not_pinned_wraps_nothing(rig: ClearanceRig, station: Station) -> None:
    other = pin_of(made_key("another agency").public_key())
    uplink = rig.uplink(key_pins=[other])
    assert {one.what: one.state for one in await uplink.check()}["key"] == "problem"
    with pytest.raises(UplinkDown, match="none of those in `key_pins`"):
        await sent(uplink, await held_sending(station, b"x"))
    assert rig.service.items == {}
    right = rig.uplink(key_pins=[other, pin_of(made_key("agency").public_key())])
    await sent(right, await held_sending(station, b"x"))


async def test_bytes_go_only_to_hosts_that_are_permitted(rig: ClearanceRig, station: Station) -> None:
    with pytest.raises(UplinkDown, match="which nobody permitted"):
        await sent(rig.uplink(storage=["*.blob.core.windows.net"]), await held_sending(station, b"x"))
    assert rig.proxy.received == 0


async def test_a_refused_assertion_is_named(rig: ClearanceRig, station: Station) -> None:
    with pytest.raises(UplinkDown, match="no token") as down:
        await sent(rig.uplink(audience="https://elsewhere.example.org"), await held_sending(station, b"x"))
    assert "connection_file" in down.value.what_to_do
    await sent(rig.uplink(signing="RS256"), await held_sending(station, b"x"))


async def test_a_blob_of_somebody_else_is_never_overwritten(rig: ClearanceRig, station: Station) -> None:
    sending = await held_sending(station, LONG)
    await broken_off(rig, sending, 3 * MIB)
    kept = json.loads(sending.state or "")
    async with rig.service._session.put(kept["uri"], data=b"other", headers={"x-ms-blob-type": "BlockBlob"}) as answer:
        assert answer.status == 201
    with pytest.raises(BadReceipt, match="other bytes where this capture belongs"):
        await sent(rig.uplink(), sending)


async def test_a_held_capture_stands_where_the_receipt_leaves_it(rig: ClearanceRig, station: Station) -> None:
    await held_sending(station, LONG)
    station.connect(rig.uplink())
    await station.send()
    assert await station.count(Standing.RECEIPTED) == 1
    await station.verify()
    await station.hang_up()


async def test_a_storage_that_asks_for_patience_gets_it(rig: ClearanceRig, station: Station) -> None:
    """Azure names its reason in a header of its own (503 ServerBusy)."""
    rig.proxy.busy = {"Retry-After": "7", "x-ms-error-code": "ServerBusy"}
    with pytest.raises(UplinkDown, match="503 ServerBusy") as down:
        await sent(rig.uplink(), await held_sending(station, b"x"))
    assert down.value.retry_after == 7
