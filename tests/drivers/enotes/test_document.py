"""docs/enotes.md against what is so: its example bytes, its tables, its options, and the tablet that it names."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import rfc8785

from drivers.enotes import EnoteTablets
from drivers.enotes.signatures import PublicKey
from firmware_specs.formats.enote import STRENGTH, envelope, unb64url
from firmware_specs.formats.enote_entry import OPS
from tests.drivers.enotes.test_vectors import ENTRIES

if TYPE_CHECKING:
    from tests.drivers.enotes.conftest import Desk

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "enotes.md").read_text()
BLOCKS = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)


def first_column(heading: str) -> list[str]:
    table = PAGE.partition(f"\n{heading}")[2].partition("\n\n")[0]
    return [
        name for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE) for name in re.findall(r"`([\w.]+)`", row)
    ]


def test_the_example_is_what_others_signed_and_is_good() -> None:
    told, key, payload = BLOCKS
    found = envelope(told.encode())
    assert json.loads(told) == ENTRIES[0]["envelope"]
    public = PublicKey.of(json.loads(key))
    assert public.kid == found.kid
    assert public.signed(found.alg, found.signed, unb64url(found.signature))
    assert unb64url(found.payload) == payload.encode() == rfc8785.dumps(json.loads(payload))
    (link,) = re.findall(r"^    (sha-256:[0-9a-f]{64})$", PAGE, re.MULTILINE)
    assert link == f"sha-256:{sha256(rfc8785.dumps(json.loads(told))).hexdigest()}"


def test_every_status_flag_option_and_act_is_told() -> None:
    assert first_column("| Status |") == [
        *("ok", "late", "duplicate", "twin", "not_canonical", "bad_sig", "unknown_key", "bad_entry", "bad_ops"),
        *("out_of_order", "chain_gap", "fork"),
    ]
    assert set(first_column("| Status |")) == {one.value for one in STRENGTH}
    words = json.loads((ROOT / "drivers" / "enotes" / "web" / "words.en.json").read_text())
    assert set(first_column("| Flag |")) == set(words["flag"])
    for name in EnoteTablets.Options.model_fields.keys() - {"use", "rescan"}:
        assert re.search(rf"`{name}`|^   {name} = |^   \[driver\.{name}\]", PAGE, re.MULTILINE), name
    for op in OPS:
        assert f"`{op}`" in PAGE


async def test_the_emulated_tablet_from_the_command_line(desk: Desk) -> None:
    page = desk.folder / "invitation.html"
    page.write_bytes(EnoteTablets.enrol(desk.options).content)
    photo = desk.folder / "photo.jpg"
    photo.write_bytes(b"not a photograph")
    command = [sys.executable, "-m", "drivers.enotes.emulator", str(page), "--folder", str(desk.folder / "tab")]
    async with desk.open():
        done = await asyncio.to_thread(
            subprocess.run, [*command, "--photo", str(photo)], capture_output=True, text=True, check=False, cwd=ROOT
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "ok", "2", "ok", "3", "ok", "4", "ok", "5", "ok"]
    assert len(await desk.station.holdings()) == 6
