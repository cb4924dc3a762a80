"""The OpenAPI document, read by a program of others (schemathesis), which then asks everything that it allows."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema_rs
import pytest

from agent.station.status import EVENTS
from tests.screen.dock import served
from tests.station.asking import TOKEN, ask
from tests.station.test_leads import LEAD, PICTURE
from tests.station.test_news import listening

if TYPE_CHECKING:
    from tests.screen.dock import Dock

STATES = ("safe", "copying", "help", "charging", "do_not_remove", "empty")
EXAMPLES = os.environ.get("EVIDOCK_SCHEMATHESIS", "3")
"""Examples of each operation: more with EVIDOCK_SCHEMATHESIS=1000."""


def fill(dock: Dock) -> None:
    for number, state in enumerate(STATES, 1):
        dock.put(number, state)
    dock.bays.shown = [LEAD]
    dock.bays.pictures = {(LEAD.id, 0): PICTURE}


async def schemathesis(dock: Dock, folder: Path, *more: str) -> tuple[int, str]:
    """(exit code, what it says). Events have no end, and are looked at below."""
    program = Path(sys.executable).with_name("schemathesis")
    words = ("run", f"{dock.url}/openapi.json", "--exclude-path", EVENTS, "--max-examples", EXAMPLES, "--no-color")
    process = await asyncio.create_subprocess_exec(program, *words, *more, cwd=folder, stdout=-1, stderr=-2)
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_everything_that_it_allows_is_answered_as_it_says(tmp_path: Path) -> None:
    async with served(tmp_path, len(STATES)) as dock:
        fill(dock)
        code, said = await schemathesis(dock, tmp_path)
        assert code == 0, said
        assert "Selected: 7/8" in said


async def test_with_a_token_too_and_it_is_asked_for(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    async with served(tmp_path, 2, status=f'token_file = "{token}"') as dock:
        code, said = await schemathesis(dock, tmp_path, "-H", f"Authorization: Bearer {TOKEN}")
        assert code == 0, said
        assert "7 passed" in said


async def test_every_path_is_in_the_document(tmp_path: Path) -> None:
    async with served(tmp_path, 1) as dock:
        _, _, document = await ask(dock.url, "/openapi.json")
        plain = [path for path in document["paths"] if "{" not in path]
        for path in plain:
            assert (await ask(dock.url, path, "HEAD"))[0] == 200
        assert set(plain) == {"/v1/status", "/v1/bays", "/v1/leads", EVENTS, "/metrics", "/health", "/ready"}


@pytest.mark.parametrize("policy", ["keep", "release"])
async def test_what_an_event_tells_is_what_the_document_says(tmp_path: Path, policy: str) -> None:
    async with served(tmp_path, len(STATES), policy=policy) as dock:
        fill(dock)
        _, _, document = await ask(dock.url, "/openapi.json")
        valid = {
            name: jsonschema_rs.Draft202012Validator(
                {"components": document["components"], "$ref": f"#/components/schemas/{name}"}
            )
            for name in ("Status", "Bays", "Leads")
        }
        valid["Leads"].validate((await ask(dock.url, "/v1/leads"))[2])
        async with listening(dock) as following:
            told = (await following("state")).data
        valid["Status"].validate(told["status"])
        valid["Bays"].validate({name: told[name] for name in ("bays", "others")})
        assert {bay["state"] for bay in told["bays"]} == set(STATES)
