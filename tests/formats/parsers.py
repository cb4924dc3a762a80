"""Every parser of what others wrote, each with bytes that it reads: what hostile tests and the fuzzer start from.

A new parser of `firmware_specs/formats` needs one entry here; `test_every_parser` finds it and asks for that.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zlib
from dataclasses import dataclass, field
from hashlib import sha256
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
    json_spans,
    layout,
    mender,
    multipart,
    ng911,
    onvif_json,
    onvif_replay,
    openalpr,
    plain_xml,
    platerecognizer,
    templated,
    vapix_recordings,
)
from firmware_specs.formats.firmware import dfu, rauc, uimage
from firmware_specs.formats.media import claims, film
from firmware_specs.formats.recognised import recognise
from firmware_specs.formats.source import Text
from tests.formats import car_parsers as car
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
                    yield path.read_bytes()


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


# -- firmware images ---------------------------------------------------------------------------------------------------

PAYLOAD = bytes(range(64))


def dfu_image() -> bytes:
    whole = PAYLOAD + struct.pack("<HHHH3sB", 0x0123, 0x0001, 0x1209, 0x0100, b"UFD", 16)
    return whole + struct.pack("<I", zlib.crc32(whole) ^ 0xFFFFFFFF)


def uboot_image() -> bytes:
    rest = struct.pack(">6I4B32s", 0, 0, 0, 0, 0, 0, 5, 2, 5, 0, b"BWC fw 1.2.3")
    rest = struct.pack(">5I", 1_763_800_000, len(PAYLOAD), 0x80008000, 0x80008000, zlib.crc32(PAYLOAD)) + rest[24:]
    crc = zlib.crc32(b"\x27\x05\x19\x56" + bytes(4) + rest)
    return b"\x27\x05\x19\x56" + struct.pack(">I", crc) + rest + PAYLOAD


def fit_image() -> bytes:
    """A flattened tree of one image with its hash."""
    names: dict[str, int] = {}
    strings = b""

    def prop(name: str, value: bytes) -> bytes:
        nonlocal strings
        if name not in names:
            names[name] = len(strings)
            strings += name.encode() + b"\0"
        return struct.pack(">III", 3, len(value), names[name]) + value + bytes(-len(value) % 4)

    def node(name: str, *inside: bytes) -> bytes:
        raw = name.encode() + b"\0"
        return struct.pack(">I", 1) + raw + bytes(-len(raw) % 4) + b"".join(inside) + struct.pack(">I", 2)

    hashed = node("hash-1", prop("algo", b"sha256\0"), prop("value", sha256(PAYLOAD).digest()))
    image = node("firmware-1", prop("description", b"fw 1.2.3\0"), prop("data", PAYLOAD), hashed)
    chosen = node("configurations", prop("default", b"conf-1\0"))
    tree = node("", prop("description", b"BWC FIT\0"), prop("timestamp", bytes(4)), node("images", image), chosen)
    tree += struct.pack(">I", 9)
    total = 56 + len(tree) + len(strings)
    head = struct.pack(">10I", 0xD00DFEED, total, 56, 56 + len(tree), 40, 17, 16, 0, len(strings), len(tree))
    return head + bytes(16) + tree + strings


def rauc_bundle() -> bytes:
    """A verity bundle: the manifest is what the CMS holds."""

    def der(tag: int, *inside: bytes) -> bytes:
        raw = b"".join(inside)
        length = bytes([len(raw)]) if len(raw) < 0x80 else b"\x82" + struct.pack(">H", len(raw))
        return bytes([tag]) + length + raw

    manifest = b"[update]\ncompatible=BWC-1\nversion=1.2.3\n"
    data, signed = bytes.fromhex("2a864886f70d010701"), bytes.fromhex("2a864886f70d010702")
    content = der(0x30, der(0x06, data), der(0xA0, der(0x04, manifest)))
    cms = der(0x30, der(0x06, signed), der(0xA0, der(0x30, der(0x02, b"\3"), der(0x31), content)))
    squashfs = b"hsqs" + bytes(36) + struct.pack("<Q", 64) + bytes(16)
    return squashfs + cms + struct.pack(">Q", len(cms))


def mender_artifact() -> bytes:
    def tar(members: dict[str, bytes]) -> bytes:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, data in members.items():
                about = tarfile.TarInfo(name)
                about.size = len(data)
                archive.addfile(about, io.BytesIO(data))
        length = sum(512 + len(data) + -len(data) % 512 for data in members.values())
        return made.getvalue()[: length + 1024]  # without the padding to a record of tape

    told = {"payloads": [{"type": "single-file"}], "artifact_provides": {"artifact_name": "fw-1.2.3"}}
    told["artifact_depends"] = {"device_type": ["bwc-1"]}
    header = gzip.compress(tar({"header-info": json.dumps(told).encode()}), mtime=0)
    version = b'{"format":"mender","version":3}'
    named = {"version": version, "header.tar.gz": header, "data/0000/payload.bin": PAYLOAD}
    manifest = "".join(f"{sha256(data).hexdigest()}  {name}\n" for name, data in named.items()).encode()
    payload = gzip.compress(tar({"payload.bin": PAYLOAD}), mtime=0)
    return tar({"version": version, "manifest": manifest, "header.tar.gz": header, "data/0000.tar.gz": payload})


# -- messages of cameras -----------------------------------------------------------------------------------------------

ANPR = (
    b'<EventNotificationAlert xmlns="http://www.hikvision.com/ver20/XMLSchema"><eventType>ANPR</eventType>'
    b"<dateTime>2026-11-22T10:11:12+01:00</dateTime><ANPR><licensePlate>AB123CD</licensePlate><confidenceLevel>97"
    b"</confidenceLevel></ANPR></EventNotificationAlert>"
)
PUSHED = (
    b'--b\r\nContent-Disposition: form-data; name="anpr.xml"\r\nContent-Type: application/xml\r\n\r\n'
    + ANPR
    + b"\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff\xd9\r\n--b--\r\n"
)
PLATES = b"<Plates><Plate><picName>20261122101112</picName><plateNumber>AB123CD</plateNumber></Plate></Plates>"
PLATES_JSON = b'{"Plates": {"Plate": [{"picName": "20261122101112", "plateNumber": "AB123CD"}]}}'

GROUP = (
    b'{"data_type": "alpr_results", "epoch_time": 1795333263120, "uuid": "u", "results": [{"plate": "EVDK042",'
    b' "confidence": 92.94, "plate_crop_jpeg": "/9j/2Q=="}, {"plate": "EVDK701", "confidence": 71}]}'
)
LPV = b'{"packetCounter": "42", "carState": "new", "carID": "7", "plateUTF8": "EVDK042", "plateConfidence": "0.94"}'
LPV_PUSHED = (
    b'--b\r\nContent-Disposition: form-data; name="event"\r\n\r\n'
    + LPV
    + b'\r\n--b\r\nContent-Disposition: form-data; name="image"\r\nContent-Length: 4\r\n\r\n\xff\xd8\xff\xd9'
    + b"\r\n--b--\r\n"
)
HOOK = (
    b'{"hook": {"event": "recognition"}, "data": {"camera_id": "c", "timestamp": "2026-11-22T07:41:03.120456Z",'
    b' "results": [{"plate": "evdk042", "score": 0.9}, {"plate": "evdk701", "score": 0.8}]}}'
)
HOOK_PUSHED = b'--b\r\nContent-Disposition: form-data; name="json"\r\n\r\n' + HOOK + b"\r\n--b--\r\n"
AUTOVU = b"<AutoVu><Plate>EVDK042</Plate><Read a='1'><P>1</P></Read><Read><P>2</P></Read></AutoVu>"
LINES = b"Plate=EVDK042\r\nTime: 2026-11-22\n"


EJ = (
    b'{"UtcTime": "2026-11-22T07:41:03.120Z", "Source": {"VideoSource": "1"}, "Data": {"Likelihood": "0.92",'
    b' "LicensePlateInfo": {"LicensePlateInfo": {"PlateNumber": {"@Likelihood": 0.9, "#text": "EVDK 042"}}}}}'
)
MJ = b'{"Frame": [{"@UtcTime": "2026-11-22T07:41:03Z", "Object": {"Appearance": {"LicensePlateInfo": null}}}]}'
STREAM = (
    b'<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"><tt:VideoAnalytics><tt:Frame UtcTime="2026">'
    b'<tt:Object ObjectId="16"/></tt:Frame></tt:VideoAnalytics></tt:MetadataStream>'
)


def _onvif(data: bytes) -> object:
    """An event, metadata, or a stream of them: what each holds is looked at as the driver does."""
    read = {b"<": onvif_json.frames_of_xml}.get(data.lstrip()[:1], onvif_json.frames)
    found = read(data)
    if not found:
        told = onvif_json.event(data)
        info = onvif_json.inner(told.data, "LicensePlateInfo")
        onvif_json.text(info.get("PlateNumber"))
        onvif_json.sure(info.get("PlateNumber"))
    return None


def _templated(data: bytes) -> object:
    """A message through each encoding that a mapping may name."""
    good = 0
    for encoding, part in (("xml", None), ("json", None), ("form", None), ("lines", None), ("multipart", "json")):
        try:
            document = templated.read(data, "multipart/form-data; boundary=b", encoding, part)
            document.spans("AutoVu/Read")
            templated.dropped(document, ("AutoVu/Read", "$.hook", "Plate", "json"))
            for path in ("AutoVu/Read/P", "AutoVu/Read@a", "$.data.results[0].plate", "Plate", "json"):
                templated.look(document.told, path)
                document.look(path)
            good += 1
        except SpecError:
            continue
    if not good:
        raise SpecError("no document in any encoding")
    return None


def _spans(data: bytes) -> object:
    """JSON, and where its values lie: what lies there is each value."""
    told = json_spans.loads(data)
    for path, start, end in json_spans.values(data):
        if not path:
            assert json.loads(data[start:end]) == told
    json_spans.entries(data, "results")
    return None


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
        (PUSHED, ANPR),
        ("alpr/*/hikvision/*.xml", "alpr/*/hikvision/*.http"),
    ),
    "plates": Parser(hikvision_anpr.stored, (PLATES, PLATES_JSON), ("alpr/*/hikvision/plates*.xml",)),
    "onvif": Parser(_onvif, (EJ, MJ, STREAM), ("alpr/*/onvif/*",)),
    "openalpr": Parser(
        lambda data: openalpr.picture(openalpr.message(data).told, "vehicle_crop_jpeg"),
        (GROUP,),
        ("alpr/*/openalpr/*.json",),
    ),
    "axis plates": Parser(
        lambda data: axis_lpv.event(data, "multipart/form-data; boundary=b"), (LPV_PUSHED, LPV), ("alpr/*/axis/*.json",)
    ),
    "plate recognizer": Parser(
        lambda data: platerecognizer.hook(data, "multipart/form-data; boundary=b"),
        (HOOK_PUSHED, HOOK, b"json=%7B%22hook%22%3A%7B%7D%7D"),
        ("alpr/*/platerecognizer/*.json",),
    ),
    "templated": Parser(_templated, (AUTOVU, LINES, HOOK_PUSHED, b"a=1&b=2"), ("alpr/*/generic/*",)),
    "json": Parser(_spans, (GROUP, HOOK, b'[1, "a\\"b", {"c": []}]'), ("alpr/*/*/*.json",)),
    "multipart": Parser(lambda data: multipart.parse(data, b"b"), (PUSHED, LPV_PUSHED)),
    "xml": Parser(plain_xml.parse, (ANPR, AUTOVU), ("alpr/*/hikvision/*.xml",)),
    "notes": Parser(_notes, (note_envelope(),)),
    "note": Parser(_payload, (enote.unb64url(json.loads(note_envelope())["payload"]),)),
    "ng911": Parser(
        ng911.document, (NG911, NG911_PLACE, NG911_HEADERS), ("ng911/*/*.json", "ng911/*/*.xml", "ng911/*/*.txt")
    ),
    "receiver": Parser(
        car.receiver, (car.RMC + car.GGA + car.ZDA + car.PVT, car.PVT + car.SOL + car.VER), ("gpsd/*.log",)
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
