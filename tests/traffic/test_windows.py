"""Hours of the week, around both changes of daylight saving."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agent.traffic.windows import Window

TORONTO = ZoneInfo("America/Toronto")


def minutes_open(text: str, begin: datetime, hours: int) -> int:
    window = Window.parse(text)
    return sum(window.open_at((begin + timedelta(minutes=minute)).astimezone(TORONTO)) for minute in range(hours * 60))


@pytest.mark.parametrize(
    ("text", "spring", "usual", "autumn"),
    [
        ("01:30-03:30", 60, 120, 150),
        ("02:00-03:00", 0, 60, 60),
        ("01:00-02:00", 60, 60, 120),
        ("22:00-06:00", 420, 480, 540),
        ("00:00-00:00", 23 * 60, 24 * 60, 25 * 60),
    ],
)
def test_a_window_lasts_as_long_as_the_wall_clock_shows_it(text: str, spring: int, usual: int, autumn: int) -> None:
    """From noon to noon, around 8 March 2026, a common night, and 1 November 2026."""
    for day, expected in (((2026, 3, 7), spring), ((2026, 6, 10), usual), ((2026, 10, 31), autumn)):
        begin = datetime(*day, 12, tzinfo=TORONTO).astimezone(UTC)
        end = (datetime(*day, 12, tzinfo=TORONTO) + timedelta(days=1)).astimezone(UTC)
        assert minutes_open(text, begin, round((end - begin).total_seconds() / 3600)) == expected


@pytest.mark.parametrize(
    ("text", "moment", "is_open"),
    [
        ("Mon-Fri 22:00-06:00", "2026-11-20 23:00", True),  # Friday
        ("Mon-Fri 22:00-06:00", "2026-11-21 05:59", True),  # it opened on Friday
        ("Mon-Fri 22:00-06:00", "2026-11-21 06:00", False),
        ("Mon-Fri 22:00-06:00", "2026-11-21 23:00", False),  # Saturday
        ("Mon-Fri 22:00-06:00", "2026-11-23 05:00", False),  # Sunday's night is not Monday's
        ("Sat-Sun 08:00-20:00", "2026-11-22 08:00", True),
        ("Fri-Mon 08:00-20:00", "2026-11-23 19:59", True),
        ("Fri-Mon 08:00-20:00", "2026-11-24 12:00", False),
        ("Sun 08:00-24:00", "2026-11-22 23:59", True),
        ("Sun 08:00-24:00", "2026-11-23 00:00", False),
    ],
)
def test_days_are_those_on_which_it_opens(text: str, moment: str, is_open: bool) -> None:  # noqa: FBT001 - the row of a table
    assert Window.parse(text).open_at(datetime.fromisoformat(moment).replace(tzinfo=TORONTO)) is is_open


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-6",
        "25:00-26:00",
        "01:00-25:00",
        "22:00-24:30",
        "22:00-30:00",
        "Xyz 01:00-02:00",
        "Mon-Xyz 01:00-02:00",
        "Mo 01:00-02:00",
    ],
)
def test_what_is_no_window_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a window|no clock shows|days are written"):
        Window.parse(text)
