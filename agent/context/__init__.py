"""Facts about the world that are joined to captures by device and time: what drivers tell, and what follows from it.

A driver calls `intake.observe(Observation(device, kind, observed_at, detail))` and nothing else. `observed_at` is the
moment of the fact by the best clock that the driver has. Fractions stand as text, as everywhere in the journal. What
every `detail` may have under `time`:

    source            whose clock `observed_at` is: `gnss`, `station`, `device`, `cad`; left out: `station`
    uncertainty_us    how far it may be off, in microseconds
    week_rollover     by how many times 1024 weeks a receiver's date is wrong: such a time is kept and never used
    said              the time as the source said it, where `observed_at` is another one

The kinds, and what their `detail` holds:

    position             latitude, longitude (decimal degrees, north and east positive), altitude_m, speed_mps,
                         course_deg, accuracy_m, fix (0 none, 2, 3), satellites, status: all may be left out
    vehicle.ignition     on: true or false
    vehicle.light_bar    on
    vehicle.siren        on
    trigger.<name>       on; without `on` it is a moment: a button, a crash, a gun that was drawn
    assignment.officer   officer: name, badge or user number; null says that nobody has the device
    assignment.unit      unit: such as "B12"; null says that the device belongs to none
    incident             incident: its number or URN; unit, officer or device: whom it concerns; category; id: what a
                         later word about the same interval repeats; withdrawn: true takes it back
    clock.compared       what the agent itself measured when the device came
    device.index         see `agent.driver.INDEX`; it is joined to nothing

Assignments and incidents may say `from` and `until` as RFC 3339; left out, `from` is `observed_at`, and the interval
lasts until further notice. Every other kind is kept as an entry and joined to nothing.

Nothing here does anything: `agent.journal.facts` keeps what was told, `agent.joining` joins it.
"""

from agent.context.intervals import DRIFT, Interval, Overlap, duration_of, folded, overlap
from agent.context.kinds import (
    EARLIEST,
    LATEST,
    POSITION,
    WORD_MAX,
    Malformed,
    Sort,
    Told,
    about_device,
    about_officer,
    about_unit,
    place_of,
    told_of,
    uncertainty_of,
    unusable_time,
)
from agent.context.options import CategoryRule, ContextOptions, TriggerRule, Vehicle

__all__ = [
    "DRIFT",
    "EARLIEST",
    "LATEST",
    "POSITION",
    "WORD_MAX",
    "CategoryRule",
    "ContextOptions",
    "Interval",
    "Malformed",
    "Overlap",
    "Sort",
    "Told",
    "TriggerRule",
    "Vehicle",
    "about_device",
    "about_officer",
    "about_unit",
    "duration_of",
    "folded",
    "overlap",
    "place_of",
    "told_of",
    "uncertainty_of",
    "unusable_time",
]
