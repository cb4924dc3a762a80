"""Folders that somebody built to hurt us: whatever is in them, nothing from outside is ever read, and nothing hangs.

Each tree is looked through, and everything that is offered is read, by the two drivers that walk through folders of
strangers. In the second test somebody exchanges folders for links while the driver is on its way through them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest

from agent.errors import DeviceError
from drivers.body_worn.usb_volume.clip import _Reader
from drivers.body_worn.usb_volume.volume import Volume, look
from drivers.body_worn.usb_volume.walk import walk
from drivers.body_worn.usb_volume.wire import Wire
from drivers.interview_room.drop_folder.film import Reading
from drivers.interview_room.drop_folder.looking import look_through
from drivers.interview_room.drop_folder.share import Share
from drivers.interview_room.drop_folder.wire import Wire as ShareWire
from firmware_specs.formats.layout import layout
from tests.faults.form import SEED, form, time_is_over, why
from tests.faults.report import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

TREES = form(300, 100_000)
WALKS = form(40, 4_000)
CAMPAIGNS = form(1, 4)
SECRET = b"from outside of the volume"
NAMES = [
    *("DCIM", "100MEDIA", "101EVDCK", "CLIP0001.MP4", "CLIP0002.MOV", "MISC", "WIDKEY", "Films", "a.mp4", "b.mp4.part"),
    *("..MP4", "%2e%2e", "%2f", "..%2f..", "a\nb.MP4", "\x1b[31m.MP4", "\u202egnp.MP4", "-rf", "CON", " ", ".", "..."),
    *("\udcff\udcfe.MP4", "n" * 250, "\\", "$(id)", "`id`.MP4", ";x", "名前.MP4", "._CLIP0001.MP4", ".evidock", "~$x"),
]
LINKS = [
    "../outside/secret",
    "../../outside",
    "../../../outside/secret",
    "/",
    "/etc/passwd",
    "/proc/self/environ",
    ".",
    "..",
]
LINKS += ["/dev/zero", "/nowhere", "CLIP0001.MP4"]


@pytest.fixture
def ground() -> Iterator[Path]:
    """A place where a hundred thousand trees cost no disk: in memory, where there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own below it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        (Path(folder) / "outside").mkdir()
        (Path(folder) / "outside" / "secret").write_bytes(SECRET)
        yield Path(folder)


def grow(path: Path, chance: Random, outside: Path, depth: int, plain: dict[bytes, bytes]) -> None:
    """A few names of any kind; the plain files among them by path."""
    for name in chance.sample(NAMES, chance.randrange(1, 6)):
        here = path / name
        if name == ".":
            continue
        match chance.choice(("file", "file", "folder", "folder", "link", "link", "pipe", "hard", "deep", "sparse")):
            case "file":
                here.write_bytes(data := chance.randbytes(chance.randrange(40)))
                plain[os.fsencode(here)] = data
            case "folder" if depth < 4:
                here.mkdir()
                grow(here, chance, outside, depth + 1, plain)
            case "deep":
                for _ in range(chance.choice((3, 4, 5, 20))):
                    here.mkdir()
                    here /= "d"
            case "link":
                here.symlink_to(chance.choice(LINKS))
            case "pipe":
                os.mkfifo(here)
            case "hard":
                os.link(outside / "secret", here)
            case _:
                with here.open("wb") as file:
                    file.truncate(1 << 62 if chance.random() < 0.3 else chance.randrange(100_000))


def of_a_volume(root: Path) -> dict[bytes, bytes]:
    """What the driver of cameras offers, and gives."""
    found = look(root, must_be_mountpoint=False)
    assert found is not None
    volume = Volume(found, Wire())
    given: dict[bytes, bytes] = {}
    for entry in walk(volume, layout("dcf"), 10_000).entries:
        if entry.length < 1000:
            reader = _Reader(volume, entry, 0)
            try:
                given[unquote_to_bytes(entry.key)] = b"".join(reader.whole())
            except (DeviceError, OSError):
                continue
            finally:
                reader.close()
    return given


