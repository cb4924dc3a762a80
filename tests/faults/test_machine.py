"""The machine of the tests itself: see `machine.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults import machine

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_lies_below_the_hosts_tmp_is_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout may lie there; the machine has a /tmp of its own."""
    machine.needed()
    (tmp_path / "job.py").write_text('print("SEEN", 1, flush=True)')
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    with machine.Machine(["job"], []) as one:
        one.finish(220)
        assert one.told("SEEN") == [1]
