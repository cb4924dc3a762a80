"""docs/alpr.md: what it says to write into agent.toml is what the drivers take."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from drivers.alpr.broker import Broker
from drivers.alpr.makers import MAKERS
from drivers.alpr.makers.mapping import Mapping
from drivers.alpr.options import CameraOptions
from drivers.alpr.queue import Queue
from drivers.alpr.receiver import Receiver

TEXT = (Path(__file__).parents[3] / "docs" / "alpr.md").read_text()
BLOCKS = [re.sub(r"(?m)^   ", "", one) for one in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)]
DRIVERS = {"alpr.receiver": Receiver, "alpr.queue": Queue, "alpr.mqtt": Broker}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_example_is_taken(number: int) -> None:
    told = tomllib.loads(BLOCKS[number])["driver"]
    (table,) = told if isinstance(told, list) else [told]
    if "use" in table:
        assert DRIVERS[table["use"]].Options.model_validate(table)
        return
    cameras = table["camera"] if isinstance(table["camera"], list) else [table["camera"]]
    for camera in cameras:
        if "poll" in camera:
            base = {"name": "front", "maker": "hikvision", "secret_file": "/etc/evidock/front"}
            assert CameraOptions.model_validate({**base, **camera}).poll
        elif "name" in camera:
            assert CameraOptions.model_validate(camera).mapping
        else:
            assert Mapping.model_validate(camera["mapping"])


def test_every_maker_and_every_setting_is_named() -> None:
    assert len(BLOCKS) > 5
    for maker in MAKERS:
        assert f"`{maker}`" in TEXT
    for name in {*CameraOptions.model_fields, *Mapping.model_fields} - {"maker", "encoding", "plate"}:
        assert re.search(rf"\b{name}\b", TEXT), f"docs/alpr.md does not speak of {name}"
