"""The index against brute force, what damages it, and what a look costs in memory."""

from __future__ import annotations

import json
import random
import resource
import string
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.alpr.hotlist import building
from drivers.alpr.hotlist.building import build
from drivers.alpr.hotlist.emulator import invented, write_list
from drivers.alpr.hotlist.errors import BadList
from drivers.alpr.hotlist.index import Index
from drivers.alpr.hotlist.layouts import known_layouts
from drivers.alpr.hotlist.plates import folded

if TYPE_CHECKING:
    from pathlib import Path

LISTED = st.lists(st.text("0OD1I2Z5S8BA", min_size=2, max_size=6), min_size=1, max_size=60)


def made(folder: Path, plates: list[str]) -> Index:
    source, target = folder / "list", folder / "list.index"
    source.write_text("".join(f"{plate}\n" for plate in plates))
    target.unlink(missing_ok=True)
    build(source, known_layouts()["plates"], target, {"list": "x"})
    return Index.open(target)


@given(listed=LISTED, asked=st.text("0OD1I2Z5S8BA", min_size=2, max_size=6))
@settings(max_examples=60, deadline=None)
def test_it_finds_what_brute_force_finds(
    tmp_path_factory: pytest.TempPathFactory, listed: list[str], asked: str
) -> None:
    listed = [plate for plate in listed if plate not in ("00", "000")]
    if not listed:
        return
    index = made(tmp_path_factory.mktemp("index"), listed)
    try:
        for plate in {asked, *listed}:
            assert {entry.plate for entry in index.find(plate)} == {
                other for other in listed if folded(other) == folded(plate)
            }
    finally:
        index.close()


def test_a_large_list_is_sorted_on_disk_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_SPILL", 64 * 1024)
    plates = list(invented(8_000))
    count = write_list(tmp_path / "list.txt", iter(plates))
    told = build(tmp_path / "list.txt", known_layouts()["ncic_fixed"], tmp_path / "x.index", {"list": "x"})
    assert told["plates"] == count
    assert list(tmp_path.glob(".build*")) == [], "nothing is left beside it"
    index = Index.open(tmp_path / "x.index")
    chance = random.Random(3)
    for number in chance.sample(range(count), 500):
        found = index.find(plates[number])
        assert plates[number] in {entry.plate for entry in found}
        assert f"{900_000_001 + number}" in {entry.reference[1:] for entry in found if entry.reference}
    listed = {folded(plate) for plate in plates}
    missing = [plate for plate in invented(1500, seed=9) if folded(plate) not in listed]
    assert missing
    assert not any(index.find(plate) for plate in missing)
    assert (tmp_path / "x.index").stat().st_size <= 22.6 * count + 200_000, "and its few thousand texts"
    index.close()


def test_references_of_any_length_come_back(tmp_path: Path) -> None:
    references = ["R900000005", "X", "", "case 77/26 b", "R" * 60, "0", "abc", "A123456789B"]
    lines = [f"EVDK{number:03},,,ON,{reference},LP,\n" for number, reference in enumerate(references)]
    (tmp_path / "list").write_text("".join(lines))
    build(tmp_path / "list", known_layouts()["iowa"], tmp_path / "x.index", {"list": "x"})
    index = Index.open(tmp_path / "x.index")
    found = [index.find(f"EVDK{number:03}")[0].reference for number in range(len(references))]
    assert found == [reference or None for reference in references]
    index.close()


def test_whatever_is_damaged_is_no_index(tmp_path: Path) -> None:
    index = made(tmp_path, [f"EVDK{number:03}" for number in range(50)])
    index.close()
    whole = (tmp_path / "list.index").read_bytes()
    broken = tmp_path / "broken.index"
    for at in range(0, len(whole), 7):
        broken.write_bytes(whole[:at])
        with pytest.raises(BadList):
            Index.open(broken)
    for at in (*range(128), *range(128, len(whole), 13)):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            Index.open(broken).close()
        except BadList:
            continue
        assert 24 <= at < 32 or 80 <= at < 128, f"byte {at} can be changed unseen"
    (tmp_path / "link.index").symlink_to(tmp_path / "list.index")
    with pytest.raises(BadList):
        Index.open(tmp_path / "link.index")


def test_a_reader_goes_on_with_the_old_one(tmp_path: Path) -> None:
    old = made(tmp_path, ["EVDK001", "EVDK002"])
    (tmp_path / "second").mkdir()
    new = made(tmp_path / "second", ["EVDK003"])
    (tmp_path / "second" / "list.index").replace(tmp_path / "list.index")
    assert [entry.plate for entry in old.find("EVDK001")] == ["EVDK001"]
    assert new.find("EVDK001") == ()
    old.close()
    new.close()


def test_looks_keep_little_in_memory(tmp_path: Path) -> None:
    count = write_list(tmp_path / "list.txt", invented(12_000))
    build(tmp_path / "list.txt", known_layouts()["ncic_fixed"], tmp_path / "x.index", {"list": "x"})
    program = """
import sys, json, random, string
from pathlib import Path
from drivers.alpr.hotlist.index import Index
def mapped():
    text = open("/proc/self/smaps").read()
    return sum(int(b.split("Rss:")[1].split()[0]) for b in text.split("VmFlags")[:-1] if "x.index" in b)
index = Index.open(Path(sys.argv[1]))
chance = random.Random(5)
for _ in range(12000):
    index.find("".join(chance.choices(string.ascii_uppercase, k=4)) + f"{chance.randrange(1000):03}")
print(json.dumps(mapped() * 1024))
"""
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "x.index")], capture_output=True, text=True, check=True
    )
    assert json.loads(told.stdout) <= 4.6 * count + 65_536, "only starts and marks are mapped"


def test_the_builder_tells_nothing_of_what_it_read(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("HEADER\nEVDK042 is no such line\n")
    order = {
        "source": str(tmp_path / "list"),
        "target": str(tmp_path / "x.index"),
        "layout": known_layouts()["ncic_fixed"].model_dump(mode="json"),
        "about": {"list": "x"},
        "entries": None,
    }
    done = subprocess.run(
        [sys.executable, "-m", "drivers.alpr.hotlist.building"],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert "lines cannot be read" in json.loads(done.stdout)["error"]
    assert "EVDK042" not in done.stdout + done.stderr
    assert not (tmp_path / "x.index").exists()


def test_every_letter_is_looked_for() -> None:
    """The alphabet of the index is the whole one."""
    assert {folded(letter) for letter in string.ascii_uppercase + string.digits} == set("0123456789ACEFHJKLMNPRTUVWXY")
