"""Answers that are plain in HTTP and wrong in the draft: each is asked about, and none is taken for a yes.

The emulated DEMS does the work; what it says is changed on its way to us.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict
from structlog.testing import capture_logs

from agent.capture import PART_LENGTH
from agent.errors import UplinkDown
from agent.testing.dems import EmulatedDems
from tests.uplinks.arriving import settled, verified
from tests.uplinks.memory import MIB, MemorySending, some_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from agent.uplink.http import Answer
    from agent.uplink.ietf import IetfUplink
    from tests.uplinks.double import Make


def field(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256(data).digest()).decode()}:"


def told(uplink: IetfUplink, change: Callable[[str, Answer], Answer]) -> list[str]:
    """Change each answer to a method; the methods from now on."""
    asked, ask = list[str](), uplink.door.ask

    async def changed(method: str, *words: object, **more: object) -> Answer:
        asked.append(method)
        return change(method, await ask(method, *words, **more))  # type: ignore[arg-type]

    uplink.door.ask = changed  # type: ignore[method-assign, assignment]
    return asked


def once(method: str, **headers: str) -> Callable[[str, Answer], Answer]:
    """The first answer to this method says something else."""
    left = [headers]

    def change(asked: str, answer: Answer) -> Answer:
        if asked != method or not left:
            return answer
        said = CIMultiDict(answer.headers)
        said.update({name.replace("_", "-"): value for name, value in left.pop().items()})
        return replace(answer, headers=said)

    return change


async def test_a_part_of_which_the_server_tells_another_digest_is_asked_about(dems: EmulatedDems, make: Make) -> None:
    """Some tell it unasked: of all bytes so far, where the journal knows ours (RFC 9530)."""
    sending, uplink = MemorySending(some_bytes(PART_LENGTH + MIB)), make(dems.captures_url, part_length=PART_LENGTH)
    asked = told(uplink, once("PATCH", Repr_Digest=field(b"other")))
    verified(await uplink.send(sending), sending, dems)
    assert asked == ["OPTIONS", "POST", "PATCH", "HEAD", "PATCH"]
    sending = MemorySending(some_bytes(PART_LENGTH + MIB, 2), key="2")
    asked = told(uplink, once("PATCH", Repr_Digest=field(sending.data[:PART_LENGTH])))
    verified(await uplink.send(sending), sending, dems)
    assert "HEAD" not in asked, "and none is asked about that is ours"


@pytest.mark.parametrize(("number", "complete"), [(1, "?1"), (3, "?0")])
async def test_a_yes_that_says_the_wrong_thing_of_the_whole_is_asked_about(
    dems: EmulatedDems, make: Make, number: int, complete: str
) -> None:
    """An end where none is yet, and none where it is."""
    sending, uplink, seen = MemorySending(some_bytes(3 * MIB)), make(dems.captures_url), 0

    def change(method: str, answer: Answer) -> Answer:
        nonlocal seen
        seen += method == "PATCH"
        said = CIMultiDict(answer.headers)
        said.popall("Evidock-Receipt", None)
        if method == "PATCH" and seen == number:
            said["Upload-Complete"] = complete
            return replace(answer, headers=said)
        return answer

    asked = told(uplink, change)
    verified(await uplink.send(sending), sending, dems)
    assert asked[2:][number] == "HEAD"
    await settled(dems, sending)


async def test_an_upload_that_the_server_made_an_end_of_is_made_anew(dems: EmulatedDems, make: Make) -> None:
    """It failed there, and told it to somebody who did not hear it: what is there does not grow any more."""
    sending, uplink = MemorySending(some_bytes(3 * MIB)), make(dems.captures_url)
    await dems.add_fault("PATCH:2:cut@300000")
    asked = told(uplink, once("HEAD", Upload_Complete="?1"))
    with capture_logs() as logs:
        verified(await uplink.send(sending), sending, dems)
    assert "upload_ended_by_server" in [one["event"] for one in logs]
    assert asked.count("POST") == 2


async def test_a_server_that_repeats_what_was_stated_of_the_whole_has_proven_nothing_and_lost_nothing(
    dems: EmulatedDems, make: Make
) -> None:
    """`Repr-Digest` of an upload that is not whole yet: it is no digest of what is there."""
    sending, uplink = MemorySending(some_bytes(3 * MIB)), make(dems.captures_url)
    await dems.add_fault("PATCH:2:cut@300000")
    asked = told(uplink, once("HEAD", Repr_Digest=field(sending.data)))
    verified(await uplink.send(sending), sending, dems)
    assert asked.count("HEAD") >= 1
    assert asked.count("POST") == 1, "it goes on"
    await settled(dems, sending, again=MIB)


async def test_a_canary_that_was_refused_and_kept_all_the_same_was_not_refused(tmp_path: Path, make: Make) -> None:
    async with EmulatedDems(tmp_path / "dems", checksums=False) as dems:
        uplink = make(dems.captures_url)

        def change(method: str, answer: Answer) -> Answer:
            return replace(answer, status=400) if method == "PATCH" else answer

        told(uplink, change)
        await uplink.probe()
        assert uplink.door.verifies is False


@pytest.mark.parametrize("status", [404, 409, 410, 413])
async def test_a_canary_that_the_server_lost_or_never_read_was_not_refused_for_its_digest(
    tmp_path: Path, make: Make, status: int
) -> None:
    async with EmulatedDems(tmp_path / "dems", checksums=False) as dems:
        uplink = make(dems.captures_url)

        def change(method: str, answer: Answer) -> Answer:
            if method == "PATCH":
                return replace(answer, status=status)
            return replace(answer, status=404) if method == "HEAD" else answer

        told(uplink, change)
        with pytest.raises(UplinkDown, match=str(status)):
            await uplink.probe()
        assert uplink.door.verifies is None
