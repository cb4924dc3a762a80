"""What each layout makes of which path. The names come from the makers' papers that the layouts cite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_specs import SpecError
from firmware_specs.devices import DeviceSpec, device_spec, device_specs
from firmware_specs.formats import layout as module
from firmware_specs.formats.layout import Layout, layout, layouts
from tests.drivers.usb_volume.desk import Desk, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict

    from drivers.body_worn.usb_volume import UsbVolume

REC, SIDE, NEVER = "recording", "sidecar", "never"


@pytest.mark.parametrize(
    ("name", "path", "role", "group"),
    [
        ("dcf", "DCIM/100MEDIA/CLIP0001.MP4", REC, "DCIM/100MEDIA/0001"),
        ("dcf", "DCIM/100MEDIA/MVI_0001.THM", SIDE, "DCIM/100MEDIA/0001"),
        ("dcf", "dcim/100media/clip0001.mp4", REC, "DCIM/100MEDIA/0001"),
        ("dcf", "DCIM/100MEDIA/2026_1122_101112_0001.MP4", REC, "DCIM/100MEDIA/2026_1122_101112_0001"),
        ("dcf", "DCIM/100MEDIA/2026_1122_101112_0001.GPS", SIDE, "DCIM/100MEDIA/2026_1122_101112_0001"),
        ("dcf", "DCIM/099MEDIA/CLIP0001.MP4", REC, "DCIM/099MEDIA/CLIP0001"),
        ("dcf", "DCIM/loose", REC, "DCIM/LOOSE"),
        ("dcf", "DCIM/100MEDIA/.DS_Store", NEVER, None),
        ("dcf", "DCIM/100MEDIA/._CLIP0001.MP4", NEVER, None),
        ("dcf", "MISC/version.json", None, None),
        ("novatek", "DCIM/Movie/2025_1224_120406_0001F.MP4", REC, "DCIM/MOVIE/2025_1224_120406_0001"),
        ("novatek", "DCIM/Movie/2025_1224_120406_0001R.MP4", REC, "DCIM/MOVIE/2025_1224_120406_0001"),
        ("novatek", "DCIM/Movie/RO/2025_1224_120406_0001F.MP4", REC, "DCIM/MOVIE/RO/2025_1224_120406_0001"),
        ("novatek", "DCIM/Photo/x.JPG", REC, "DCIM/PHOTO/X"),
        ("blackvue", "BlackVue/Record/20261122_101112_NF.mp4", REC, "BLACKVUE/RECORD/20261122_101112_N"),
        ("blackvue", "BlackVue/Record/20261122_101112_NRL.mp4", REC, "BLACKVUE/RECORD/20261122_101112_N"),
        ("blackvue", "BlackVue/Record/20261122_101112_NF.thm", SIDE, "BLACKVUE/RECORD/20261122_101112_N"),
        ("blackvue", "BlackVue/Record/20261122_101112_N.gps", SIDE, "BLACKVUE/RECORD/20261122_101112_N"),
        ("blackvue", "BlackVue/Record/20261122_101112_N.3gf", SIDE, "BLACKVUE/RECORD/20261122_101112_N"),
        ("blackvue", "BlackVue/Config/config.ini", NEVER, None),
        ("blackvue", "BlackVue/Record/other.mp4", None, None),
        ("gopro", "DCIM/100GOPRO/GX010048.MP4", REC, "DCIM/100GOPRO/0048"),
        ("gopro", "DCIM/100GOPRO/GX020048.MP4", REC, "DCIM/100GOPRO/0048"),
        ("gopro", "DCIM/100GOPRO/GL010048.LRV", SIDE, "DCIM/100GOPRO/0048"),
        ("gopro", "DCIM/100GOPRO/GX010048.THM", SIDE, "DCIM/100GOPRO/0048"),
        ("gopro", "DCIM/100GOPRO/GOPR1234.MP4", REC, "DCIM/100GOPRO/1234"),
        ("gopro", "DCIM/100GOPRO/GP011234.MP4", REC, "DCIM/100GOPRO/1234"),
        ("gopro", "DCIM/100GOPRO/GHAA0001.MP4", REC, "DCIM/100GOPRO/GHAA0001"),
        ("gopro", "DCIM/100GOPRO/GS012345.360", REC, "DCIM/100GOPRO/2345"),
        ("gopro", "DCIM/.Trashes/._x", NEVER, None),
        ("arbitrator", "DATA/20261122/101112L0.avi", REC, "DATA/20261122/101112"),
        ("arbitrator", "DATA/20261122/101112_1.avi", REC, "DATA/20261122/101112"),
        ("arbitrator", "DATA/LOCAL/20261122/101112B1.avi", REC, "DATA/LOCAL/20261122/101112"),
        ("arbitrator", "WIDKEY/WID12345.TXT", NEVER, None),
        ("arbitrator", "WIDKEY/anything/else", NEVER, None),
        ("arbitrator", "DATA/20261122/wofficer.txt", NEVER, None),
        ("arbitrator", "DATA/WADMIN.TXT", NEVER, None),
    ],
)
def test_where_a_path_stands(name: str, path: str, role: str | None, group: str | None) -> None:
    place = layout(name).place(path)
    assert (place.rule.role if place else None, place.group if place else None) == (role, group)


@pytest.mark.parametrize(
    ("path", "clip"), [("A/REC7_002.MP4", 2), ("A/REC7_.MP4", None), ("A/REC7_9999999999.MP4", None)]
)
def test_a_layout_may_count_the_clips_of_a_recording(path: str, clip: int | None) -> None:
    rule = {"path": "A/(?P<stem>[^_]+)_(?P<part>[0-9]*).MP4", "role": REC, "group": "{stem}", "clip": "part"}
    made = Layout.model_validate({"name": "x", "title": "x", "roots": ["A"], "media_types": {}, "rules": [rule]})
    place = made.place(path)
    assert place is not None
    assert (place.group, place.clip) == ("REC7", clip)


def test_chapters_of_a_gopro_are_counted() -> None:
    places = [
        layout("gopro").place(f"DCIM/100GOPRO/{name}") for name in ("GX010048.MP4", "GX120048.MP4", "GOPR1234.MP4")
    ]
    assert [place and place.clip for place in places] == [1, 12, None]


def test_what_a_name_tells() -> None:
    event = layout("blackvue").place("BlackVue/Record/20261122_101112_EFS.mp4")
    assert event is not None
    assert event.said == {"time": "20261122_101112", "type": "E", "direction": "F", "upload": "S"}
    assert event.rule.urgency == "flagged"
    assert event.media_type == "video/mp4"
    plain = layout("blackvue").place("BlackVue/Record/20261122_101112_PF.mp4")
    assert plain is not None
    assert plain.rule.urgency == "routine"
    conformant = layout("dcf").place("DCIM/100MEDIA/CLIP0001.XYZ")
    assert conformant is not None
    assert (conformant.rule.conformant, conformant.media_type) == (True, "application/octet-stream")


@given(st.sampled_from(sorted(layouts())), st.text(max_size=200))
def test_no_path_breaks_a_layout(name: str, text: str) -> None:
    for path in (text, f"DCIM/{text}", f"DATA/{text}", f"BlackVue/Record/{text}"):
        place = layout(name).place(path)
        if place is not None:
            assert place.media_type
            assert place.said is not None
            assert place.group is None or place.group


async def test_passwords_stay_on_the_card(
    tmp_path: Path, dock: Callable[..., UsbVolume], log: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "dock"
    for name, content in {
        "DATA/20261122/101112L0.avi": b"film",
        "DATA/20261122/WOFFICER.TXT": b"Password=hunter2",
        "WIDKEY/WID00001.TXT": b"Password=hunter2",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    desk = Desk()
    async with running(dock(), desk):
        await desk.until(lambda: desk.offered > 2)
    (device,) = desk.devices.values()
    assert device.spec == "panasonic_arbitrator"
    assert list(desk.held.values()) == [b"film"]
    refused = {line["key"]: line["why"] for line in log if line["event"] == "entry_refused"}
    assert refused.keys() == {"DATA/20261122/WOFFICER.TXT", "WIDKEY/WID00001.TXT"}
    assert all("password" in why for why in refused.values())


def test_every_shipped_file_is_sound_and_says_what_is_not_verified() -> None:
    assert {spec.layout for spec in device_specs().values() if spec.layout} == layouts().keys()
    for folder in ("devices", "formats"):
        for file in (module.resources.files("firmware_specs") / folder).iterdir():
            if file.name.endswith(".toml"):
                header = file.read_text("utf-8").partition("\n\n")[0]
                assert "# Known:" in header, file.name
                assert "# Not verified:" in header, file.name


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rules": [{"path": "(", "role": "recording"}]}, "no regular expression"),
        ({"rules": [{"path": ".*", "role": "never"}]}, "`why` belongs"),
        ({"rules": [{"path": ".*", "role": "recording", "group": "{stem}"}]}, "no group named stem"),
        ({"rules": [{"path": ".*", "role": "recording", "clip": "part"}]}, "no group named part"),
        ({"rules": []}, "at least 1"),
        ({"roots": []}, "a root is the name"),
        ({"roots": ["DCIM/x"]}, "a root is the name"),
        ({"extra": 1}, "Extra inputs"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(changed: dict[str, object], why: str) -> None:
    sound = {
        "name": "x",
        "title": "x",
        "roots": ["DCIM"],
        "media_types": {},
        "rules": [{"path": ".*", "role": "recording"}],
    }
    Layout.model_validate(sound)
    with pytest.raises(ValueError, match=why):
        Layout.model_validate(sound | changed)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"match": {}}, "would be a guess"),
        ({"match": {"paths": ["../x"]}}, "relative to the volume"),
        ({"match": {"paths": ["/etc"]}}, "relative to the volume"),
        ({"match": {"usb": ["0951"]}}, "should match pattern"),
        ({"serial": {"path": "a/../../b", "pattern": "(?P<value>.)"}}, "relative to the volume"),
        ({"serial": {"path": "a", "pattern": "."}}, "a group named value"),
        ({"layout": "none"}, "there is no layout"),
    ],
)
def test_a_device_spec_that_contradicts_itself_is_refused(changed: dict[str, object], why: str) -> None:
    sound = {"name": "x", "family": "body_worn", "layout": "dcf", "match": {"paths": ["DCIM"]}}
    DeviceSpec.model_validate(sound)
    with pytest.raises(ValueError, match=why):
        DeviceSpec.model_validate(sound | changed)


def test_names_that_are_not_there() -> None:
    with pytest.raises(SpecError, match="there are: "):
        layout("none")
    with pytest.raises(SpecError, match="there are: "):
        device_spec("none")
