"""docs/mqtt.md is held to reality: its mosquitto lines run, its table of `[mqtt]` is read, `evidock check` agrees."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.broker.check import findings
from agent.capture import Standing
from agent.config import parse
from agent.errors import ConfigError
from agent.mqtt import Connection, Outgoing, StationOptions, Subscription
from agent.mqtt.reasons import BrokerRefused
from agent.testing.broker import Mosquitto, mosquitto_program
from agent.testing.dems.at_broker import DemsAtBroker
from agent.testing.devices import some_bytes
from agent.testing.ports import free_port
from tests.broker.conftest import Dock, at, standing, until
from tests.broker.test_commands import ALICE

if TYPE_CHECKING:
    from agent.config import Config
    from agent.testing.dems import EmulatedDems

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed"),
]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text()
_SETTINGS, _RULES = re.findall(r"^```\n# /etc/mosquitto/(.*?)\n```$", DOCUMENT, re.MULTILINE | re.DOTALL)
SETTINGS = [
    line
    for line in _SETTINGS.splitlines()[1:]
    if line.split()[0] not in {"listener", "cafile", "certfile", "keyfile", "acl_file", "persistence"}
]
RULES = [line for line in _RULES.splitlines()[1:] if line]


def station(table: dict[str, object]) -> Config:
    lines = "\n".join(
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for name, value in table.items()
    )
    return parse(f'[station]\nname = "dock-1"\nagency = "example.org"\n[mqtt]\n{lines}\n')


async def test_the_lines_for_mosquitto_are_enough_and_no_more(tmp_path: Path, dems: EmulatedDems, dock: Dock) -> None:
    await dems.add_fault("receipt:none")
    dock.camera.record(some_bytes(1000))
    broker = Mosquitto(tmp_path / "broker", SETTINGS, acl=RULES, tls=True)
    there = DemsAtBroker(dems.core, broker.options(identity="dems"))
    async with broker, there:
        async with dock.here(at(broker, operator_keys=[ALICE.vkey]), dems) as agent:
            await standing(agent, Standing.RECEIPTED, 1)
            await until(lambda: there.of("status") and there.of("head") and there.of("alarm"))
            assert not [one for one in agent.troubles() if str(one["id"]).startswith("mqtt.")]
        for one in await findings(station(at(broker))):
            assert one.state == "ok", one
        async with Connection(broker.options(identity="dock-1"), client_id="mallory") as mallory:
            for kind in ("receipt", "cmd"):
                with pytest.raises(BrokerRefused):
                    await mallory.publish(Outgoing(f"evidock/v1/example-org/main/dock-1/{kind}", b"{}"))
            with pytest.raises(BrokerRefused):
                await mallory.publish(Outgoing("evidock/v1/example-org/main/dock-2/state", b"{}"))


async def test_check_says_what_is_wrong_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.broker.check._BACK_WITHIN", 1.0)
    nobody = await findings(station({"host": "127.0.0.1", "port": free_port(), "tls": False}))
    assert [(one.state, "nobody listens there" in one.detail) for one in nobody] == [("problem", True)]
    mute = [*(line for line in RULES if "echo" not in line), "pattern write evidock/v1/+/+/%u/echo"]
    async with Mosquitto(tmp_path / "mute", acl=mute, tls=True) as broker:
        *_, found = await findings(station(at(broker)))
        assert (found.state, "do not let us read" in found.detail) == ("warning", True), found
        stranger = await findings(station(at(broker) | {"client_cert": str(broker.certificate("dock-9"))}))
        assert "not authorised" in stranger[-1].detail
        (wrong,) = await findings(station(at(broker) | {"server_name": "elsewhere.example.org"}))
        assert "certificate is not believed" in wrong.detail
        (missing,) = await findings(station(at(broker) | {"client_cert": str(tmp_path / "none.pem")}))
        assert missing.what == "mqtt.client_cert"


@pytest.mark.parametrize(("line", "why"), [("retain_available false", "keeps no messages"), ("max_qos 0", "quality")])
async def test_check_finds_a_broker_that_would_not_let_the_daemon_in(tmp_path: Path, line: str, why: str) -> None:
    """Who is let in without a will may be let in with none that is kept."""
    async with Mosquitto(tmp_path / "poor", [line]) as broker:
        (found,) = await findings(station(at(broker)))
        assert (found.state, why in found.detail) == ("problem", True), found
        assert line.partition(" ")[0] in (found.todo or "")


async def test_nothing_is_left_of_a_check(mosquitto: Mosquitto) -> None:
    assert [one.state for one in await findings(station(at(mosquitto)))] == ["ok", "ok"]
    async with Connection(mosquitto.options(), client_id="late") as late:
        await late.subscribe(Subscription("#"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await late.receive()


def test_every_setting_is_told_with_what_it_is_by_default() -> None:
    for name, one in StationOptions.model_fields.items():
        assert re.search(rf"`{name}( = [^`]*)?`|^{name} = ", DOCUMENT, re.MULTILINE), name
        assert one is not None
    for name, value in re.findall(r"`(\w+) = \"([^\"`]+)\"`", DOCUMENT):
        made = StationOptions.model_validate({"host": "h", name: value})
        assert getattr(made, name) == getattr(StationOptions(host="h"), name), name


def test_a_table_that_cannot_be_used_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match="goes over TLS"):
        station({"host": "10.0.0.1", "tls": False})
    with pytest.raises(ConfigError, match="is not known here"):
        station({"host": "h", "hots": "i"})
