"""What cameras that read plates say, for the hostile tests: a message of each, and readings that take several steps."""

from __future__ import annotations

import json

from firmware_specs import SpecError
from firmware_specs.formats import json_spans, onvif_json
from firmware_specs.formats import templated as mapped

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


def onvif(data: bytes) -> object:
    """An event, metadata, or a stream of them: what each holds is looked at as the driver does."""
    read = {b"<": onvif_json.frames_of_xml}.get(data.lstrip()[:1], onvif_json.frames)
    found = read(data)
    if not found:
        told = onvif_json.event(data)
        info = onvif_json.inner(told.data, "LicensePlateInfo")
        onvif_json.text(info.get("PlateNumber"))
        onvif_json.sure(info.get("PlateNumber"))
    return None


def templated(data: bytes) -> object:
    """A message through each encoding that a mapping may name."""
    good = 0
    for encoding, part in (
        ("xml", None),
        ("json", None),
        ("form", None),
        ("lines", None),
        ("multipart", "json"),
        ("json", "json"),
    ):
        try:
            document = mapped.read(data, "multipart/form-data; boundary=b", encoding, part)
            document.spans("AutoVu/Read")
            lists = {"xml": ("AutoVu/Read", "AutoVu/Read/P"), "json": ("$.data.results", "$.data.results.plate")}
            if encoding in lists:  # the others hold no lists
                reads, plate = lists[encoding]
                for entry in document.entries(reads):
                    document.look(plate, entry)
            mapped.dropped(document, ("AutoVu/Read", "$.hook", "Plate", "json"))
            for path in ("AutoVu/Read/P", "AutoVu/Read@a", "$.data.results[0].plate", "Plate", "json"):
                mapped.look(document.told, path)
                document.look(path)
            good += 1
        except SpecError:
            continue
    if not good:
        raise SpecError("no document in any encoding")
    return None


def spans(data: bytes) -> object:
    """JSON, and where its values lie: what lies there is each value."""
    told = json_spans.loads(data)
    for path, start, end in json_spans.values(data):
        if not path:
            assert json.loads(data[start:end]) == told
    json_spans.entries(data, "results")
    return None
