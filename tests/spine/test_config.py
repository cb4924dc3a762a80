"""agent.toml: every problem at once, each with its place, in words for a person."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.config import Config, load, parse
from agent.errors import ConfigError
from agent.registry import equip

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
[station]
name = "dock-0042"
agency = "example.org"
"""


def places(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_station_and_nothing_else_is_enough_and_keeps_everything() -> None:
    config = parse(GOOD)
    assert config.station.log == "edge.example.org/dock-0042/log1"
    assert (config.policy.device, config.policy.spool, config.policy.receipt) == ("keep", "keep", "signed")
    assert config.spool.read_back
    assert config.spool.watermark > 0
    assert config.station.control == config.station.state / "control.sock"


def test_every_problem_is_told_at_once_with_its_place() -> None:
    found = places(
        """
        [station]
        name = "Dock 42"
        state = 7
        spelt_wrong = 1
        [spool]
        watermark = "lots"
        [policy]
        device = "forget"
        grace = "soon"
        spool_kep = "7 d"
        [[uplink]]
        """
    )
    assert {
        "station.name",
        "station.agency",
        "station.state",
        "station.spelt_wrong",
        "spool.watermark",
        "policy.device",
        "policy.grace",
        "policy.spool_kep",
    } <= found.keys()
    assert found["station.agency"] == "is missing"
    assert "`spool_keep`" in found["policy.spool_kep"]
    assert "2 GiB" in found["spool.watermark"]
    assert "30 s" in found["policy.grace"]


@pytest.mark.parametrize(
    ("text", "length"),
    [("0 B", 0), ("1", 1), ("2 GiB", 2 << 30), ("500 MB", 500_000_000), ("1.5 kib", 1536), ("3TiB", 3 << 40)],
)
def test_lengths(text: str, length: int) -> None:
    assert parse(f'{GOOD}[spool]\nwatermark = "{text}"').spool.watermark == length


@pytest.mark.parametrize(
    "text", ["-1 B", "2 parsec", "GiB", "", "1e9", "0x10", "1,5 GiB", "٣ GiB x", f"{'9' * 400} GiB"]
)
def test_what_is_no_length(text: str) -> None:
    assert "spool.watermark" in places(f'{GOOD}[spool]\nwatermark = "{text}"')


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0 s", 0),
        ("30 s", 30),
        ("1.5 h", 5400),
        ("7 d", 604800),
        ("250ms", 0.25),
        ("2 min", 120),
        ("36500 d", 3_153_600_000),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse(f'{GOOD}[policy]\ngrace = "{text}"').policy.grace == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["-1 s", "30", "s", "1 week", "forever", "1 S", "36501 d", "1000000 d", "99999999999 d", f"{'9' * 400} s"]
)
def test_what_is_no_duration(text: str) -> None:
    assert "policy.grace" in places(f'{GOOD}[policy]\ngrace = "{text}"')


@pytest.mark.parametrize("text", ["[station", "a = 1\na = 2", "\0", "= 3"])
def test_what_is_no_toml_says_where(text: str) -> None:
    (message,) = places(text).values()
    assert "TOML" in message


def test_a_file_that_cannot_be_read_is_a_problem_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load(tmp_path / "missing.toml")
    (tmp_path / "latin1.toml").write_bytes(b'name = "D\xfcsseldorf"')
    with pytest.raises(ConfigError, match="is no text in UTF-8"):
        load(tmp_path / "latin1.toml")
    os.mkfifo(tmp_path / "ok")
    (tmp_path / "good.toml").write_text(GOOD)
    loaded, parsed = load(tmp_path / "good.toml"), parse(GOOD)
    assert loaded.trust == tmp_path / "releaser-good.json"  # beside the file, whoever runs the daemon
    same = parsed.custody.model_copy(update={"trust": loaded.trust})
    assert loaded == parsed.model_copy(update={"custody": same})


def test_a_configuration_cannot_be_changed_after_it_was_read() -> None:
    config = parse(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        config.policy.device = "release"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("more", "place", "sentence"),
    [
        ('nmae = "x"\n', "station.nmae", "is not known here; is `name` meant?"),
        ('watermark = "1 GiB"\n', "station.watermark", "is not known here; is `watermark` under [spool] meant?"),
        ("[[drivers]]\n", "drivers", "is not known here; is `driver` meant?"),
        ('[[custody.witness]]\nvkey = "x"\nurl = "http://w"\nurll = "y"\n', "custody.witness[0].urll", "`url` meant?"),
        ('[[traffic.class]]\nname = "bulk"\nclaims = {}\nclaim = {}\n', "traffic.class[0].claim", "`claims` meant?"),
        ("[zzzz]\n", "zzzz", "is not known here; is it misspelt?"),
    ],
)
def test_what_may_have_been_meant_is_said(more: str, place: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f'[station]\nname = "a"\nagency = "example.org"\n{more}')
    assert [(one.path, sentence in one.message) for one in caught.value.problems] == [(place, True)]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"use": "tsu", "name": "x"}, ["uplink[0].use", "; is tus meant?"]),
        (
            {"use": "tus", "name": "x", "url": "https://dems.example.org/", "receipt_key": []},
            ["uplink[0].receipt_key", "is not known here; is `receipt_keys` meant?"],
        ),
    ],
)
def test_what_may_have_been_meant_in_a_table_of_equipment(table: dict[str, object], told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        equip(Config(station={"name": "a", "agency": "example.org"}, uplink=(table,)))
    (problem,) = caught.value.problems
    assert problem.path == told[0]
    assert problem.message.endswith(told[1])
