"""Every parser of what others wrote, each with bytes that it reads: what hostile tests and the fuzzer start from.

A new parser of `firmware_specs/formats` needs one entry here; `test_every_parser` finds it and asks for that.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.capture import canonical
from firmware_specs import SpecError
from firmware_specs.formats import (
    axis_body_worn,
    axis_lpv,
    blackvue_track,
    camm,
    coban_trigger,
    enote,
    fit,
    freegps,
    gpmf,
    hikvision_anpr,
    layout,
    mender,
    multipart,
    ng911,
    onvif_replay,
    openalpr,
    plain_xml,
    platerecognizer,
    vapix_recordings,
)
from firmware_specs.formats.firmware import dfu, rauc, uimage
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.recognised import recognise
from firmware_specs.formats.source import Text
from tests.formats import camera_messages as camera
from tests.formats import car_parsers as car
from tests.formats.firmware_images import dfu_image, fit_image, mender_artifact, rauc_bundle, uboot_image
from tests.formats.make import FTYP, box, camm_film, full, mvhd, trak

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAID_MAX = 1 << 20
"""Bytes of JSON that a parser may make of any input."""


@dataclass(frozen=True)
class Parser:
    """What reads, and whole inputs for it, the first of which stands for all where time is short."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    samples: tuple[str, ...] = field(default=())
    """Real files, as patterns below the folder of samples."""
    stretch: int = 1 << 16
    """Of a stream that may begin anywhere: its recordings are cut into pieces of so many bytes."""

    def accepts(self, data: bytes) -> bool:
        """Whether it is a value; our typed error else, and nothing else ever."""
        try:
            told = self.read(data)
        except SpecError:
            return False
        if isinstance(told, dict):
            assert len(canonical(told)) < SAID_MAX
        return True

    def corpus(self) -> Iterator[bytes]:
        """The seeds, and the real files where there are some: short ones, for a fuzzer."""
        yield from self.seeds
        folder = os.environ.get("EVIDOCK_SAMPLES")
        for pattern in self.samples if folder else ():
            for path in sorted(Path(folder or "").glob(pattern)):
                if path.stat().st_size < 1 << 16:
                    recorded = path.read_bytes()
                    for begin in range(0, len(recorded), self.stretch):
                        yield recorded[begin : begin + self.stretch]


# -- films and telemetry -----------------------------------------------------------------------------------------------


def fragment() -> bytes:
    tfhd = full(b"tfhd", struct.pack(">II", 1, 512), flags=0x8)
    trun = full(b"trun", struct.pack(">III", 2, 512, 512), flags=0x100)
    traf = box(b"traf", tfhd, full(b"tfdt", struct.pack(">Q", 1024), version=1), trun)
    return box(b"moof", full(b"mfhd", struct.pack(">I", 1)), traf) + box(b"mdat", b"film")


def fragments() -> bytes:
    return FTYP + box(b"moov", mvhd(), trak(1, b"vide", b"avc1", [])) + fragment() * 2


def gps_block() -> bytes:
    body = struct.pack("<6I", 16, 45, 20, 17, 12, 31) + b"ANE\0" + struct.pack("<4f", 5427.3, 1832.9, 7.5, 330.0)
    return struct.pack(">I", 0x60) + b"freeGPS " + struct.pack("<I", 76) + bytes(32) + body + bytes(8)


