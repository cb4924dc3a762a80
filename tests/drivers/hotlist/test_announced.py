"""What the agency's broker is told: of a hit at once, by rule and list; of every other read nothing at all."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from agent.mqtt import Session, Subscription
from agent.testing.process import BARE
from drivers.alpr.emulator import MESSAGES
from tests.drivers.hotlist.rig import until
from tests.drivers.hotlist.test_secrecy import MARKS, PLATE, Car, passage

if TYPE_CHECKING:
    from pathlib import Path

    from agent.mqtt import Message
    from agent.testing.broker import Mosquitto


async def test_a_hit_is_announced_before_everything_and_no_other_read_is(tmp_path: Path, mosquitto: Mosquitto) -> None:
    heard: list[tuple[str, bytes]] = []

    async def listen(message: Message) -> None:
        heard.append((message.topic, message.payload))

    def hits() -> list[dict[str, Any]]:
        return [json.loads(payload) for topic, payload in heard if topic.endswith("/hit")]

    (tmp_path / "car").mkdir()
    car = Car(tmp_path / "car")
    car.daemon._command = BARE
    table = f'\n[mqtt]\nhost = "127.0.0.1"\nport = {mosquitto.port}\ntls = false\nsite = "north"\n'
    car.daemon.config.write_text(car.daemon.config.read_text() + table)
    listener = Session(mosquitto.options(), name="dems", topics=[Subscription("#")])
    listening = asyncio.create_task(listener.listen(listen))
    try:
        async with car.daemon as daemon:
            await daemon.ready(within=120)
            await car.has_list()
            await until(lambda: any(topic.endswith("/state") for topic, _ in heard))
            for number in range(20):
                await car.sender("hikvision").once(MESSAGES["hikvision"](passage(number), ""))
            assert await car.sender("hikvision").once(MESSAGES["hikvision"](passage(99, "EVDKD42"), "")) == 200
            await until(lambda: bool(hits()))
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    (hit,) = hits()
    said = hit["read"]["hit"]
    assert (said["list"], said["rule"], said["differences"]) == ("region", "ocr(1)", 1)
    assert said["list_sha256"]
    everything = b"".join(topic.encode() + payload for topic, payload in heard)
    assert PLATE.encode() not in everything
    for mark in (*MARKS, "EVDK042", "EVDKD42"):
        assert mark.encode() not in everything, "its plate is in the capture alone"
