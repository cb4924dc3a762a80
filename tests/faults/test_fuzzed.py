"""What the fuzzer's ledger says: how many made-up inputs each group of parsers was given, and how many broke it.

`make fuzz` writes docs/fuzzed.json, in hours; this only sums it up for the report.
"""

from __future__ import annotations

import json

import pytest

from tests.faults.form import LONG
from tests.faults.report import reached
from tests.formats.fuzz import LEDGER
from tests.formats.parsers import PARSERS

EACH = 10_000_000
GROUPS = {
    "films and what lies in them": ["film", "gpmf", "camm", "freegps", "any"],
    "tracks and volumes": ["gps", "3gf", "trail", "axis words", "layouts", "receiver", "gpsd", "tag"],
    "number plates": ["hikvision", "plates", "onvif", "openalpr", "axis plates", "plate recognizer", "templated"],
    "documents": ["json", "multipart", "xml", "notes", "note", "ng911"],
    "cars and cameras that are asked": ["modbus", "trigger dock", "blackvue http", "gopro http"],
    "recorders of rooms": ["vapix list", "vapix export", "replay"],
    "firmware": ["dfu", "uimage", "fit", "rauc", "mender"],
}


def test_every_parser_belongs_to_a_group() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(PARSERS)


@pytest.mark.skipif(not LONG, reason="in the long form only: it reads what `make fuzz` wrote")
def test_what_the_ledger_says() -> None:
    sums = json.loads(LEDGER.read_text())
    inputs, broke = ({name: sums.get(name, {}).get(what, 0) for name in PARSERS} for what in ("inputs", "broke"))
    for group, names in GROUPS.items():
        done = sum(inputs[name] for name in names)
        # What broke a parser is kept in tests/formats/found and read by the tests: a mended one stays in the ledger.
        detail = (
            ""
            if done >= EACH
            else f"`make fuzz` was given so much time; {sum(broke[name] for name in names)} broke one"
        )
        reached(13, f"fuzzed: {group}", asked=EACH, reached=done, violations=0, detail=detail)
