"""One measurement: a process from start to end, or the daemon between two moments; its processor time and memory."""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

__all__ = ["Measured", "Series", "command", "cpu_seconds", "peak_memory"]

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run cost."""

    seconds: float
    cpu: float
    """Processor seconds, user and system, of everything that was started."""
    memory: int = 0
    """Bytes resident at most; 0 where it was not looked at."""


@dataclass(slots=True)
class Series:
    """Several runs of one case."""

    name: str
    runs: list[Measured] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(run.seconds for run in self.runs)

    def row(self, work: float, unit: str) -> str:
        """One line of the table: what was done per second, range, processor time, memory."""
        rates = sorted(work / run.seconds for run in self.runs)
        cpu = statistics.median(run.cpu for run in self.runs)
        memory = max(run.memory for run in self.runs) / 1e6
        shown = f"{memory:.0f} MB" if memory else "-"
        middle = statistics.median(rates)
        return f"| {self.name} | {middle:.0f} {unit} | {rates[0]:.0f} .. {rates[-1]:.0f} | {cpu:.2f} s | {shown} |"


def command(line: str) -> Measured:
    """Run a shell command and wait for it; its output is thrown away. Raises `CalledProcessError`.

    The processor's time is that of the shell and of everything that the shell waited for, and of nobody else. Memory
    is not told: the most that wait4 knows of is what we had ourselves when we forked.
    """
    began = perf_counter()
    process = subprocess.Popen(["sh", "-ec", line], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for: nobody may do so again
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, line)
    return Measured(seconds, used.ru_utime + used.ru_stime)


def quoted(path: Path) -> str:
    """A path as one word of a shell command."""
    return shlex.quote(str(path))


def cpu_seconds(pid: int) -> float:
    """Processor seconds that a process and its children have used so far (proc_pid_stat(5), fields 14 to 17)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:  # it ended meanwhile; whoever waited for it has its sum
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS + sum(cpu_seconds(int(child)) for child in children)


def peak_memory(pid: int) -> int:
    """Bytes that a process had resident at most."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
