"""`python -m benchmarks`: Evidock beside its peers in one run, interleaved, as medians and ratios; prints Markdown.

Nothing is asserted and no figure is a promise: the machine is named, and the peer's figure stands beside ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from agent.testing.dems import DemsProcess
from benchmarks.measured import Measured, Series, command, quoted
from benchmarks.prefill import prefill
from benchmarks.sending import SETS, dock_to_receipt, life_table, sending, table
from benchmarks.share import COMMAND, share_table
from benchmarks.stations import all_held_by, clear, fill, held_by, life, sent_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20
HEAD = "| case | median | range | processor | memory |\n| --- | --- | --- | --- | --- |"


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument(
        "cases", nargs="*", default=["large", "small"], help="large, small, full, share, many, sending, life"
    )
    parser.add_argument("--sets", nargs="*", default=[*SETS], choices=[*SETS], help="what sending and life send")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--large", type=int, default=1024, help="MiB of the one large capture")
    parser.add_argument("--count", type=int, default=10_000, help="how many small captures of 4 KiB")
    parser.add_argument("--cameras", type=int, default=60, help="how many cameras are docked at once")
    parser.add_argument("--folder", type=Path, default=None, help="where the files lie; on the disk to be measured")
    chosen = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}"
    print(f"{machine}, Python {platform.python_version()}\n")
    with tempfile.TemporaryDirectory(dir=chosen.folder, prefix="evidock-bench-") as name:
        folder = Path(name)
        for case in chosen.cases:
            if not _measured(case, chosen, folder):
                parser.error(f"there is no case {case}")


def _measured(case: str, chosen: argparse.Namespace, folder: Path) -> bool:
    """Measure one case; False: there is none of this name."""
    cases: dict[str, Callable[[], None]] = {
        "large": lambda: asyncio.run(large(folder / case, chosen.large * MIB, chosen.runs)),
        "small": lambda: asyncio.run(small(folder / case, chosen.count, chosen.runs, before=0)),
        "full": lambda: asyncio.run(small(folder / case, chosen.count, chosen.runs, before=500_000)),
        "share": lambda: asyncio.run(share(folder / case, chosen.count)),
        "many": lambda: asyncio.run(many(folder / case, chosen.cameras, chosen.runs)),
        "sending": lambda: _sending(folder / case, chosen),
        "life": lambda: _life(folder / case, chosen),
    }
    if case in cases:
        cases[case]()
    return case in cases


def _sending(folder: Path, chosen: argparse.Namespace) -> None:
    for files in (SETS[one](chosen.large, chosen.count) for one in chosen.sets):
        for tls in (True, False):
            print(table(files, asyncio.run(sending(folder, files, chosen.runs, tls=tls)), tls=tls), flush=True)


def _life(folder: Path, chosen: argparse.Namespace) -> None:
    for files in (SETS[one](chosen.large, chosen.count) for one in chosen.sets):
        print(life_table(files, asyncio.run(dock_to_receipt(folder, files, chosen.runs))), flush=True)


async def large(folder: Path, length: int, runs: int) -> None:
    """One large capture: taken beside the obvious pipeline, sent beside curl."""
    volume = folder / "volume"
    fill(volume, 1, length)
    source = volume / "DCIM" / "100BENCH" / "CLIP0000.MP4"
    copy = folder / "copy"
    pipeline = f"cp {quoted(source)} {quoted(copy)} && sync && sha256sum {quoted(copy)} && b3sum {quoted(copy)}"
    fast = f"cp {quoted(source)} {quoted(copy)} && sync && openssl dgst -sha256 {quoted(copy)} && b3sum {quoted(copy)}"
    series = {name: Series(name) for name in ("evidock takes it", "evidock takes it and reads it back",
              "cp + sync + sha256sum + b3sum", "cp + sync + openssl sha256 + b3sum", "SHA-256 alone (openssl)",
              "evidock sends it (TLS)", "curl -T (TLS, no checksum)")}  # fmt: skip
    for number in _each(runs):
        station = folder / "station"
        series["evidock takes it and reads it back"].runs.append(await held_by(station, volume, 1, read_back=True))
        clear(station)
        series["evidock takes it"].runs.append(await held_by(station, volume, 1))
        for name, line in (
            ("cp + sync + sha256sum + b3sum", pipeline),
            ("cp + sync + openssl sha256 + b3sum", fast),
            ("SHA-256 alone (openssl)", f"openssl dgst -sha256 {quoted(source)}"),
        ):
            series[name].runs.append(await asyncio.to_thread(command, line))
            copy.unlink(missing_ok=True)
        # A DEMS that knows a capture takes it in no time: each round has one that knows nothing.
        async with DemsProcess(folder / f"dems{number}", tls=True) as dems:
            series["evidock sends it (TLS)"].runs.append(await sent_by(station, dems, 1))
        async with DemsProcess(folder / "plain", tls=True, receipts=False, checksums=False) as plain:
            series["curl -T (TLS, no checksum)"].runs.append(await asyncio.to_thread(_curl, plain, source, length))
        clear(station, folder / f"dems{number}", folder / "plain")
    print(f"### One capture of {length / MIB:.0f} MiB\n\n{HEAD}")
    for one in series.values():
        print(one.row(length / 1e6, "MB/s"))
    _ratio("taking: the pipeline's time over ours", series["cp + sync + sha256sum + b3sum"], series["evidock takes it"])
    _ratio("taking: the same with openssl", series["cp + sync + openssl sha256 + b3sum"], series["evidock takes it"])
    _ratio("taking: ours over SHA-256 alone", series["evidock takes it"], series["SHA-256 alone (openssl)"])
    _ratio("sending: curl's time over ours", series["curl -T (TLS, no checksum)"], series["evidock sends it (TLS)"])


async def small(folder: Path, count: int, runs: int, *, before: int) -> None:
    """Many captures of 4 KiB, from the dock to receipt and release."""
    series = Series(f"dock to release, {before:,} in the journal before")
    async with DemsProcess(folder / "dems", tls=True) as dems:
        for number in _each(runs):
            station, volume = folder / "station", folder / f"volume{number}"
            if before and number == 0:
                prefill(station / "state", before)
            fill(volume, count, 4096)
            series.runs.append(await life(station, volume, dems, count))
            clear(volume, *([] if before else [station]))
    print(f"\n### {count:,} captures of 4 KiB (TLS)\n\n{HEAD}\n{series.row(count, 'captures/s')}")


async def share(folder: Path, count: int) -> None:
    """How much of the daemon's processor time goes into the custody log, over the whole life of small captures."""
    fill(folder / "volume", count, 4096)
    async with DemsProcess(folder / "dems", tls=True) as dems:
        await life(folder / "station", folder / "volume", dems, count, COMMAND)
    told = json.loads((folder / "station" / "share.json").read_text(encoding="utf-8"))
    print(f"\n### Custody in the life of {count:,} captures of 4 KiB\n\n{share_table(told, count)}")


