"""What `make faults` runs, in order: parts that end by themselves, and what the whole is asked to show."""

from __future__ import annotations

from dataclasses import dataclass, field

ROWS = {
    1: ("SIGKILL at any moment of ingest, forward and release", "10,000 points"),
    2: ("power cut replayed at every recorded write", "10,000 ext4, 2,500 xfs, 2,500 btrfs, 1,000 vfat"),
    3: ("the n-th call fails, n up to 500", "every call, every error; no false promise"),
    4: ("fsync reports an error once, then success", "three file systems"),
    5: ("device pulled, put back, or another in its place", "200 points, no mixed or partial capture"),
    6: ("disk full at every allocation, inodes, quota", "goes on by itself within 60 s"),
    7: ("bit flips", "each detected, set aside and named"),
    8: ("the DEMS dies, lies, stalls and forgets", "held until proven"),
    9: ("clocks", "order and proofs hold"),
    10: ("schema migration killed; a newer journal", "1,000 points; old or new, never neither"),
    11: ("sixty cameras in one second, a slow uplink", "under 512 MB, each bay within 30 s, watermark kept"),
    12: ("thirty days of a station, by a seeded model", "1,000 days, 0 violations"),
    13: ("hostile devices", "100,000 trees, 0 escapes; 10,000,000 inputs per group of parsers"),
    14: ("attacks", "0 findings open"),
    15: ("the lab itself: what is removed on purpose turns it red", "every one"),
}
WHOLE = 3600
"""Seconds that all parts may take together. What grows with its time gets five eighths of what all its cases take on
two quiet processors: with `--minutes 100` all of them are reached."""


@dataclass(frozen=True)
class Part:
    """One run of pytest."""

    name: str
    rows: tuple[int, ...]
    tests: tuple[str, ...]
    """Arguments for pytest."""
    seconds: int
    """After these it is ended; its loops end by themselves a little earlier."""
    workers: int = 2
    environment: dict[str, str] = field(default_factory=dict)


BITS = ("device_bits", "wire_bits", "order", "wal_bits", "journal_bits")
"""Those that take as much time as there is come last; so in each part."""
PARTS: tuple[Part, ...] = (
    Part(
        "kills",
        (1,),
        ("tests/faults/test_kill.py", "tests/faults/test_window.py", "tests/faults/test_bounds.py"),
        545,
        workers=3,  # a life waits for its disk and for its end
    ),
    Part("calls", (3,), ("tests/faults/test_calls.py",), 555, workers=3),  # who failed waits for the next try
    Part("bits", (1, 7), tuple(f"tests/faults/test_{name}.py" for name in BITS), 125),
    Part("the DEMS", (8,), ("tests/faults/test_dems.py",), 115),
    Part("clocks", (9,), ("tests/faults/test_clock.py",), 45),
    Part("days", (12,), ("tests/faults/test_days.py",), 255),
    Part("surge", (11,), ("tests/faults/test_surge.py",), 110, workers=1),
    Part("attacks", (14,), ("tests/faults/test_attacks.py",), 190),
    Part("the lab", (15,), ("tests/faults/test_mutations.py",), 130),
    Part("trees", (13,), ("tests/faults/test_fuzzed.py", "tests/faults/test_trees.py"), 100),
    # A record that is made waits for its cameras and its DEMS.
    Part("power", (2,), ("tests/faults/test_power.py",), 680, workers=3),
    Part("a camera's card", (2,), ("tests/faults/test_volume.py",), 100, workers=3),
    Part("lying disks", (4,), ("tests/faults/test_lying_disk.py",), 205),
    Part("pulled", (5,), ("tests/faults/test_pulled.py",), 130),
    Part("full disks", (6,), ("tests/faults/test_full_disk.py",), 215),
    Part("migration", (10,), ("tests/faults/test_migration.py",), 100),
)
