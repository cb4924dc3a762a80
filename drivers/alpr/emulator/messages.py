"""How each maker tells a passage, written from the makers' pages, and what goes wrong with it on the way.

Faults are letters, as many as wanted, and what a maker's message cannot have is passed over:

    e   an empty picture part                    l   part lengths that are too long
    n   no part lengths                          s   part lengths that are too short
    b   the delimiter, and a forged part, in the middle of the picture
    o   pictures and fields of driver and passenger
    p   the picture before the event             q   a part that says that it is something else
    v   members that nobody knows                u   no closing delimiter
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from drivers.alpr.emulator.passages import jpeg

if TYPE_CHECKING:
    from drivers.alpr.emulator.passages import Passage

__all__ = ["MESSAGES", "Sent", "Telling"]

_TORONTO: Final = timezone(timedelta(hours=-5))


@dataclass(frozen=True, slots=True)
class Sent:
    """One message."""

    content_type: str
    body: bytes


Telling: TypeAlias = Callable[["Passage", str], Sent]


def _parts(boundary: str, parts: list[tuple[str, str, bytes]], faults: str) -> bytes:
    made = b""
    for name, kind, content in parts:
        length = len(content) + (7 if "l" in faults else -3 if "s" in faults and content else 0)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
        head += f"Content-Type: {'application/octet-stream' if 'q' in faults else kind}\r\n"
        head += "" if "n" in faults else f"Content-Length: {length}\r\n"
        made += head.encode() + b"\r\n" + content + b"\r\n"
    return made if "u" in faults else made + f"--{boundary}--\r\n".encode()


def _forged(content: bytes, boundary: str, faults: str) -> bytes:
    """A JPEG whose comment holds a delimiter and an event that says something else."""
    if "b" not in faults or not content.startswith(b"\xff\xd8"):
        return content
    forged = f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="anpr.xml"\r\n\r\n'.encode()
    forged += b"<EventNotificationAlert><eventType>ANPR</eventType></EventNotificationAlert>"
    return content[:2] + b"\xff\xfe" + (len(forged) + 2).to_bytes(2) + forged + content[2:]


def hikvision(passage: Passage, faults: str = "") -> Sent:
    """An `EventNotificationAlert` with its pictures."""
    local = passage.at.astimezone(_TORONTO)
    stamp = f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03}"
    people = "<pilotsafebelt>yes</pilotsafebelt><vicepilotsafebelt>no</vicepilotsafebelt>" if "o" in faults else ""
    names = {"plate": "licensePlatePicture.jpg", "overview": "detectionPicture.jpg"}
    infos = "".join(
        f"<pictureInfo><fileName>{names[role]}</fileName><absTime>{stamp}</absTime></pictureInfo>"
        for role in names
        if role in passage.pictures
    )
    told = (
        '<?xml version="1.0" encoding="UTF-8"?>\r\n'
        '<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">'
        "<ipAddress>192.0.2.64</ipAddress><macAddress>02:00:00:00:00:64</macAddress><channelID>1</channelID>"
        f"<dateTime>{local.isoformat(timespec='seconds')}</dateTime>"
        "<eventType>ANPR</eventType><eventState>active</eventState>"
        f"<ANPR><licensePlate>{passage.plate or 'unknown'}</licensePlate><line>1</line><direction>forward</direction>"
        f"<confidenceLevel>{passage.likelihood * 100:.0f}</confidenceLevel>{people}"
        f"<vehicleType>SUVMPV</vehicleType><pictureInfoList>{infos}</pictureInfoList></ANPR>"
        f"<UUID>{passage.identity}</UUID><picNum>{len(passage.pictures)}</picNum>"
        + ("<futureThing>7</futureThing>" if "v" in faults else "")
        + "</EventNotificationAlert>"
    )
    pictures = [
        (names.get(role, role), "image/pjpeg", _forged(content, "boundary", faults))
        for role, content in passage.pictures.items()
    ]
    if "e" in faults:
        pictures.append(("vehiclePicture.jpg", "image/jpeg", b""))
    if "o" in faults:
        pictures += [(name, "image/jpeg", jpeg(300, name)) for name in ("pilotPicture", "copilotPicture")]
    event = [("anpr.xml", 'text/xml; charset="UTF-8"', told.encode())]
    parts = pictures + event if "p" in faults else event + pictures
    return Sent("multipart/form-data; boundary=boundary", _parts("boundary", parts, faults))


def openalpr(passage: Passage, faults: str = "") -> Sent:
    """An `alpr_group` with its pictures in Base64."""
    since = int(passage.at.timestamp() * 1000 + 0.5)
    pictures = {role: base64.b64encode(content).decode() for role, content in passage.pictures.items()}
    told: dict[str, Any] = {
        "data_type": "alpr_group",
        "version": 3,
        "epoch_start": since,
        "epoch_end": since + 3000,
        "agent_uid": "EVIDOCKEXAMPLEAGENT0000000000000000000001",
        "agent_type": "alprd",
        "camera_id": 1234,
        "country": "ca",
        "best_plate_number": passage.plate or "",
        "best_confidence": passage.likelihood * 100,
        "best_region": "ca-on",
        "best_region_confidence": 84.1,
        "best_uuid": passage.identity,
        "best_uuid_epoch_ms": since,
        "best_plate": {"plate": passage.plate or "", "plate_crop_jpeg": pictures.get("plate", "")},
        "overview_jpeg": pictures.get("overview", ""),
        "candidates": [{"plate": passage.plate or "", "confidence": passage.likelihood * 100}],
        "travel_direction": 296.6,
        "is_preview": False,
    }
    if "v" in faults:
        told["future_thing"] = {"a": [1, 2, {"b": None}]}
    return Sent("application/json", json.dumps(told).encode())


def axis(passage: Passage, faults: str = "") -> Sent:
    """One message about one vehicle, with the picture of its plate."""
    told: dict[str, Any] = {
        "packetCounter": str(10**6 + int(passage.at.timestamp()) % 10**6),
        "capture_timestamp": str(int(passage.at.timestamp() * 1000 + 0.5)),
        "plateUTF8": passage.plate or "",
        "plateCountry": "CAN",
        "plateConfidence": f"{passage.likelihood:.2f}",
        "plateCoordinates": [612, 410, 96, 30],
        "carState": "new",
        "carID": passage.identity,
        "carMoveDirection": "in",
        "roiID": "1",
        "imageType": "plate",
        "plateImageSize": str(len(passage.pictures.get("plate", b""))),
        "camera_info": {"SerialNumber": "020000000A01", "ProdShortName": "EXAMPLE-LPV"},
    }
    if "v" in faults:
        told["futureThing"] = "7"
    parts = [("event", "application/json", json.dumps(told).encode())]
    pictures = [("image", "image/jpeg", _forged(one, "axisboundary", faults)) for one in passage.pictures.values()][:1]
    if "e" in faults:
        pictures = [("image", "image/jpeg", b"")]
    body = _parts("axisboundary", pictures + parts if "p" in faults else parts + pictures, faults)
    return Sent('multipart/form-data; boundary="axisboundary"', body)


def platerecognizer(passage: Passage, faults: str = "") -> Sent:
    """A webhook of one result, with the frame."""
    told: dict[str, Any] = {
        "hook": {"target": "http://127.0.0.1/", "id": "camera-1", "event": "recognition", "filename": "shot.jpg"},
        "data": {
            "camera_id": "camera-1",
            "filename": "shot.jpg",
            "timestamp": passage.at.isoformat().replace("+00:00", "Z"),
            "results": [
                {
                    "plate": (passage.plate or "").lower(),
                    "score": passage.likelihood,
                    "region": {"code": "ca-on", "score": 0.8},
                    "box": {"xmin": 337, "ymin": 270, "xmax": 412, "ymax": 305},
                    "candidates": [{"plate": (passage.plate or "").lower(), "score": passage.likelihood}],
                    "direction": 210,
                }
            ],
        },
    }
    if "v" in faults:
        told["data"]["future_thing"] = 7
    parts = [("json", "application/json", json.dumps(told).encode())]
    pictures = [("upload", "image/jpeg", _forged(one, "pr", faults)) for one in passage.pictures.values()][:1]
    body = _parts("pr", pictures + parts if "p" in faults else parts + pictures, faults)
    return Sent("multipart/form-data; boundary=pr", body)


def templated(passage: Passage, faults: str = "") -> Sent:
    """A template as an operator would write it for a SharpV."""
    future = "<FutureThing>7</FutureThing>" if "v" in faults else ""
    picture = next(iter(passage.pictures.values()), b"")
    told = (
        f"<AutoVu><Plate>{passage.plate or ''}</Plate><State>ON</State><UTCDate>{passage.at:%Y/%m/%d}</UTCDate>"
        f"<UTCTime>{passage.at:%H:%M:%S.%f}</UTCTime><CameraName>SharpV-1</CameraName><Guid>{passage.identity}</Guid>"
        f"<PlateImage>{base64.b64encode(picture).decode()}</PlateImage>{future}</AutoVu>"
    )
    return Sent("text/xml", told.encode())


def onvif(passage: Passage, faults: str = "") -> Sent:
    """The event `RuleEngine/Recognition/LicensePlate` as JSON, with its pictures embedded."""
    plate: dict[str, Any] = {"PlateNumber": {"@Likelihood": passage.likelihood, "#text": passage.plate or ""}}
    plate |= {"CountryCode": "CA", "IssuingEntity": {"#text": "ON"}}
    data: dict[str, Any] = {"Likelihood": f"{passage.likelihood}", "LicensePlateInfo": plate, "Speed": "13.9"}
    if "p" in faults:  # once more under its own name
        data["LicensePlateInfo"] = {"LicensePlateInfo": plate}
    names = {"plate": "Image", "overview": "VehicleImage"}
    data |= {names[role]: base64.b64encode(one).decode() for role, one in passage.pictures.items() if role in names}
    if "v" in faults:
        data["FutureThing"] = {"@a": 7}
    source = {"VideoSource": "1", "Rule": passage.identity}
    utc = passage.at.isoformat(timespec="milliseconds").replace("+00:00", "" if "n" in faults else "Z")
    return Sent("application/json", json.dumps({"UtcTime": utc, "Source": source, "Data": data}).encode())


MESSAGES: Final[dict[str, Telling]] = {
    "hikvision": hikvision,
    "openalpr": openalpr,
    "axis": axis,
    "platerecognizer": platerecognizer,
    "generic": templated,
    "onvif": onvif,
}
