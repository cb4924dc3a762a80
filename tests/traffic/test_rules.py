"""Which class a capture is of, and what that class may do on which link."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.capture import Capture, Device, Priority
from agent.config import parse
from agent.errors import ConfigError
from agent.traffic import LinkClass, Traffic, class_of, day_of, verdict

RULES = """
[station]
name = "dock-1"
agency = "example.org"

[traffic]
timezone = "America/Toronto"
station_wifi = ["EVIDENCE"]
bandwidth = "20 Mbit/s"
newest_first = ["hit"]

[[traffic.class]]
name = "use_of_force"
claims = { "event.category" = "*force*" }

[[traffic.class]]
name = "hit"
family = "alpr"
claims = { hit = true }

[[traffic.class]]
name = "flagged"
key = "*/EVENT/*"

[[traffic.class]]
name = "bulk"
media_type = "video/*"
claims = { triggers = "parking" }

[[traffic.rule]]
classes = ["use_of_force", "hit"]
links = ["lte", "metered"]
beyond_budget = true

[[traffic.rule]]
links = ["lte", "metered", "other_wifi", "unknown"]
content = false

[[traffic.rule]]
classes = ["bulk"]
content = ["Mon-Fri 22:00-06:00", "Sat-Sun 00:00-00:00"]
metadata = false

[traffic.on.lte]
budget = "2 GB"
bandwidth = "500 kB/s"
"""


def capture(key: str = "DCIM/1.MP4", family: str = "body_worn", **fields: object) -> Capture:
    return Capture(Device("usb:1", family, "dock"), key, None, 1, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return parse(RULES).traffic


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (capture(), Priority.ROUTINE),
        (capture(priority=Priority.INTERVIEW), Priority.INTERVIEW),
        (capture(claims={"event": {"category": "Use of Force"}}), Priority.USE_OF_FORCE),
        (capture(claims={"event.category": "force"}), Priority.USE_OF_FORCE),
        (capture(claims={"event": "force"}), Priority.ROUTINE),
        (capture(family="alpr", claims={"hit": True}), Priority.HIT),
        (capture(family="alpr", claims={"hit": False}), Priority.ROUTINE),
        (capture(claims={"hit": True}), Priority.ROUTINE),
        (capture("DCIM/event/1.MP4"), Priority.FLAGGED),
        (capture(media_type="video/mp4", claims={"triggers": ["motion", "Parking"]}), Priority.BULK),
        (capture(media_type="video/mp4", claims={"triggers": [{"parking": 1}, None]}), Priority.ROUTINE),
    ],
)
def test_the_first_rule_that_fits_names_the_class(traffic: Traffic, told: Capture, expected: Priority) -> None:
    assert class_of(traffic, told) is expected


NIGHT = datetime(2026, 11, 24, 4, tzinfo=UTC)  # Monday 23:00 in Toronto
DAY = datetime(2026, 11, 24, 17, tzinfo=UTC)  # Tuesday noon


@pytest.mark.parametrize(
    ("priority", "link", "now", "content", "metadata"),
    [
        (Priority.ROUTINE, LinkClass.WIRED, DAY, True, True),
        (Priority.ROUTINE, LinkClass.LTE, NIGHT, False, True),
        (Priority.HIT, LinkClass.LTE, DAY, True, True),
        (Priority.HIT, LinkClass.UNKNOWN, DAY, False, True),
        (Priority.BULK, LinkClass.WIRED, DAY, False, False),
        (Priority.BULK, LinkClass.STATION_WIFI, NIGHT, True, False),
        (Priority.BULK, LinkClass.LTE, NIGHT, False, True),
        (Priority.BULK, LinkClass.WIRED, DAY.replace(hour=10), True, False),  # five in the morning there
        (Priority.BULK, LinkClass.WIRED, DAY.replace(hour=23), False, False),  # six in the evening there
        (Priority.FIRST, LinkClass.OFFLINE, DAY, False, False),
    ],
)
def test_what_may_go(
    traffic: Traffic,
    priority: Priority,
    link: LinkClass,
    now: datetime,
    content: bool,  # noqa: FBT001 - the row of a table
    metadata: bool,  # noqa: FBT001
) -> None:
    found = verdict(traffic, priority, link, now)
    assert (found.content, found.metadata) == (content, metadata)
    assert bool(found.reason) is not content


def test_the_examples_of_the_documentation_are_what_the_program_reads() -> None:
    """Both of the traffic, as they stand there; the destinations with keys that are keys."""
    text = (Path(__file__).parents[2] / "docs" / "uplinks.md").read_text("utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    station = '[station]\nname = "d"\nagency = "example.org"\n'
    (destinations,) = [one for one in blocks if 'role = "fallback"' in one]
    classes, links = blocks[-2:]
    found = parse(station + destinations)
    assert [one.get("role", "primary") for one in found.uplink] == ["primary", "fallback", "copy"]
    assert len(parse(station + classes).traffic.classify) == 3
    assert parse(station + links).traffic.on[LinkClass.LTE].budget == 2_000_000_000


def test_without_rules_everything_may_go() -> None:
    assert all(
        verdict(Traffic(), one, link, DAY).content
        for one in Priority
        for link in LinkClass
        if link != LinkClass.OFFLINE
    )


def test_a_day_is_one_of_the_stations_zone(traffic: Traffic) -> None:
    assert day_of(traffic, NIGHT) == "2026-11-23"


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ('[traffic]\ntimezone = "Mars/Olympus"', "traffic.timezone"),
        ('[traffic]\nbandwidth = "fast"', "traffic.bandwidth"),
        ('[[traffic.class]]\nname = "urgent"', "traffic.class[0].name"),
        ('[[traffic.rule]]\ncontent = ["at night"]', "traffic.rule[0].content"),
        ('[[traffic.rule]]\nlinks = ["5g"]', "traffic.rule[0].links[0]"),
        ('[traffic.on.lte]\nbudget = "much"', "traffic.on.lte.budget"),
        ("[traffic]\nagging = 1", "traffic.agging"),
    ],
)
def test_each_mistake_has_its_place(wrong: str, place: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(f'[station]\nname = "d"\nagency = "example.org"\n{wrong}')
    assert any(problem.path.startswith(place) for problem in error.value.problems), error.value.problems
