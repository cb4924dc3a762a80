"""Layouts as data: the lines that the reference gives for each, and what a line that does not fit is told by."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError
from drivers.alpr.hotlist.building import build
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.index import Entry, Index
from drivers.alpr.hotlist.layouts import BadLine, Layout, Skipped, known_layouts, reader_of

if TYPE_CHECKING:
    from pathlib import Path

# Invented plates in the columns that an importer shipped to services in the United States reads (its parsers/*.py).
LINES = [
    (
        "ncic_fixed",
        "V900000001ON000000020261122EVDK042   0N2027PC2019F0RDESCLLBLU",
        Entry("EVDK042", "stolen_vehicle", "CA-ON", "V900000001", "2019 F0RD ESC LL BLU"),
    ),
    (
        "ncic_csv_11",
        "V900000003,0N0000000,20261122,EVDK0Q2,0N,2027,2019,F0RD,ESC,LL,BLU",
        Entry("EVDK0Q2", "stolen_vehicle", "CA-ON", "V900000003", "2019 F0RD ESC LL BLU"),
    ),
    (
        "ncic_csv_12",
        "P900000004,ON0000000,20261121,EVDK31B,ON,2027,PC,2016,MAZD,MZ3,4D,WHI",
        Entry("EVDK31B", "stolen_plate", "CA-ON", "P900000004", "2016 MAZD MZ3 4D WHI"),
    ),
    (
        "michigan",
        "R900000002ON000000020261119EVDK701   0N2027PC2021T0YTCOR4DGRY    STOLEN VEHICLE CPIC",
        Entry("EVDK701", "stolen_canadian", "CA-ON", "R900000002", "2021 T0YT COR 4D GRY STOLEN VEHICLE CPIC"),
    ),
    ("new_york", "EVDK15    ONPASRHONDRD", Entry("EVDK15", "stolen_canadian", "CA-ON", None, "HOND RD")),
    (
        "illinois",
        "EVDK88  WIPCSTOLEN VYR/18 VMA/DODG VMO/RAM VST/PK VCO/BLK     DOT/112126 LDS/V26Z0001",
        Entry("EVDK88", "stolen_vehicle", "US-WI", "V26Z0001", "18 DODG RAM PK BLK"),
    ),
    ("california", "EVDK9   CA1220261120", Entry("EVDK9", "stolen_vehicle", "US-CA", None, None)),
    (
        "iowa",
        "EVDK512   ,2027,PC,ON,R900000005,CNVP,ON0000000",
        Entry("EVDK512", "stolen_canadian", "CA-ON", "R900000005", None),
    ),
    ("plates", "EVDK77", Entry("EVDK77", "listed", None, None, None)),
]
IDS = [line[0] for line in LINES]


@pytest.mark.parametrize(("layout", "line", "entry"), LINES, ids=IDS)
def test_a_line_of_each_layout(layout: str, line: str, entry: Entry) -> None:
    assert reader_of(known_layouts()[layout])(line) == entry


@pytest.mark.parametrize(("layout", "line", "entry"), LINES, ids=IDS)
def test_a_line_cut_anywhere_is_an_entry_or_a_reason(layout: str, line: str, entry: Entry) -> None:
    read = reader_of(known_layouts()[layout])
    for end in range(len(line)):
        try:
            found = read(line[:end])
        except (BadLine, Skipped) as error:
            told = str(error)
        else:
            told = ""
            assert entry.plate.startswith(found.plate)
        assert entry.plate not in told


@pytest.mark.parametrize("layout", sorted(known_layouts()))
@given(line=st.text(max_size=300))
@settings(max_examples=60)
def test_any_line_is_an_entry_or_a_reason(layout: str, line: str) -> None:
    made = known_layouts()[layout]
    read = reader_of(made, ("Plate Number", "Description", "State/Province") if made.named_columns else ())
    try:
        entry = read(line)
    except (BadLine, Skipped):
        return
    assert 2 <= len(entry.plate) <= 12
    assert all(text is None or text.isprintable() for text in entry)
    json.dumps(entry)


def test_letters_mean_what_the_layout_says() -> None:
    read = reader_of(known_layouts()["new_york"])
    assert read("EVDK15    ONPASSHONDRD").category == "sex_offender"
    assert read("EVDK15    ONPASYHONDRD").category == "other:Y"


@pytest.mark.parametrize(
    "plate", ["UNKNOWN", "NONE", "NOTAG", "TEMP", "TEMP123", "60DAY", "NOTAVAIL", "0", "00", "000"]
)
def test_a_word_for_no_plate_is_not_looked_for(plate: str) -> None:
    with pytest.raises(Skipped):
        reader_of(known_layouts()["plates"])(plate)


def built(tmp_path: Path, name: str, text: bytes | str, entries: int | None = None) -> tuple[dict[str, object], Index]:
    source, target = tmp_path / "list", tmp_path / "list.index"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    target.unlink(missing_ok=True)
    told = build(source, known_layouts()[name], target, {"list": "x"}, entries=entries)
    return told, Index.open(target)


CALIFORNIA = "DATE11/22/2026 09:00\nEVDK9   CA1220261120\nEVDK8   CA1220261120\nTOTAL RECORD 0000002\n"


def test_a_header_tells_the_age_and_a_trailer_the_number(tmp_path: Path) -> None:
    told, index = built(tmp_path, "california", CALIFORNIA)
    assert told["as_of"] == int(datetime(2026, 11, 22, 17, 0, tzinfo=UTC).timestamp()), "nine o'clock in Los Angeles"
    assert index.plates == 2
    index.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (CALIFORNIA.replace("0000002", "0000003"), "its trailer says 3"),
        (CALIFORNIA.rpartition("TOTAL")[0], "was cut off"),
        (CALIFORNIA.replace("DATE", "DATA"), "does not begin with the header"),
        (CALIFORNIA.replace("11/22", "13/22"), "no date"),
        ("", "no line of the list holds a plate"),
    ],
)
def test_a_list_that_is_not_whole_is_none(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(BadList, match=why):
        built(tmp_path, "california", text)
    assert not (tmp_path / "list.index").exists()


def test_a_manifest_tells_the_number_too(tmp_path: Path) -> None:
    with pytest.raises(BadList, match="its manifest says 3"):
        built(tmp_path, "california", CALIFORNIA, entries=3)


def test_lines_that_fail_are_told_by_number_and_never_by_what_they_hold(tmp_path: Path) -> None:
    lines = [f"EVDK{number:03}" for number in range(300)]
    lines[17] = "EVDK\xe9"
    text = "\n".join(lines).encode("latin-1") + b"\nTEMP7\n\n" + b"X" * 10_000 + b"\n"
    told, index = built(tmp_path, "plates", text)
    assert index.plates == 299
    assert told["bad_lines"] == [18, 303]
    assert told["bad"] == {"it is not utf-8": 1, "it is too short or too long": 1}
    assert told["skipped"] == {"no plate but a word for none": 1, "empty": 1}
    index.close()


def test_too_many_bad_lines_are_another_layout(tmp_path: Path) -> None:
    text = "HEADER\n" + "V900000001ON000000020261122EVDK042   0N2027PC2019F0RDESCLLBLU\n" * 50 + "x\n" * 3
    with pytest.raises(BadList, match="3 of 54 lines"):
        built(tmp_path, "ncic_fixed", text)


def test_named_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    _, index = built(tmp_path, "simple", "\ufeffState/Province,Plate Number,Description\nON,EVDK 042,amber\n,,\n")
    assert index.find("EVDK042") == [Entry("EVDK042", "amber", "CA-ON", None, None)]
    index.close()
    with pytest.raises(BadList, match="does not name the columns"):
        built(tmp_path, "simple", "Plate,What\nEVDK042,amber\n")


def test_the_same_plate_in_two_categories_is_two_entries(tmp_path: Path) -> None:
    text = "Plate Number,Description,State/Province\nEVDK042,a,ON\nEVDK042,b,ON\nEVDK042,a,ON\n"
    _, index = built(tmp_path, "simple", text)
    assert {entry.category for entry in index.find("EVDK042")} == {"a", "b"}
    assert index.plates == 2
    index.close()


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ('[layout.x]\nkind = "fixed"\n', "plate"),
        ('[layout.x]\nkind = "fixed"\nfields = { plate = { column = 1 } }\n', "at"),
        ('[layout.x]\nkind = "delimited"\nfields = { plate = { at = [0, 2] } }\n', "column"),
        ('[layout.x]\nkind = "lines"\nfields = { name = { at = [0, 2] } }\n', "no such field"),
        ("[layout.x]\nkind = 'lines'\nskip = ['(']\n", "unterminated|missing"),
        ("[layout.x\n", "table|Expected"),
    ],
)
def test_a_layout_that_cannot_be_used_stops_the_start(tmp_path: Path, table: str, why: str) -> None:
    (tmp_path / "mine.toml").write_text(table)
    with pytest.raises(ConfigError, match=why):
        known_layouts([tmp_path / "mine.toml"])


def test_a_service_brings_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[layout.mine]\nkind = "lines"\ncategory = "ours"\n')
    layout = known_layouts([tmp_path / "mine.toml"])["mine"]
    assert isinstance(layout, Layout)
    assert reader_of(layout)("evdk-1").category == "ours"
