"""Nothing is forgotten before the entry about it is cosigned, nor after a witness contradicted us."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.anchor import Anchor, trust_of
from agent.capture import Standing
from agent.clock import Clock
from agent.config import Config, Custody, Policy, WitnessConfig, parse
from agent.custody.policy import parse as parse_policy
from agent.custody.trust import Trust
from agent.errors import ConfigError
from agent.journal import anchors
from agent.note import Signer, Verifier, sign
from agent.release import Proving, Release
from agent.testing.devices import BenchDevice, some_bytes
from agent.testing.station import Station
from agent.testing.uplinks import BenchUplink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.testing.dems import EmulatedDems

LETS_GO = Policy(device="release", receipt="digest", spool="released", spool_keep=timedelta(0))
ROOT = Signer.ed25519("root.example.org/policy", b"\x09" * 32)


class Witnessed(Station):
    """A station on the bench with an anchor."""

    async def ready(self, dems: EmulatedDems) -> None:
        self.anchor = Anchor(
            self.desk,
            Custody(witness=(WitnessConfig(vkey=dems.witness_vkey, url=dems.witness_url),)),
            Trust(witnesses=(Verifier.parse(dems.witness_vkey),)),
            log=self.log,
            state=self.folder,
            stamp=Clock().stamp,
        )
        await self.anchor.start()
        self.connect(BenchUplink())
        proving = Proving(asked=True, policy=lambda: self.anchor.policy)
        self.release = Release(self.desk, self.spool, self.policy, keys=(), stamp=self.stamp, proving=proving)

    async def witness(self) -> None:
        await self.anchor.sign()
        await self.anchor.publish()


@pytest.fixture
async def station(tmp_path: Path, dems: EmulatedDems) -> AsyncIterator[Witnessed]:
    async with Witnessed(tmp_path / "station", policy=LETS_GO) as made:
        await made.ready(dems)
        yield made
        await made.verify()


async def receipted(station: Witnessed, device: BenchDevice) -> None:
    device.record("a", some_bytes(100))
    await station.dock(device)
    await station.send()


async def test_a_device_forgets_only_what_is_cosigned(station: Witnessed, bench: BenchDevice) -> None:
    await receipted(station, bench)
    for _ in range(3):
        assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    await station.anchor.sign()
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}  # our own word is not enough
    given, events = bench.given, await station.events((await station.only()).id)
    assert given == 100  # not even read again before
    assert events == ["held", "receipted"]  # it waits: nothing is wrong with it
    await station.anchor.publish()
    assert await station.dock(bench) == {Standing.RELEASED: 1}


async def test_what_came_after_the_last_cosignature_waits_for_the_next(station: Witnessed, bench: BenchDevice) -> None:
    await station.witness()
    await receipted(station, bench)
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    await station.witness()
    assert await station.dock(bench) == {Standing.RELEASED: 1}


async def test_a_contradiction_stops_every_release(station: Witnessed, bench: BenchDevice) -> None:
    await receipted(station, bench)
    await station.witness()
    now = Clock().stamp().at
    await station.desk.write(lambda journal: anchors.contradict(journal, "w", "another history", now))
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    await station.release.sweep()
    assert (await station.only()).spooled
    assert bench.released == []


async def test_a_contradiction_stops_it_also_where_no_witness_is_asked_for(station: Witnessed) -> None:
    now = Clock().stamp().at
    prove = Proving().prove
    assert await station.desk.read(lambda journal: prove(journal, 0)) == b""
    await station.desk.write(lambda journal: anchors.contradict(journal, "w", "another history", now))
    assert await station.desk.read(lambda journal: prove(journal, 0)) is None


async def test_what_no_device_keeps_and_the_spool_wait_too(station: Witnessed) -> None:
    device = BenchDevice(volatile=True)
    await receipted(station, device)
    await station.release.sweep()
    assert (await station.only()).standing is Standing.RECEIPTED
    await station.witness()
    await station.release.sweep()
    holding = await station.only()
    assert (holding.standing, holding.spooled) == (Standing.PURGED, False)


async def test_a_policy_that_asks_for_more_witnesses_takes_back_what_was_enough(
    station: Witnessed, bench: BenchDevice
) -> None:
    await receipted(station, bench)
    await station.witness()
    other = Signer.cosigner("w.example.org/2", b"\x06" * 32)
    keys = (*station.anchor._trust.witnesses, other.verifier)
    station.anchor.policy = Trust(witnesses=keys).policy(station.anchor.signer.verifier)
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}
    station.anchor.policy = None  # it cannot be used: then nothing is released
    assert await station.dock(bench) == {Standing.RECEIPTED: 1}


# --- what agent.toml says ---------------------------------------------------------------------------------------------

STATION = '[station]\nname = "dock-1"\nagency = "example.org"\n'
LOG = Signer.ed25519("edge.example.org/dock-1/log1", b"\x01" * 32)
WITNESS = Signer.cosigner("w.example.org/1", b"\x05" * 32)


def config(more: str) -> Config:
    return parse(STATION + more)


def test_a_witness_that_is_required_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"policy.witness: a witness is required"):
        trust_of(config('[policy]\nwitness = "required"\n'))


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = f"""
    [custody]
    policy = "{tmp_path}/none.note"
    tsa_url = "https://tsa.example.org/"
    [[custody.witness]]
    vkey = "{LOG.vkey}"
    url = "https://w.example.org"
    """
    with pytest.raises(ConfigError) as error:
        trust_of(config(text))
    assert {problem.path for problem in error.value.problems} == {
        "custody.policy",
        "custody.roots",
        "custody.tsa_ca_file",
        "custody.witness[0].vkey",
    }


def test_a_signed_policy_decides_who_counts(tmp_path: Path) -> None:
    text = f"log {LOG.vkey}\nwitness one {WITNESS.vkey} https://w.example.org\nquorum one\n"
    (tmp_path / "policy.note").write_bytes(sign(text, ROOT))
    trust = trust_of(config(f'[custody]\npolicy = "{tmp_path}/policy.note"\nroots = ["{ROOT.vkey}"]\n'))
    assert trust.policy(LOG.verifier) == parse_policy(text)


def test_a_policy_that_does_not_list_us_or_is_signed_by_others_is_none_to_us(tmp_path: Path) -> None:
    text = f"witness one {WITNESS.vkey}\nquorum one\n"
    for trust, says in (
        (Trust(sign(text, ROOT), (ROOT.verifier,)), "does not list this station's log"),
        (Trust(sign(text, LOG), (ROOT.verifier,)), "no known key signed this"),
    ):
        with pytest.raises(ValueError, match=says):
            trust.policy(LOG.verifier)
    assert Trust().policy(LOG.verifier) is None
