"""Every message of the samples is read as its oracle says: real cameras' messages, and shapes that nobody published."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from drivers.alpr.makers import axis, frigate, generic, hikvision, onvif, openalpr, platerecognizer
from drivers.alpr.makers.mapping import Mapping, known
from tests.drivers.alpr.oracle import agrees, expected, request, sample, told

if TYPE_CHECKING:
    from drivers.alpr.makers.heard import Heard
    from drivers.alpr.message import Message
    from drivers.alpr.read import Read

pytestmark = pytest.mark.proves("alpr.receiver", vectors="messages of real cameras; oracles from their makers' papers")

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


@pytest.mark.parametrize(
    "name",
    [
        "real/openalpr/alpr_group.json",
        "authored/openalpr/alpr_results.json",
        "authored/openalpr/group_preview.json",
        "authored/openalpr/heartbeat.json",
        "authored/openalpr/oss_flat_seconds.json",
    ],
)
def test_openalpr(name: str) -> None:
    heard, oracle = openalpr.heard(sample(name), "application/json", "<device>"), expected(name)
    compare(heard, oracle)
    assert heard.names == oracle.get("names", {})


@pytest.mark.parametrize(
    "name", ["real/axis/event.json", "authored/axis/new.json", "authored/axis/update.json", "authored/axis/lost.json"]
)
def test_axis(name: str) -> None:
    compare(axis.heard(sample(name), "application/json", "<device>"), expected(name))


def test_axis_merges_the_messages_of_one_vehicle() -> None:
    oracle = json.loads(sample("authored/axis/merged.expected-only.json"))
    passages = axis.Passages()
    reads = [
        passages.follow(axis.heard(sample(f"authored/axis/{name}"), "", "<device>").reads[0][0], second)
        for second, name in enumerate(oracle["from"])
    ]
    seen = oracle["read"].pop("candidates_seen")
    assert oracle["read"].pop("gap") == "packetCounter 43 was not received"
    agrees(told(reads[-1]), oracle["read"])
    assert passages.missing == 1
    plate = reads[-1].plate
    assert plate is not None
    assert {plate.number, *(one.number for one in plate.candidates)} == set(seen)


@pytest.mark.parametrize(
    "name",
    [
        "real/platerecognizer/recognition.json",
        "real/platerecognizer/recognition_multipart.http",
        "authored/platerecognizer/two_results.json",
    ],
)
def test_platerecognizer(name: str) -> None:
    content_type, data = body(name)
    compare(platerecognizer.heard(data, content_type, "<device>"), expected(name))


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("real/generic/blueiris_push.json", "blueiris"),
        ("real/generic/milesight.json", "milesight"),
        ("authored/generic/autovu_template.xml", "autovu"),
    ],
)
def test_generic(name: str, like: str) -> None:
    """As the oracle's own mapping says, where it has one, and as the one of that name that is shipped."""
    oracle = expected(name)
    mapping = Mapping.model_validate({**oracle["mapping"], "encoding": known()[like]["encoding"]})
    compare(generic.heard(mapping, sample(name), "", "<device>"), oracle)
    oracle["reads"][0].pop("images" if like == "autovu" else "", None)  # the shipped one has both pictures
    mapping = Mapping.model_validate({"like": like})
    compare(generic.heard(mapping, sample(name), "", "<device>"), oracle)


@pytest.mark.parametrize("name", ["ej_direct", "ej_double_nested", "ej_plain_strings", "ej_deleted", "mj_frame"])
def test_onvif(name: str) -> None:
    told, oracle = json.loads(sample(f"authored/onvif/{name}.json")), expected(f"authored/onvif/{name}.json")
    payload = b"" if told["payload"] is None else json.dumps(told["payload"]).encode()
    if name == "mj_frame":
        compare(onvif.metadata(payload, "", "car42", "1"), oracle)
    else:
        compare(onvif.heard(payload, "", "car42"), oracle)


def test_onvif_metadata_of_a_stream() -> None:
    name = "authored/onvif/rtsp_metadata.xml"
    compare(onvif.metadata_xml(sample(name), "<device>", "<profile>"), expected(name))


def test_frigate() -> None:
    name = "real/frigate/tracked_object_update_lpr.json"
    heard = frigate.heard(sample(name), "", "<device>")
    compare(heard, expected(name))
    _, message = heard.reads[0]
    (cut,) = message.removed
    assert message.body[cut.start : cut.end] == b'"John\'s Car"'


