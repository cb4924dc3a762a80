"""Rigs whose messages wait with a server of another author until they are done with: a queue, and a broker."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from agent.testing.broker import mosquitto_program
from agent.testing.ports import free_port
from agent.testing.rig import not_given
from drivers.alpr.broker import Broker
from drivers.alpr.queue import Queue
from tests.drivers.alpr.peers import Beanstalkd
from tests.drivers.alpr.rig import PushRig

if TYPE_CHECKING:
    from pathlib import Path

TOPIC = "car42/onvif-ej/RuleEngine/Recognition/LicensePlate/&1/LPR"


class QueueRig(PushRig):
    """An agent that fills the tube of a beanstalkd. Unplugged, the server is killed; its jobs lie on disk."""

    way = "beanstalkd"

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path, "openalpr")
        self.server = Beanstalkd(tmp_path / "beanstalkd", free_port())
        self.server.start()
        self._jobs: dict[str, int] = {}

    def driver(self) -> Queue:
        told = {"use": "alpr.queue", "name": "car42", "rescan": 0.05, "port": self.server.port, "at_once": 2}
        return Queue(Queue.Options.model_validate({**told, "camera": {"name": "front"}}))

    def _start(self) -> None:
        for key, sent in list(self._waiting.items()):
            self._jobs[key] = self.server.put(sent.body)
            del self._waiting[key]

    def holds(self, key: str) -> bool:
        return self.server.state(self._jobs[key]) != "gone"

    def answered(self, key: str) -> bool:
        return not self.holds(key)

    def shorten(self, key: str) -> None:
        not_given("shorten", key)

    def unplug(self) -> None:
        self.server.kill()

    def plug_in(self) -> None:
        self.server.start()
        self._waiting |= self._ever
        self._start()


class BrokerRig(PushRig):
    """A camera that publishes to a mosquitto, and forgets when the broker has it.

    It cannot be unplugged: whoever lost a broker comes back after a pause that is longer than the suite waits.
    """

    way, topic = "mqtt", TOPIC

    def __init__(self, tmp_path: Path) -> None:
        super().__init__(tmp_path, "onvif")
        self.port = free_port()
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 10000"]
        (tmp_path / "broker.conf").write_text("\n".join([*lines, ""]))
        command = [mosquitto_program() or "mosquitto", "-c", str(tmp_path / "broker.conf")]
        self._broker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        # The session must be there before the camera publishes, as after any first start of ours.
        known = ["mosquitto_sub", "-p", str(self.port), "-i", "car42", "-V", "5", "-c", "-x", "3600", "-q", "1", "-E"]
        until = time.monotonic() + 60
        known += ["-t", self._table.camera[0].filter]
        while subprocess.run(known, stderr=subprocess.DEVNULL, check=False).returncode:
            assert time.monotonic() < until, "mosquitto does not listen"
            time.sleep(0.02)

    @property
    def _table(self) -> Broker.Options:
        broker = {"host": "127.0.0.1", "port": self.port, "tls": False, "max_packet": "16 MiB", "client_id": "car42"}
        told = {"use": "alpr.mqtt", "name": "car42", "rescan": 0.05, "broker": broker}
        return Broker.Options.model_validate({**told, "camera": [{"name": "front", "prefix": "car42"}]})

    def driver(self) -> Broker:
        return Broker(self._table)

    def _start(self) -> None:
        for key, sent in list(self._waiting.items()):
            command = ["mosquitto_pub", "-p", str(self.port), "-q", "1", "-t", TOPIC, "-s"]
            subprocess.run(command, input=sent.body, check=True)
            del self._waiting[key]

    def shorten(self, key: str) -> None:
        not_given("shorten", key)

    def unplug(self) -> None:
        not_given("unplug")

    def end(self) -> None:
        self._broker.kill()
        self._broker.wait()
