"""The description of all messages: the document of the tree, valid by AsyncAPI's own schema, true of what is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema_rs
import pytest

from agent.broker import telling
from agent.broker.asyncapi import document, schemas
from agent.broker.messages import DOWN, KINDS, UP, AlarmTold
from agent.mqtt import Connection, Subscription
from agent.testing.broker import mosquitto_program
from agent.testing.dems.at_broker import DemsAtBroker
from agent.testing.devices import some_bytes
from tests.broker.conftest import Dock, at, until
from tests.broker.test_commands import ALICE, order, payload

if TYPE_CHECKING:
    from agent.testing.broker import Mosquitto
    from agent.testing.dems import EmulatedDems

ROOT = Path(__file__).parents[2]
OFFICIAL = ROOT / "tests/interop/node_modules/@asyncapi/specs/schemas/3.0.0.json"


def test_the_document_of_the_tree_is_what_the_program_prints() -> None:
    told = json.loads((ROOT / "docs" / "asyncapi.json").read_text())
    assert told == document(), "run: evidock mqtt describe > docs/asyncapi.json"


@pytest.mark.parametrize("character", ["x", "録", '"', "\U0001f46e"])
def test_the_notices_of_the_worst_day_fit_into_one_alarm_whatever_devices_are_named(character: str) -> None:
    """One that is too long would be tried, and fail, with each connection, and nothing else would be said there."""
    words = dict.fromkeys(("what", "detail", "todo"), character * 5000)
    told = {"problems": [{"id": "x.y", "state": "problem", "since": "2026-11-22T07:02:17.123Z", **words}] * 40}
    alarm = AlarmTold(at="2026-11-22T07:02:17.123Z", notices=telling.notices(told))
    assert len(json.loads(alarm.encoded())["notices"]) == 30
    assert len(alarm.notices[0].detail) >= 100


@pytest.mark.skipif(not OFFICIAL.exists(), reason="npm peers are not installed: make peers")
@pytest.mark.interop
def test_asyncapis_own_schema_finds_it_valid() -> None:
    official = jsonschema_rs.Draft7Validator(json.loads(OFFICIAL.read_text()))
    assert [error.message for error in official.iter_errors(document())] == []
    broken = document()
    broken["channels"]["state"]["address"] = 7
    assert list(official.iter_errors(broken))


def test_every_schema_is_one_and_every_message_is_documented() -> None:
    for schema in schemas().values():
        jsonschema_rs.meta.validate(schema)
    told = (ROOT / "docs" / "mqtt.md").read_text()
    for kind in KINDS:
        assert f"| `{kind}` |" in told, kind
    for model in (*UP, *DOWN):
        assert f"`{model.model_fields['schema_'].default}`" in told


@pytest.mark.skipif(mosquitto_program() is None, reason="mosquitto is not installed")
@pytest.mark.interop
async def test_everything_that_goes_over_the_wire_is_as_the_schemas_say(
    mosquitto: Mosquitto, dems: EmulatedDems, dock: Dock
) -> None:
    dock.camera.record(some_bytes(1000))
    known = schemas()
    seen: dict[str, dict[str, object]] = {}
    async with Connection(mosquitto.options(), client_id="ear") as ear:
        await ear.subscribe(Subscription("evidock/v1/#"))
        table = at(mosquitto, operator_keys=[ALICE.vkey])
        async with DemsAtBroker(dems.core, mosquitto.options()) as there, dock.here(table, dems) as agent:
            await until(lambda: there.announced and there.of("head") and agent.broker is not None)
            from agent.broker.messages import topic  # noqa: PLC0415
            from agent.mqtt import Outgoing  # noqa: PLC0415
            from tests.broker.conftest import STATION  # noqa: PLC0415

            async with Connection(mosquitto.options(), client_id="desk") as desk:
                await desk.publish(Outgoing(topic(STATION, "cmd"), payload(order()), expiry=60))
            wanted = {"state", "status", "capture", "alarm", "head", "receipt", "cmd", "resp"}
            while wanted - seen.keys():
                message = await ear.receive()
                ear.acknowledge(message)
                said = json.loads(message.payload)
                kind = message.topic.rpartition("/")[2]
                assert dict(message.user).get("schema", said["schema"]) == said["schema"]
                assert said["schema"].split("/")[0] == kind
                jsonschema_rs.Draft202012Validator(known[said["schema"]]).validate(said)
                (operation,) = [
                    one for one in document()["operations"].values() if one["channel"]["$ref"].endswith(f"/{kind}")
                ][:1]
                assert message.qos == operation["bindings"]["mqtt"]["qos"]
                seen[kind] = said
