"""docs/dems.md says what the emulated DEMS does: its exchange is played, its commands run, its words looked up."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import subprocess
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from yarl import URL

from agent.note import Verifier
from agent.testing.dems import DemsOptions, EmulatedDems, Entry
from agent.testing.dems.faults import Faults
from agent.testing.dems.receipts import _key_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

DOC: Final = (Path(__file__).parents[2] / "docs" / "dems.md").read_text("utf-8")
BLOCKS: Final = re.findall(r"```http\n(.*?)\n```", DOC, re.DOTALL)
SEED: Final = hashlib.sha256(b"test dems receipt key").digest()
NOW: Final = datetime(2026, 11, 22, 7, 48, 12, tzinfo=UTC).timestamp()
LEFT_OUT: Final = ("Date:", "Server:")  # of every answer: they say nothing


@pytest.fixture
async def dems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmulatedDems]:
    """A DEMS whose key, clock and URLs are those of the document."""
    tokens = count(1)
    monkeypatch.setattr(secrets, "token_hex", lambda _: f"{next(tokens):032x}")
    (tmp_path / "receipt.key").write_bytes(_key_text("dems.example.org/receipts", SEED))
    async with EmulatedDems(tmp_path, clock=lambda: NOW) as made:
        yield made


async def answer_to(dems: EmulatedDems, request: str) -> str:
    """Send a request as it stands in the document, and return the answer as it would stand there."""
    head, _, body = request.partition("\n\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(dems.url).port)
    with closing(writer):
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode())
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        length = next((int(line.split()[1]) for line in lines if line.startswith("Content-Length:")), 0)
        text = "" if head.startswith("HEAD") else (await reader.readexactly(length)).decode()
    shown = "\n".join(line for line in lines if not line.startswith(LEFT_OUT))
    return f"{shown}\n\n{text}".rstrip("\n")


async def test_the_exchange(dems: EmulatedDems) -> None:
    assert len(BLOCKS) >= 20
    for request, answer in zip(BLOCKS[::2], BLOCKS[1::2], strict=True):
        assert await answer_to(dems, request) == answer
    assert [entry.state for entry in await dems.index()] == ["stored", "stored"]


async def test_a_stranger_can_check_the_receipt_with_a_shell(dems: EmulatedDems, tmp_path: Path) -> None:
    [commands] = re.findall(r"```sh\n(sed .*?)```", DOC, re.DOTALL)
    [note] = [block for block in BLOCKS if block.startswith("HTTP/1.1 200 OK") and "evidock-receipt/v1" in block]
    (tmp_path / "receipt.note").write_text(note.partition("\n\n")[2] + "\n", "utf-8")
    (tmp_path / "receipts.pem").write_bytes(Verifier.parse(dems.receipt_vkey).pem())
    done = await asyncio.to_thread(subprocess.run, ["sh", "-e", "-c", commands], cwd=tmp_path, capture_output=True)
    assert b"Signature Verified Successfully" in done.stdout, done.stderr
    assert dems.receipt_vkey in DOC


def test_the_faults_are_those_of_the_grammar() -> None:
    faults = Faults()
    rows = re.findall(r"^\| `([A-Z*]+:[^`]+|receipt:[^`]+)` \|", DOC, re.MULTILINE)
    assert len(rows) >= 14
    for row in rows:
        faults.add(row)


def test_every_option_and_every_field_is_described() -> None:
    for field in (*fields(DemsOptions), *fields(Entry)):
        assert f"`{field.name}`" in DOC, field.name