async def many(folder: Path, cameras: int, runs: int) -> None:
    """Cameras that are docked all at once, with one capture of 48 MiB each."""
    length = 48 * MIB
    volumes = [folder / f"volume{number}" for number in range(cameras)]
    for volume in volumes:
        fill(volume, 1, length)
    series = Series(f"{cameras} cameras, 48 MiB each")
    for _ in _each(runs):
        series.runs.append(await all_held_by(folder / "station", volumes))
        clear(folder / "station")
    print(f"\n### {cameras} cameras at once\n\n{HEAD}\n{series.row(cameras * length / 1e6, 'MB/s')}")


def _each(runs: int) -> Iterator[int]:
    for number in range(runs):
        os.sync()
        yield number


def _curl(dems: DemsProcess, source: Path, length: int) -> Measured:
    """One PATCH of the whole file by curl to the same server in its plain form: no checksum, no receipt, one commit."""
    ours = f"curl -sSf --cacert {quoted(dems.ca_file or source)} -H 'Tus-Resumable: 1.0.0'"
    create = f"{ours} -D - -o /dev/null -X POST -H 'Upload-Length: {length}' {dems.url}"
    where = "tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'"
    patch = f"{ours} -X PATCH -H 'Upload-Offset: 0' -H 'Content-Type: application/offset+octet-stream'"
    origin = dems.url.split("/evidence", maxsplit=1)[0]
    return command(f'U=$({create} | {where}) && case $U in /*) U={origin}$U;; esac && {patch} -T {quoted(source)} "$U"')


def _ratio(name: str, above: Series, below: Series) -> None:
    print(f"\n{name}: {above.median / below.median:.2f}")


if __name__ == "__main__":
    main()
