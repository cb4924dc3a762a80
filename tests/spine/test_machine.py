"""Whatever happens to captures, in any order: what the journal shows follows from its entries."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from agent.capture import Parts, Priority, Strength
from agent.clock import Clock
from agent.errors import Refusal
from agent.journal import Journal
from agent.testing.audit import read_journal
from tests.spine.make import capture, digest, receipt

LOG = "edge.example.org/bench-1/log1"


class Captures(RuleBasedStateMachine):
    held = Bundle("held")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.journal = self.opened()

    def opened(self) -> Journal:
        return Journal.open(self.folder / "journal.db", log=LOG, stamp=Clock().stamp)

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)

    def tried(self, act: str, name: str, *arguments: object, **named: object) -> None:
        before = self.journal.leaves.size, self.journal.leaves.root()
        try:
            with self.journal.transaction():
                getattr(self.journal, act)(name, *arguments, **named)
        except Refusal:
            assert (self.journal.leaves.size, self.journal.leaves.root()) == before

    @rule(target=held, key=st.sampled_from("abc"), data=st.sampled_from(["one", "two", "three"]))
    def hold(self, key: str, data: str) -> str:
        with self.journal.transaction():
            return self.journal.hold(capture(key), digest(data), Parts()).id

    @rule(name=held, strength=st.sampled_from(Strength))
    def receipted(self, name: str, strength: Strength) -> None:
        self.tried("receipt", name, receipt(self.journal.get(name), strength))

    @rule(name=held, act=st.sampled_from(["refuse", "quarantine", "refuse_release"]))
    def stopped(self, name: str, act: str) -> None:
        self.tried(act, name, "because")

    @rule(name=held)
    def superseded(self, name: str) -> None:
        self.tried("quarantine", name, "because", superseded=True)

    @rule(name=held)
    def released(self, name: str) -> None:
        self.tried("intend_release", name, {})
        if self.journal.get(name).standing == "receipted" and not self.journal.get(name).retained:
            self.tried("release", name)

    @rule(name=held, act=st.sampled_from(["purge", "lose"]))
    def gone(self, name: str, act: str) -> None:
        if act == "purge" or self.journal.get(name).spooled:
            self.tried(act, name)

    @rule(name=held, keep=st.booleans())
    def retained(self, name: str, *, keep: bool) -> None:
        self.tried("retain", name, keep=keep, actor="anna", why="court")

    @rule(name=held, priority=st.sampled_from(Priority))
    def prioritised(self, name: str, priority: Priority) -> None:
        self.tried("prioritise", name, priority, actor="anna", why="court")

    @rule(name=held)
    def retried(self, name: str) -> None:
        self.tried("retry", name, actor="anna", why="again")

    @rule()
    def reopened(self) -> None:
        before = self.journal.leaves.size, self.journal.leaves.root()
        self.journal.close()
        self.journal = self.opened()
        assert (self.journal.leaves.size, self.journal.leaves.root()) == before

    @invariant()
    def what_is_shown_follows_from_the_entries(self) -> None:
        if hasattr(self, "journal"):
            assert read_journal(self.journal).problems == []


TestCaptures = pytest.mark.slow(Captures.TestCase)
TestCaptures.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
