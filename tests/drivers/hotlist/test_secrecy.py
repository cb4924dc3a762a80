"""A plate that is on no list is sent through every door and every error; afterwards it is looked for everywhere."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
from typer.testing import CliRunner

from agent import cli
from agent.testing.ports import free_port
from agent.testing.process import COMMAND, DaemonProcess
from drivers.alpr.emulator import MESSAGES, Passage, Sender, Sent, jpeg
from drivers.alpr.hotlist import secrecy
from drivers.alpr.hotlist.emulator import Publisher, public_pem
from tests.drivers.alpr.rig import AUTOVU, SECRET
from tests.drivers.hotlist.rig import LISTED, trace

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PLATE = "ZQX7W41"
"""Of a car that nobody looks for. Random text seldom holds seven given characters."""
PICTURE = jpeg(6000, "a private car")
MARKS = (PLATE, PLATE.lower(), "ZQX 7W41", "ZQX-7W41", PICTURE[40:56].hex())
OUTPUTS = (
    "status --json",
    "device list --json",
    "capture list --json",
    "journal tail --count 1000 --json",
    "journal export",
    "hotlist status --json",
    "hotlist hits",
    "hotlist export-audit",
)
"""Commands that tell of reads, or could."""
LONG = "EVIDOCK_HOTLISTS_LONG" in os.environ
MAKERS = ("hikvision", "openalpr", "axis", "platerecognizer", "generic")


class Car:
    """A station with five cameras and a list."""

    def __init__(self, folder: Path, **hotlist: Any) -> None:  # noqa: ANN401 - options
        self.folder, self.port, self.status_port = folder, free_port(), free_port()
        secret = folder / "secret"
        secret.write_text(SECRET)
        (folder / "published").mkdir()
        (folder / "drop").mkdir()
        publisher = self.publisher = Publisher(folder / "published")
        (folder / "key.pem").write_bytes(public_pem(publisher.key))
        path = publisher.publish(iter(LISTED))
        path.rename(folder / "drop" / "list")
        (folder / "published" / "region.txt.jws").rename(folder / "drop" / "list.jws")
        cameras = [
            {
                "name": maker,
                "maker": maker,
                "secret_file": str(secret),
                **({"mapping": AUTOVU} if maker == "generic" else {}),
            }
            for maker in MAKERS
        ]
        listen = {"address": "127.0.0.1", "port": self.port, "plain": True}
        lists = {
            "name": "region",
            "layout": "ncic_fixed",
            "keys": [str(folder / "key.pem")],
            "folder": str(folder / "drop"),
        }
        drivers = [
            {"use": "alpr.receiver", "name": "car42", "listen": listen, "camera": cameras},
            {
                "use": "alpr.hotlist",
                "name": "hotlists",
                "folder": str(folder / "hotlists"),
                "rescan": 0.1,
                "list": [lists],
                **hotlist,
            },
        ]
        status = {"address": "127.0.0.1", "port": self.status_port}
        self.daemon = DaemonProcess(folder / "station", drivers=drivers, status=status, command=COMMAND)

    def sender(self, maker: str, **more: Any) -> Sender:  # noqa: ANN401 - handed through
        return Sender("127.0.0.1", self.port, f"/alpr/{maker}/{maker}/{SECRET}", patience=30.0, **more)

    async def told(self) -> dict[str, str]:
        """Everything that the station tells to whoever looks, by its path: all that its own document names."""
        found: dict[str, str] = {}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.status_port}") as session:
            async with session.get("/openapi.json") as answer:
                paths = [path for path in (await answer.json())["paths"] if "{" not in path]
            for path in (*paths, "/"):
                async with session.get(path) as answer:
                    assert answer.status == 200, path
                    found[path] = await self._read(answer)
        return found

    async def _read(self, answer: aiohttp.ClientResponse) -> str:
        """The body; of events, which have no end, the first: everything."""
        if answer.content_type != "text/event-stream":
            return await answer.text()
        lines = [await answer.content.readline() for _ in range(5)]
        return b"".join(lines).decode()

    async def run(self, *words: str) -> str:
        """A command, as a person would; in this process: a program of its own takes longer to start than to answer."""
        asked = ["--config", str(self.daemon.config), *words]
        done = await asyncio.to_thread(CliRunner().invoke, cli.app, asked)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    async def has_list(self) -> None:
        """Wait until the list is in use."""
        async with asyncio.timeout(60):
            while (self.folder / "drop" / "list").exists():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)


def passage(number: int, plate: str | None = PLATE) -> Passage:
    return Passage(plate=plate, identity=f"passage-{number}", pictures={"plate": PICTURE, "overview": PICTURE})


async def every_way(car: Car) -> None:
    """Each maker, whole and with each fault, over a wire that is good and one that is not, and what is no message."""
    await asyncio.gather(*(_of(car, maker, 100 * at) for at, maker in enumerate(MAKERS)))


async def _of(car: Car, maker: str, number: int) -> None:
    ways = [("", "r"), *((one, "r") for one in "elnsbopqvu"), *(("", one) for one in "dcxh")]
    # In the short form each maker has some of them, and together they have all.
    for faults, wire in ways if LONG else ways[number // 100 :: len(MAKERS)]:
        number += 1
        await car.sender(maker, wire=wire).once(MESSAGES[maker](passage(number), faults))
    whole = MESSAGES[maker](passage(0), "")
    for end in (1, len(whole.body) // 3, len(whole.body) - 1):
        await car.sender(maker).once(Sent(whole.content_type, whole.body[:end]))
    await car.sender(maker).once(Sent("application/json", f'{{"plate": "{PLATE}", "x": '.encode()))
    await car.sender(maker).once(Sent("text/xml", f"<a><plate>{PLATE}</b>".encode()))
    # What comes with a wrong secret, to a wrong place, or names the plate in its address.
    wrong = (f"/alpr/{maker}/{maker}/{PLATE}", f"/alpr/{maker}/{PLATE}/{SECRET}", f"/{PLATE}")
    strangers = [Sender("127.0.0.1", car.port, path, patience=30.0) for path in wrong]
    await asyncio.gather(*(one.once(whole) for one in (strangers if LONG else strangers[:1])))


async def test_a_read_that_is_no_hit_is_nowhere(tmp_path: Path) -> None:
    car = Car(tmp_path, on_screen="pictures")
    async with car.daemon as daemon:
        await daemon.ready(within=120)
        await car.has_list()
        await every_way(car)
        hit = car.sender("hikvision")
        assert await hit.once(MESSAGES["hikvision"](passage(999, "EVDK042"), "")) == 200
        explained = await car.run("hotlist", "explain", PLATE, "--json")
        assert json.loads(explained)["matches"] == []
        by_path = await car.told()
        assert {"/v1/status", "/v1/bays", "/v1/leads", "/v1/events", "/metrics"} <= set(by_path)
        assert '"leads"' in by_path["/v1/events"], "the first event tells everything"
        assert [path for path, said in by_path.items() if "EVDK042" in said] == ["/v1/leads"], (
            "and that of the hit alone"
        )
        looked = "".join(by_path.values())
        if LONG:
            for words in OUTPUTS:
                looked += (await car.run(*words.split())).replace("EVDK042", "")
        bundle = tmp_path / "bundle.tar.gz"
        said = await car.run("support-bundle", "--yes", "--to", str(bundle), "--log", str(daemon.words))
        assert bundle.exists(), said
        for mark in MARKS:
            assert mark not in looked + said, "told to whoever looks"
        assert (await daemon.stop()) == 0
    inside = tmp_path / "inside"
    inside.mkdir()
    shutil.unpack_archive(bundle, inside, "gztar", filter="data")
    assert list(inside.rglob("*")), "the bundle was looked into"
    assert trace(tmp_path, *MARKS) == []
    assert trace(tmp_path, "EVDK042") != [], "and a plate that was kept is found"


async def test_nor_where_the_screen_fails_or_the_process_is_killed(tmp_path: Path) -> None:
    """Reads are to be kept, and there is no place for them: the camera must send again, and nobody else is told."""
    car = Car(tmp_path, keep_non_hits="1 h")
    (tmp_path / "hotlists").mkdir()
    (tmp_path / "hotlists" / "sealed").write_text("no folder")
    async with car.daemon as daemon:
        await daemon.ready(within=120)
        await car.has_list()
        for maker in MAKERS:
            answer = await car.sender(maker).once(MESSAGES[maker](passage(1), ""))
            assert answer in (0, 503), "it must send it again"
        words = daemon.words.read_text()
        assert "screening_failed" in words
        assert "FileExistsError" in words or "NotADirectoryError" in words
        pid = daemon.pid
        assert pid is not None
        assert resource.prlimit(pid, resource.RLIMIT_CORE)[0] == 0
        os.kill(pid, signal.SIGABRT)
        assert await daemon.wait() == -signal.SIGABRT
    assert not [path for path in trace(tmp_path, "core") if "/core" in path]
    assert trace(tmp_path, *MARKS) == []


def test_what_could_reach_a_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "swaps").write_text("Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
    (tmp_path / "cgroup").write_text("0::/system.slice/evidock.service\n")
    folder = tmp_path / "cgroups" / "system.slice" / "evidock.service"
    folder.mkdir(parents=True)
    monkeypatch.setattr(secrecy, "_SWAPS", tmp_path / "swaps")
    monkeypatch.setattr(secrecy, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(secrecy, "_CGROUPS", tmp_path / "cgroups")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (0, 0))
    assert [what for what, _ in secrecy.leaks()] == ["memory of this process may be swapped"]
    (folder.parent / "memory.swap.max").write_text("max\n")
    (folder / "memory.swap.max").write_text("0\n")
    assert secrecy.leaks() == []
    (tmp_path / "swaps").write_text("Filename Type Size Used Priority\n/dev/zram0 partition 1 0 -2\n")
    (folder / "memory.swap.max").write_text("max\n")
    assert secrecy.leaks() == [], "memory that is compressed stays memory"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 30, 1 << 30))
    assert [what for what, _ in secrecy.leaks()] == ["this process may dump core"]
