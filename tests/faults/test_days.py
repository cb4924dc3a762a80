"""Thirty days of a station, drawn by a seed; and the same acts, drawn by hypothesis, which makes a failure short."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from agent.testing.process import read_state, tally
from tests.faults.days import ACTS, Days
from tests.faults.form import LONG, SEED, form, time_is_over, why
from tests.faults.hands import Hands
from tests.faults.report import reached
from tests.faults.rig import Nursery, ordered
from tests.faults.shim import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

MONTHS = form(1, 34)
MONTH = form(5, 30)
"""Days."""
A_DAY = (3, 8)
"""Acts of a day, at least and at most."""


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled("evidock_clock", tmp_path_factory.mktemp("clock"))


def opened(clock: Path, hands: Hands) -> Nursery:
    return Nursery(LD_PRELOAD=str(clock), EVIDOCK_CLOCK=str(hands.path), EVIDOCK_FORKED="1")


@pytest.mark.slow
@pytest.mark.parametrize("month", range(MONTHS))
async def test_nothing_is_lost_in_a_month(tmp_path: Path, clock: Path, month: int) -> None:
    seed, done, wrong = SEED * 1_000_003 + month, 0, list[str]()
    if not time_is_over():
        chance, hands = Random(seed), Hands(tmp_path)
        nursery = opened(clock, hands)
        async with Days(tmp_path, nursery, hands, chance) as days:
            while done < MONTH and not days.wrong and not time_is_over():
                for _ in range(chance.randint(*A_DAY)):
                    await days.act(chance.choice(ACTS))
                await days.act("night")
                done += 1
            if not days.wrong:
                await days.settle()
            wrong = [*days.acts[-20:], *days.wrong] if days.wrong else []
        nursery.close()
    reached(
        12,
        "days by a seed",
        asked=MONTH,
        reached=done,
        violations=1 if wrong else 0,
        seed=seed,
        detail=why(MONTH, done),
    )
    assert not wrong, "\n".join(wrong)


async def test_what_a_person_orders_while_nothing_runs_stands_in_order_too(tmp_path: Path, clock: Path) -> None:
    """After a night, and from a process on whose clocks it did not pass."""
    hands = Hands(tmp_path)
    nursery = opened(clock, hands)
    async with Days(tmp_path, nursery, hands, Random(SEED)) as days:
        await days.act("shift")
        await days.act("work")
        async with asyncio.timeout(60):
            while not sum((await tally(days.daemon.state)).values()):  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.05)
        await days.act("night")
        await days.act("stop")
        book = read_state(days.daemon.state)
        assert book is not None
        ordered(days.daemon.state, [("hold", capture) for capture in book.holdings], days.stamp)
        await days.settle()
        assert days.wrong == []
    nursery.close()


def machine(clock: Path, count: Callable[[], None]) -> type[RuleBasedStateMachine]:
    class Station(RuleBasedStateMachine):
        """Each rule is an act; what is wrong is seen after each."""

        @initialize(seed=st.integers(0, 1000))
        def begin(self, seed: int) -> None:
            if time_is_over():
                return
            self.folder, self.loop = Path(tempfile.mkdtemp()), asyncio.new_event_loop()
            hands = Hands(self.folder)
            self.nursery = opened(clock, hands)
            self.days = Days(self.folder, self.nursery, hands, Random(seed))
            self.loop.run_until_complete(self.days.__aenter__())

        @rule(name=st.sampled_from(sorted(set(ACTS))))
        def act(self, name: str) -> None:
            if time_is_over() or not hasattr(self, "days"):
                return
            count()
            self.loop.run_until_complete(self.days.act(name))

        @invariant()
        def nothing_is_wrong(self) -> None:
            assert not getattr(self, "days", None) or not self.days.wrong, self.days.wrong

        def teardown(self) -> None:
            if not hasattr(self, "days"):
                return
            try:
                if not self.days.wrong:
                    self.loop.run_until_complete(self.days.settle())
                    assert not self.days.wrong, self.days.wrong
            finally:
                self.loop.run_until_complete(self.days.__aexit__())
                self.nursery.close()
                self.loop.close()
                shutil.rmtree(self.folder)

    return Station


def test_the_same_acts_in_any_order(clock: Path) -> None:
    acts, failed = [0], True

    def count() -> None:
        acts[0] += 1

    examples, steps = form(2, 20), form(8, 40)
    try:
        run_state_machine_as_test(
            machine(clock, count),
            settings=settings(
                max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=not LONG,
                suppress_health_check=list(HealthCheck), phases=list(Phase) if LONG else [Phase.generate],
            ),
        )  # fmt: skip
        failed = False
    finally:
        reached(12, "acts by hypothesis", asked=acts[0], reached=acts[0], violations=int(failed))