def test_axis_messages_that_come_late_or_again() -> None:
    """Missing until they come; sent again, one comes to the same; a counter that begins anew is a restart."""

    def message(counter: int, car: str, state: str) -> Read:
        told = {"packetCounter": str(counter), "carID": car, "carState": state, "plateUTF8": f"EVDK{counter:03}"}
        told["capture_timestamp"] = str(1795333263000 + counter)
        return axis.heard(json.dumps(told).encode(), "", "<device>").reads[0][0]

    passages = axis.Passages()
    passages.follow(message(100, "7", "new"), 0.0)
    passages.follow(message(103, "7", "update"), 0.1)
    assert passages.missing == 2
    passages.follow(message(101, "8", "new"), 0.2)
    assert passages.missing == 1
    last = passages.follow(message(104, "7", "lost"), 0.3)
    assert last.phase == "final"
    assert passages.follow(message(104, "7", "lost"), 0.4) == last
    again = passages.follow(message(1, "7", "new"), 0.5)
    assert (again.phase, passages.missing) == ("new", 1)
    later = passages.follow(message(2, "8", "update"), 60.0)
    assert later.plate is not None
    assert later.plate.candidates == ()


def test_dahuas_lines_through_a_mapping() -> None:
    """As its stream has them, whose time basis is not known; its own driver would tell channel, time and box too."""
    data, oracle = sample("authored/dahua/snap_stream.bin"), expected("authored/dahua/snap_stream.bin")["reads"][0]
    heard = generic.heard(
        Mapping.model_validate({"like": "dahua_lines", "part": ""}),
        data,
        "multipart/x-mixed-replace; boundary=myboundary",
        "lane1",
    )
    read, message = heard.reads[0]
    found = told(read)
    for name, member in (("plate", "number"), ("plate", "country"), ("plate", "color"), ("vehicle", "color")):
        assert found[name][member] == oracle[name][member]
    assert found["motion"] == found["motion"] | oracle["motion"]
    assert found["vehicle"]["brand"] == "Ford"
    assert "occupant_fields_dropped" in read.flags
    kept = b"".join(message.body[start:end] for start, end in _kept(message))
    assert b"DriverFace" not in kept
    assert b"MainSeat" not in kept
    assert b"PlateNumber=EVDK042" in kept


def test_dahuas_posted_json_through_a_mapping() -> None:
    picture = base64.b64encode(b"\xff\xd8\xff\xe0 a plate \xff\xd9").decode()
    told_ = {
        "Picture": {
            "Plate": {"PlateNumber": "EVDK042", "PlateColor": "White"},
            "Vehicle": {"VehicleColor": "Blue"},
            "SnapInfo": {"DeviceID": "LANE1", "Direction": "Approach", "AccurateTime": "2026-11-22 02:41:03.120"},
            "CutoutPic": {"Content": picture, "PicName": "cutout.jpg"},
        }
    }
    mapping = Mapping.model_validate({"like": "dahua_itsapi", "captured_zone": "America/Toronto"})
    (read, _), *others = generic.heard(mapping, json.dumps(told_).encode(), "application/json", "lane1").reads
    assert others == []
    assert read.plate is not None
    assert (read.plate.number, read.device, read.motion.direction_raw) == ("EVDK042", "LANE1", "Approach")
    assert read.captured_at == datetime(2026, 11, 22, 7, 41, 3, 120_000, tzinfo=UTC)
    assert [one.role for one in read.images] == ["plate"]


def test_a_mapping_that_nobody_knows_is_said_at_the_start() -> None:
    assert all(Mapping.model_validate({"like": name}).plate for name in known())
    with pytest.raises(ValueError, match="there are: autovu"):
        Mapping.model_validate({"like": "another"})
    changed = Mapping.model_validate({"like": "autovu", "captured_zone": "America/Toronto"})
    assert (changed.captured_zone, changed.encoding) == ("America/Toronto", "xml")


def _kept(message: Message) -> list[tuple[int, int]]:
    edges = [0, *(edge for one in message.removed for edge in (one.start, one.end)), len(message.body)]
    return list(zip(edges[::2], edges[1::2], strict=True))


@pytest.mark.parametrize(
    ("encoding", "body", "drop"),
    [
        ("json", b'{"plate": "EVDK042", "driver": {"belt": 1}, "p": [{"face": "x"}]}', ["$.driver", "$.p[0].face"]),
        ("xml", b"<A><plate>EVDK042</plate><driver><belt/></driver><p><face>x</face></p></A>", ["A/driver", "A/p"]),
    ],
)
def test_what_a_mapping_drops_is_not_kept(encoding: str, body: bytes, drop: list[str]) -> None:
    plate = "$.plate" if encoding == "json" else "A/plate"
    mapping = Mapping.model_validate({"encoding": encoding, "plate": plate, "drop": drop})
    heard = generic.heard(mapping, body, "", "front")
    read, message = heard.reads[0]
    kept = b"".join(message.body[start:end] for start, end in _kept(message))
    assert b"belt" not in kept
    assert b"x" not in kept
    assert b"EVDK042" in kept
    assert heard.occupants == 2
    assert "occupant_fields_dropped" in read.flags


def test_nothing_can_be_dropped_from_a_form() -> None:
    with pytest.raises(ValueError, match="form"):
        Mapping.model_validate({"encoding": "form", "plate": "plate", "drop": ["driver"]})
