"""Every message of the samples is read as its oracle says: real cameras' messages, and shapes that nobody published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from drivers.alpr.makers import hikvision
from tests.drivers.alpr.oracle import agrees, expected, needs_samples, request, sample, told

if TYPE_CHECKING:
    from drivers.alpr.makers.heard import Heard

pytestmark = needs_samples

HIKVISION = [
    "real/hikvision/anpr.xml",
    *(
        f"authored/hikvision/{name}"
        for name in (
            "checkpoint_camera.xml",
            "heartbeat.xml",
            "no_namespace_no_declaration.xml",
            "no_zone.xml",
            "nvr_prefixed.xml",
            "old_firmware.xml",
            "other_event.xml",
            "push.http",
            "push_boundary_in_jpeg.http",
            "push_json.http",
            "push_occupants.http",
            "retransmitted.xml",
            "unread_plate.xml",
        )
    ),
]
LISTS = ["real/hikvision/plates_one.xml", "real/hikvision/plates_shuffled.xml", "authored/hikvision/plates_none.xml"]


def body(name: str) -> tuple[str, bytes]:
    return request(sample(name)) if name.endswith(".http") else ("", sample(name))


def compare(heard: Heard, oracle: dict[str, Any]) -> None:
    agrees([told(read) for read, _ in heard.reads], oracle["reads"])
    assert heard.ignored == oracle.get("ignored")


@pytest.mark.parametrize("name", HIKVISION)
def test_hikvision(name: str) -> None:
    content_type, data = body(name)
    compare(hikvision.heard(data, content_type, "<device>"), expected(name))


@pytest.mark.parametrize("name", LISTS)
def test_hikvision_list(name: str) -> None:
    oracle = expected(name)
    found = hikvision.listed(sample(name), "<device>")
    agrees([told(read) for _, read, _ in found], oracle["reads"])
    assert (found[-1][0] if found else None) == oracle["next_pic_time"]