def of_a_share(root: Path) -> dict[bytes, bytes]:
    """What the driver of interview rooms offers, and gives."""
    share = Share(root, None, ShareWire())
    share.look()
    given: dict[bytes, bytes] = {}
    for entry in look_through(share, 10_000).entries:
        if entry.length < 1000:
            reading = Reading(share, entry, 0, ())
            try:
                given[unquote_to_bytes(entry.key)] = reading.next()
            except (DeviceError, OSError):
                continue
            finally:
                reading.close()
    return given


DRIVERS = [of_a_volume, of_a_share]


@pytest.mark.parametrize("driver", DRIVERS)
def test_who_exchanges_folders_for_links_meanwhile_gains_nothing(ground: Path, driver: object) -> None:
    root = ground / "volume"
    (ground / "outside" / "CLIP0001.MP4").write_bytes(SECRET)
    (ground / "outside" / "100MEDIA").mkdir()
    (ground / "outside" / "100MEDIA" / "CLIP0001.MP4").write_bytes(SECRET)
    (root / "DCIM" / "100MEDIA").mkdir(parents=True)
    (root / "DCIM" / "100MEDIA" / "CLIP0001.MP4").write_bytes(b"sound")
    ended, swaps = threading.Event(), [0]

    def swap() -> None:
        media, clip = root / "DCIM" / "100MEDIA", root / "DCIM" / "100MEDIA" / "CLIP0001.MP4"
        (root / "link").symlink_to(ground / "outside")
        while not ended.is_set():
            for what, target in ((media, "folder"), (clip, "file"), (root / "DCIM", "root")):
                aside = root / f"aside-{target}"
                what.rename(aside)
                what.symlink_to(ground / "outside" / ("CLIP0001.MP4" if target == "file" else ""))
                what.unlink()
                aside.rename(what)
                swaps[0] += 1

    attacker = threading.Thread(target=swap)
    attacker.start()
    while swaps[0] <= 10 and attacker.is_alive():
        time.sleep(0.001)  # in a burst of walks it would not get its turn
    done, escapes = 0, 0
    try:
        for _ in range(WALKS):
            if time_is_over():
                break
            try:
                given = driver(root)
            except (DeviceError, OSError):
                given = {}
            escapes += sum(SECRET in data for data in given.values())
            done += 1
    finally:
        ended.set()
        attacker.join()
    what = f"walks while folders become links ({driver.__name__.removeprefix('of_')})"
    reached(13, what, asked=WALKS, reached=done, violations=escapes, detail=why(WALKS, done))
    assert not escapes
    assert swaps[0] > 10


@pytest.mark.parametrize("campaign", range(CAMPAIGNS))
def test_no_tree_leads_out_of_itself(ground: Path, campaign: int) -> None:
    seed, done, escapes, given = SEED * 1_000_003 + campaign, 0, list[str](), 0
    chance, asked = Random(seed), TREES // CAMPAIGNS
    for number in range(asked):
        if time_is_over():
            break
        root, plain = ground / f"{number}", dict[bytes, bytes]()
        (root / "DCIM").mkdir(parents=True)
        grow(root / "DCIM", chance, ground / "outside", 0, plain)
        for driver in DRIVERS:
            for key, data in driver(root).items():
                given += 1
                if plain.get(os.fsencode(root) + b"/" + key, bytes(len(data))) != data or SECRET in data:
                    escapes.append(f"tree {number} of seed {seed}: {driver.__name__} gave {key!r}")
        shutil.rmtree(root)
        done += 1
    assert given >= done / 10, "too little was given for this to show anything"
    reached(
        13,
        "hostile trees, two drivers",
        asked=asked,
        reached=done,
        violations=len(escapes),
        seed=seed,
        detail=why(asked, done),
    )
    assert not escapes, "\n".join(escapes[:10])