def telemetry() -> bytes:
    def item(key: bytes, kind: bytes, size: int, raw: bytes) -> bytes:
        return key + kind + struct.pack(">BH", size, len(raw) // size) + raw + bytes(-len(raw) % 4)

    scale = item(b"SCAL", b"l", 4, struct.pack(">5i", 10**7, 10**7, 1000, 1000, 100))
    fix = item(b"GPS5", b"l", 20, struct.pack(">5i", 331264969, -1173273542, -20184, 167, 19))
    stream = scale + fix
    inner = item(b"DVNM", b"c", 1, b"Camera") + item(b"STRM", b"\0", 1, stream)
    return item(b"DEVC", b"\0", 1, inner)


def everything() -> bytes:
    """One film with each box that we read."""
    keys = full(b"keys", struct.pack(">I", 1), box(b"mdta", b"com.apple.quicktime.creationdate"))
    data = box(b"data", struct.pack(">II", 1, 0), b"2026-11-22T10:11:12-05:00")
    ilst = box(b"ilst", struct.pack(">II", 8 + len(data), 1), data)
    meta = box(b"meta", full(b"hdlr", bytes(4), b"mdta", bytes(13)), keys, ilst)
    place = box(b"\xa9xyz", struct.pack(">HH", 18, 0), b"+42.9834-081.2497/")
    maker = box(b"free", box(b"cprt", b" Pittasoft;DR900\0"), box(b"gps ", LINE), box(b"3gf ", ACCELERATION))
    media = telemetry()
    block, start = gps_block(), len(FTYP) + 8
    index = box(b"gps ", struct.pack(">IIII", 0, 1, start + len(media), len(block)))
    tracks = trak(1, b"meta", b"gpmd", [(start, len(media))])
    moov = box(b"moov", mvhd(3_878_205_072), index, tracks, box(b"udta", meta, place, box(b"GPMF", telemetry())))
    return FTYP + box(b"mdat", media, block) + moov + maker


LINE = b"[1623057129256]$GPRMC,201205.00,A,3853.16949,N,07659.54604,W,5.849,284.43,070621,,,D*76\r\n"
ACCELERATION = b"".join(struct.pack(">Ihhh", at, 1, 2, 3) for at in (100, 200, 300))
CAMM = struct.pack("<HHdi2d7f", 0, 6, 1.4e9, 3, 42.0, -81.0, *[1.0] * 7)
TRAIL = (
    b'{"CoordinateEntries": [{"LocationWKT": "POINT(1 2)", "SecondsFromStart": 6.5,'
    b' "Timestamp": "2022-08-23T11:48:10Z"}]}'
)


# -- electronic notes --------------------------------------------------------------------------------------------------


def note_envelope() -> bytes:
    """The first entry of a notebook that npm jose signed."""
    path = Path(__file__).parents[1] / "drivers" / "enotes" / "vectors" / "batch.ndjson"
    return path.read_bytes().split(b"\n")[0]


def _notes(data: bytes) -> object:
    """An upload of entries, down to what each of them says."""
    for line in enote.lines(data):
        found = enote.envelope(line)
        assert len(found.digest) == len(found.received_sha256)
        entry, wrong, canonical_form = enote.payload_of(found)
        if entry is not None and not wrong and canonical_form:
            assert enote.strict_json(enote.canonical(entry)) == entry
        assert enote.b64url(found.received_sha256)
    return None


def _payload(data: bytes) -> object:
    """An entry by itself, so that what is bent is not its base64url."""
    entry = enote.strict_json(data)
    if isinstance(entry, dict):
        wrong = enote.problems(entry)
        assert all(len(one) <= 200 for one in wrong)
    return None


# -- calls for help ----------------------------------------------------------------------------------------------------

NG911_PLACE = (
    b'<presence><device id="d"><timestamp>2026-11-22T07:39:58Z</timestamp><geopriv><location-info><Circle>'
    b'<pos>42.5 -81.25</pos><radius>35.5</radius></Circle><confidence pdf="normal">90</confidence>'
    b"<civicAddress><country>CA</country></civicAddress></location-info><method>GPS</method></geopriv></device></presence>"
)
NG911 = json.dumps(
    {
        "$id": "urn:emergency:uid:incidentid:7f2c1e0b44:cad.police.example",
        "lastUpdateTimeStamp": "2026-11-22T02:41:00.250-05:00",
        "callComponent": [{"$id": "urn:emergency:uid:callid:0a93c4d512:bcf.esinet.example"}],
        "locationComponent": [
            {"locationByValue": NG911_PLACE.decode()},
            {"locationByReferenceUrl": "https://a.example"},
        ],
    }
).encode()
NG911_HEADERS = b"INVITE x SIP/2.0\r\nCall-Info: <urn:emergency:uid:callid:0a93c4d512:a>;purpose=emergency-CallId\r\n"

VAPIX_LIST = (
    b'<root><recordings totalnumberofrecordings="1" numberofrecordings="1"><recording diskid="SD_DISK"'
    b' recordingid="20240621_151725_95E7_B8A44F9D7D55" starttime="2024-06-21T07:17:25.349296Z"'
    b' stoptime="2024-06-21T07:18:17.615961Z" recordingtype="continuous" recordingstatus="completed">'
    b'<video mimetype="video/x-h264" width="1920" height="1080"/></recording></recordings></root>'
)
VAPIX_PROPERTIES = (
    b'<ExportRecordingResponse><PropertiesSuccess><ExportProperties RecordingId="20141211_091153_025B_00408CCAD5D78"'
    b' ExportFormat="matroska" EstimatedFileSize="1234" Starttime="2014-12-11T09:45:09Z"'
    b' Stoptime="2014-12-11T10:10:00Z"/></PropertiesSuccess></ExportRecordingResponse>'
)
VAPIX_FORMATS = b'<ExportRecordingResponse><ExportCapabilities ExportFormat="matroska,zip"/></ExportRecordingResponse>'
VAPIX_ERROR = (
    b"<ExportRecordingResponse><GeneralError><ErrorCode>110</ErrorCode><ErrorDescription>Recording not found"
    b"</ErrorDescription></GeneralError></ExportRecordingResponse>"
)

REPLAYED = bytes.fromhex("90600001000000020000000a abac0003 ed1e2a4f 80000000 80010000") + b"a picture"


def _vapix(data: bytes) -> object:
    """What answers about an export; an error first, as the driver asks."""
    if (told := vapix_recordings.error_in(data)) is not None:
        return told
    try:
        return vapix_recordings.export_properties(data)
    except SpecError:
        return vapix_recordings.export_formats(data)


# -- words -------------------------------------------------------------------------------------------------------------


def _words(data: bytes) -> object:
    """What stands in headers of the Axis protocol."""
    text = data.decode("latin-1")
    axis_body_worn.moment(text)
    axis_body_worn.kind_of(text)
    name, _, value = text.partition(":")
    found = axis_body_worn.metadata([(name, value)])
    for prefix, meta in zip((axis_body_worn.CONTAINER, axis_body_worn.OBJECT), found, strict=True):
        axis_body_worn.metadata_headers(prefix, meta)
    return None


def _paths(data: bytes) -> object:
    """A name on a volume, placed in every layout."""
    text = data.decode("utf-8", "replace")
    for one in layout.layouts().values():
        if (place := one.place(text)) is not None:
            assert place.media_type
            assert place.group is None or place.group
            assert place.said is not None
            assert place.clip is None or place.clip >= 0
    return None


_FILMS = ("mp4-structure/*.m*", "camm/*.mp4", "freegps/*.mp4", "blackvue/*.mp4", "exiftool/QuickTime.*")

PARSERS: dict[str, Parser] = {
    "film": Parser(lambda data: claims(film(Text(data))), (everything(), fragments(), camm_film()), _FILMS),
    "gpmf": Parser(gpmf.telemetry, (telemetry(),), ("gpmf/*.raw",)),
    "camm": Parser(camm.record, (CAMM,)),
    "freegps": Parser(freegps.block, (gps_block(),)),
    "gps": Parser(blackvue_track.sentences, (LINE * 2,), ("blackvue/*.gps",)),
    "3gf": Parser(blackvue_track.accelerations, (ACCELERATION,), ("blackvue/*.3gf",)),
    "trail": Parser(axis_body_worn.trail, (TRAIL,), ("axis-bodyworn/*.json",)),
    "axis words": Parser(_words, (b"X-Object-Meta-Starttimeiso: 2022-08-23T11%3A48%3A10Z", b"1763800000.5")),
    "layouts": Parser(
        _paths,
        (b"DCIM/100MEDIA/CLIP0001.MP4", b"DATA/20261122/101112L0.avi", b"BlackVue/Record/20261122_101112_NF.mp4"),
    ),
    "hikvision": Parser(
        lambda data: hikvision_anpr.event(data, "multipart/form-data; boundary=b"),
        (camera.PUSHED, camera.ANPR),
        ("alpr/*/hikvision/*.xml", "alpr/*/hikvision/*.http"),
    ),
    "plates": Parser(hikvision_anpr.stored, (camera.PLATES, camera.PLATES_JSON), ("alpr/*/hikvision/plates*.xml",)),
    "onvif": Parser(camera.onvif, (camera.EJ, camera.MJ, camera.STREAM), ("alpr/*/onvif/*",)),
    "openalpr": Parser(
        lambda data: openalpr.picture(openalpr.message(data).told, "vehicle_crop_jpeg"),
        (camera.GROUP,),
        ("alpr/*/openalpr/*.json",),
    ),
    "axis plates": Parser(
        lambda data: axis_lpv.event(data, "multipart/form-data; boundary=b"),
        (camera.LPV_PUSHED, camera.LPV),
        ("alpr/*/axis/*.json",),
    ),
    "plate recognizer": Parser(
        lambda data: platerecognizer.hook(data, "multipart/form-data; boundary=b"),
        (camera.HOOK_PUSHED, camera.HOOK, b"json=%7B%22hook%22%3A%7B%7D%7D"),
        ("alpr/*/platerecognizer/*.json",),
    ),
    "templated": Parser(
        camera.templated, (camera.AUTOVU, camera.LINES, camera.HOOK_PUSHED, b"a=1&b=2"), ("alpr/*/generic/*",)
    ),
    "json": Parser(camera.spans, (camera.GROUP, camera.HOOK, b'[1, "a\\"b", {"c": []}]'), ("alpr/*/*/*.json",)),
    "multipart": Parser(lambda data: multipart.parse(data, b"b"), (camera.PUSHED, camera.LPV_PUSHED)),
    "xml": Parser(plain_xml.parse, (camera.ANPR, camera.AUTOVU), ("alpr/*/hikvision/*.xml",)),
    "notes": Parser(_notes, (note_envelope(),)),
    "note": Parser(_payload, (enote.unb64url(json.loads(note_envelope())["payload"]),)),
    "ng911": Parser(
        ng911.document, (NG911, NG911_PLACE, NG911_HEADERS), ("ng911/*/*.json", "ng911/*/*.xml", "ng911/*/*.txt")
    ),
    "receiver": Parser(
        car.receiver,
        (car.RMC + car.GGA + car.ZDA + car.PVT, car.PVT + car.SOL + car.VER),
        ("gpsd/*.log",),
        stretch=200,
    ),
    "gpsd": Parser(car.gpsd, (car.TPV,)),
    "modbus": Parser(car.modbus, (car.DISCRETE,)),
    "trigger dock": Parser(car.dock, (car.DOCK,)),
    "tag": Parser(coban_trigger.owner, (car.TAG,)),
    "blackvue http": Parser(car.recorder, (car.OLD_LIST, car.NEW_LIST, car.METADATA)),
    "gopro http": Parser(car.gopro, (car.MEDIA, car.STATE, car.INFO, car.CLOCK)),
    "vapix list": Parser(vapix_recordings.listing, (VAPIX_LIST,)),
    "vapix export": Parser(_vapix, (VAPIX_PROPERTIES, VAPIX_FORMATS, VAPIX_ERROR)),
    "replay": Parser(onvif_replay.packet, (REPLAYED, REPLAYED[:1].replace(b"\x90", b"\x80") + REPLAYED[1:12])),
    "dfu": Parser(lambda data: dfu(Text(data)), (dfu_image(),), ("firmware/fw.dfu",)),
    "uimage": Parser(lambda data: uimage(Text(data)), (uboot_image(),), ("firmware/fw.uimg",)),
    "fit": Parser(lambda data: fit.tree(Text(data)), (fit_image(),), ("firmware/fw.itb",)),
    "rauc": Parser(lambda data: rauc(Text(data)), (rauc_bundle(),), ("firmware/fw.raucb",)),
    "mender": Parser(lambda data: mender.artifact(Text(data)), (mender_artifact(),), ("firmware/fw.mender",)),
    "any": Parser(
        lambda data: recognise(Text(data)).told,
        (TRAIL, dfu_image(), uboot_image(), fit_image(), rauc_bundle(), telemetry(), LINE, ACCELERATION),
        (*_FILMS, "firmware/fw.*", "gpmf/*.raw"),
    ),
}
"""By a short name, which the fuzzer takes."""
