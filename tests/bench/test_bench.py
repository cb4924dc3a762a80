"""`make bench` at its shortest: whoever fails or hangs costs the others nothing; figures are shown, and not judged."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import suite
from benchmarks.contest import Contest, Entrant, Figures, Row, hold, judged, ratio
from benchmarks.measured import Measured, command
from benchmarks.report import BEGIN, END, Run, chart, machine, write
from benchmarks.versions import versions

ODD = 0.05
"""Times as fast as its peer; below it, something is wrong with the measuring or with us."""


def figures() -> Figures:
    rows = [
        Row("ours", "MB/s", [2.0, 4.0, 3.0], [1.0], 5_000_000, ours=True),
        Row("theirs & others'", "MB/s", [1.0, 2.0, 1.5], [2.0]),
        Row("gone", "MB/s", failed="OSError: it is not here"),
    ]
    goals = [judged("as fast, times", 2.0, least=3)]
    return Figures("case", "A case", "What it is.", rows, goals, when="today", machine="a machine")


async def test_an_entrant_that_fails_costs_the_others_nothing(tmp_path: Path) -> None:
    turns: list[str] = []

    def well(number: int) -> Measured:
        turns.append(f"well {number}")
        return Measured(0.5, 0.25, 1000)

    async def broken(number: int) -> Measured:
        turns.append(f"broken {number}")
        if number:
            raise OSError("no more")
        return Measured(1.0, 0.5)

    contest = Contest("c", "C", "", 10, "MB/s", [Entrant("well", well), Entrant("broken", broken)])
    found = await hold(contest, tmp_path / "c.json", rounds=3, until=time.monotonic() + 60)
    assert turns == ["well 0", "broken 0", "broken 1", "well 1", "well 2"]
    assert (found.row("well").values, found.row("broken").values) == ([20.0, 20.0, 20.0], [10.0])
    assert found.row("broken").failed == "OSError: no more"
    assert ratio(found, "well", "broken") == 2.0
    assert Figures.read(tmp_path / "c.json") == found


def test_the_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    run = Run("a machine", "a 1, b 2", "Small.", {"case": "one", "hung": "another", "other": "never asked for"})
    hung = Figures("hung", "One that hung", "", when="yesterday", machine="a machine")
    for one in (hung, figures(), figures()):
        write(page, one, run)
    told = page.read_text()
    assert told.startswith(f"before\n{BEGIN}\n")
    assert told.endswith(f"{END}\nafter\n")
    assert "old" not in told
    assert "| **ours** | 3 MB/s | 2 to 4 | 3 | 1.00 s | 5 MB |" in told
    assert "| gone | OSError: it is not here | | | | |" in told
    assert "| as fast, times | at least 3 | 2 | **no** |" in told
    assert "0 of 2 goals were reached, 1 were not, and 1 could not be shown." in told
    assert "| A case | as fast, times | at least 3 | 2 | **no** |" in told
    assert "| One that hung | everything | | nothing was found | not shown |" in told
    assert "Not measured: other (never asked for)." in told
    assert told.index("Measured today.") < told.index("Measured yesterday."), "in the order of the cases"
    write(page, figures(), Run("another machine", "a 1, b 2", "Small.", run.cases))
    assert "One that hung" not in page.read_text(), "a page tells of one machine"
    write(page, figures(), run)
    assert (tmp_path / "page" / "case.svg").read_text() == chart(figures())
    assert "theirs &amp; others" in chart(figures())


def test_no_name_is_cut_off_in_a_picture() -> None:
    """A letter of a usual sans-serif takes 6 to 7 of 12 pixels; every text begins and ends inside."""
    longest = Row("a name as long as that of a bound with four libraries in it, " * 2, "captures/s", [12345.0])
    drawn = chart(Figures("case", "A case", "", [longest, Row("short", "captures/s", [1.0])]))
    width = int(re.search(r'width="(\d+)"', drawn)[1])  # type: ignore[index]
    for at, anchor, text in re.findall(r'<text x="([\d.]+)"[^>]*?(text-anchor="end")?>([^<]*)</text>', drawn):
        begins = float(at) - 6.5 * len(text) if anchor else float(at)
        assert begins >= 0
        assert begins + 6.5 * len(text) <= width


def test_a_page_says_on_what_and_beside_whom(tmp_path: Path) -> None:
    told = machine(tmp_path)
    assert re.search(r"processors, .* GiB of memory, files on \w+ \(.+\), Linux \S+, Python 3", told)
    found = versions()
    assert re.match(r"Evidock \d+\.\d+", found)
    for name in ("coreutils", "b3sum", "openssl", "curl", "rclone", "aws-cli", "tuspy", "tus-js-client", "@tus/server"):
        assert re.search(rf"{name} (\d+\.\d|not here)", found), name


def test_what_a_command_used_is_its_own(tmp_path: Path) -> None:
    busy = command(f"{sys.executable} -c 'sum(range(3_000_000))'")
    assert busy.cpu > 0
    with pytest.raises(subprocess.CalledProcessError):
        command("false; true")  # a step that fails is no fast one


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.suite", *words]
    root = Path(suite.__file__).parents[1]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=root)


def test_whatever_a_case_started_ends_with_it() -> None:
    """Also what has a session of its own, and whose parent is gone by then."""
    code = (
        "import subprocess, sys, time\n"
        "inner = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print(inner.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True) as outer:
        assert outer.stdout is not None
        inner = int(outer.stdout.readline())
        suite._end(outer)
    assert outer.returncode is not None
    deadline = time.monotonic() + 30
    while (state := Path(f"/proc/{inner}/stat")).exists() and ") Z " not in state.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def near() -> Iterator[Path]:
    """A folder with a short path: a station's socket lies deep below, and its path may have 107 bytes (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="evidock-") as folder:
        yield Path(folder)


def test_a_case_that_takes_too_long_is_ended_and_stands_in_the_page(near: Path) -> None:
    page = near / "page.md"
    page.write_text(f"{BEGIN}{END}")
    ended = bench("idle", "--minutes", "0.01", "--folder", str(near), "--page", str(page))
    assert ended.returncode == 1, "a case that found nothing is told of"
    assert "Not whole: the case was ended after 3 s" in page.read_text()
    assert [path.name for path in near.iterdir() if path.name.startswith("evidock-bench-")] == []


@pytest.mark.slow
def test_the_short_form(near: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A few captures beside the peers: the ratios are printed, and what would be odd is said. Time judges nobody."""
    page = near / "page.md"
    page.write_text(f"{BEGIN}{END}")
    sizes = ("--minutes", "1", "--rounds", "1", "--count", "100")
    ended = bench("taking-small", *sizes, "--folder", str(near), "--page", str(page))
    assert ended.returncode == 0, ended.stderr[-2000:]
    told = page.read_text()
    for name in ("Evidock: held", "cp, sync, sha256sum, b3sum", "SHA-256 alone"):
        assert f"| {name}" in told or f"| **{name}" in told
    assert (near / "page" / "taking-small.svg").exists()
    found = [line for line in ended.stdout.splitlines() if "   > " in line]
    times = re.search(r"as fast as .*: ([0-9.]+), asked", "\n".join(found))
    assert times is not None
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(found) + "\n")
        if float(times[1]) < ODD:
            sys.stdout.write("odd: on a machine of its own it is many times as fast; make bench tells\n")
