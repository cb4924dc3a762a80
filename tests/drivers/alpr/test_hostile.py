"""Whatever a device says is a read or our typed error, and what is made of the read can be kept."""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from agent.capture import KEY_MAX, canonical
from agent.testing.probe import Probe
from drivers.alpr.makers import axis, frigate, generic, hikvision, onvif, openalpr, platerecognizer
from drivers.alpr.makers.mapping import Mapping
from drivers.alpr.offer import ReadOffer
from drivers.alpr.unparsed import skeleton
from firmware_specs import SpecError
from firmware_specs.formats import hikvision_anpr
from tests.drivers.alpr.conftest import received
from tests.drivers.alpr.oracle import VECTORS, request
from tests.drivers.alpr.rig import AUTOVU, CAMERA, LONG, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from drivers.alpr.makers.heard import Heard

ODD: list[Any] = [
    *(None, True, -1, 0, 2**70, 1e308, 0.5, "", " ", "x" * 20_000, "\ud800", "\0", "NaN", "1e999", "-0", "9" * 20),
    *("2026-02-30T25:61:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "<&>\"'", "٣"),
    *([], {}, [[]], [None], ["a"] * 300, {"a": {}}),
]
AUTOVU_MAPPING = Mapping.model_validate(AUTOVU)
EACH = Mapping.model_validate(
    {
        "encoding": "json",
        "each": "$.results",
        "plate": ".plate",
        "likelihood": ".confidence",
        "captured_at": "$.epoch_time",
    }
)
HEARD: dict[str, Callable[[bytes, str, str], Heard]] = {
    "hikvision": hikvision.heard,
    "openalpr": openalpr.heard,
    "axis": axis.heard,
    "platerecognizer": platerecognizer.heard,
    "onvif": onvif.heard,
    "frigate": frigate.heard,
    "generic": lambda body, kind, name: generic.heard(AUTOVU_MAPPING, body, kind, name),
}


def messages() -> Iterator[tuple[str, str, bytes]]:
    """(maker, content type, body) of every message beside the tests."""
    for path in sorted(VECTORS.glob("*/*/*")):
        maker, data = path.parent.name, path.read_bytes()
        if path.name.endswith((".expected.json", "-only.json", ".bin", ".txt")) or path.name.startswith("plates_"):
            continue
        if maker == "generic" and not path.name.endswith(".xml"):
            continue
        if maker == "onvif":
            told = json.loads(data) if path.name.startswith("ej_") else {"payload": None}
            if told["payload"] is not None:
                yield maker, "", json.dumps(told["payload"]).encode()
            continue
        yield maker, *(request(data) if path.name.endswith(".http") else ("", data))


MESSAGES = list(messages())


def kept(maker: str, body: bytes, content_type: str) -> bool:
    """Whether it was read; then what is kept of each read is made, and is what it says."""
    try:
        heard = HEARD[maker](body, content_type, "front")
    except SpecError:
        assert canonical(skeleton(body, content_type))
        return False
    for read, message in heard.reads:
        offer = ReadOffer(CAMERA, read, message)
        capture = offer.capture
        assert 0 < len(capture.key) <= KEY_MAX
        assert capture.key.isprintable()
        assert canonical(dict(capture.claims))
        made = offer.container.build()
        assert capture.length == len(made)
        json.loads(zipfile.ZipFile(BytesIO(made)).read("read.json"))
    return True


@pytest.mark.parametrize("number", range(len(MESSAGES)))
def test_cut_anywhere(number: int) -> None:
    maker, content_type, body = MESSAGES[number]
    assert kept(maker, body, content_type)
    every = 1 if LONG else max(1, len(body) // 50)
    for end in range(0, len(body), every):
        kept(maker, body[:end], content_type)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - JSON
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, one in inner:
        yield from paths(one, (*path, name))


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:  # noqa: ANN401 - JSON
    if not path:
        return by
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], by)
    return copy


@pytest.mark.parametrize("number", [at for at, one in enumerate(MESSAGES) if one[2][:1] == b"{"])
def test_every_value_may_be_anything(number: int) -> None:
    maker, content_type, body = MESSAGES[number]
    told = json.loads(re.sub(rb'"[A-Za-z0-9+/=]{400,}"', b'"/9j/2Q=="', body))  # its pictures as short ones
    places = list(paths(told))
    # In the short form of a long message some of its values are replaced, from its first to its last.
    for at, path in enumerate(places if LONG else places[:: 1 + len(places) // 60]):
        for odd in ODD if LONG else ODD[at % 9 :: 9]:
            kept(maker, json.dumps(replaced(told, path, odd)).encode("utf-8", "surrogatepass"), content_type)


@pytest.mark.parametrize("number", [at for at, one in enumerate(MESSAGES) if b"</" in one[2]])
def test_every_element_may_say_anything(number: int) -> None:
    maker, content_type, body = MESSAGES[number]
    for at, found in enumerate(re.finditer(rb">([^<>]*)</", body)):
        if at % 3 and not LONG:
            continue
        for odd in ("", "-1", "x" * 20_000, "NaN", "99999999999999999999", "2026-02-30T25:61:00", "٣", "<a><b/></a>"):
            kept(maker, body[: found.start(1)] + odd.encode() + body[found.end(1) :], content_type)


# -- several plates in one message -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("maker", "name"),
    [
        ("openalpr", "authored/openalpr/alpr_results.json"),
        ("platerecognizer", "authored/platerecognizer/two_results.json"),
    ],
)
def test_a_read_is_kept_without_the_others_of_its_message(maker: str, name: str) -> None:
    body = (VECTORS / name).read_bytes()
    alone_and_parted = [body, b'--b\r\nContent-Disposition: form-data; name="json"\r\n\r\n' + body + b"\r\n--b--\r\n"]
    for whole in alone_and_parted if maker == "platerecognizer" else alone_and_parted[:1]:
        reads = HEARD[maker](whole, "multipart/form-data; boundary=b", "front").reads
        assert [read.plate and read.plate.normalized for read, _ in reads] == ["EVDK042", "EVDK701"]
        for (read, message), other in zip(reads, (b"EVDK701", b"EVDK042"), strict=True):
            made = ReadOffer(CAMERA, read, message).container.build()
            assert other not in made.upper()
            assert b"EVDK" in made.upper()


def test_of_a_form_with_several_reads_the_one_is_written_anew() -> None:
    told = json.loads((VECTORS / "authored/platerecognizer/two_results.json").read_bytes())
    form = urlencode({"json": json.dumps(told)}).encode()
    reads = platerecognizer.heard(form, "application/x-www-form-urlencoded", "front").reads
    for (read, message), other in zip(reads, (b"evdk701", b"evdk042"), strict=True):
        assert "message_rewritten" in read.flags
        assert other not in message.body


def test_a_mapping_that_reads_a_list_keeps_each_alone() -> None:
    body = (VECTORS / "authored/openalpr/alpr_results.json").read_bytes()
    first, second = generic.heard(EACH, body, "", "front").reads
    assert [one[0].plate and one[0].plate.number for one in (first, second)] == ["EVDK042", "EVDK701"]
    assert b"EVDK701" not in ReadOffer(CAMERA, *first).container.build()
    assert b"EVDK042" not in ReadOffer(CAMERA, *second).container.build()
    assert len({ReadOffer(CAMERA, *one).capture.key for one in (first, second)}) == 2


SEVERAL = {
    "xml": (
        {
            "each": "M/Camera/Reads/Read",
            "plate": ".P",
            "device": "M/Camera@name",
            "event": "M/Id",
            "lane": "M/Camera/Reads/Read/L",
        },
        (
            b'<M><Id>7</Id><Camera name="a"><Reads><Read><P>EVDK001</P><L>1</L></Read></Reads></Camera>'
            b'<Camera name="b"><Reads><Read><P>EVDK002</P><L>2</L></Read><Read><P>EVDK003</P><L>3</L></Read></Reads>'
            b"<Reads><Read><P>EVDK004</P><L>4</L></Read></Reads></Camera></M>"
        ),
    ),
    "json": (
        {
            "each": "$.cameras.reads",
            "plate": ".p",
            "device": "$.cameras.name",
            "event": "$.id",
            "lane": "$.cameras.reads.l",
        },
        (
            b'{"id": "7", "cameras": [{"name": "a", "reads": {"p": "EVDK001", "l": 1}}, {"name": "b", "reads": ['
            b'{"p": "EVDK002", "l": 2}, {"p": "EVDK003", "l": 3}, {"p": "EVDK004", "l": 4}]}, {"name": "c"}]}'
        ),
    ),
}


@pytest.mark.parametrize("encoding", SEVERAL)
def test_what_holds_a_list_of_reads_may_come_more_than_once(encoding: str) -> None:
    """Every read is taken, with the camera that it lies in, and without the others."""
    told, body = SEVERAL[encoding]
    found = generic.heard(Mapping.model_validate({"encoding": encoding, **told}), body, "", "front").reads
    said = [(read.plate and read.plate.number, read.device, read.motion.lane) for read, _ in found]
    assert said == [("EVDK001", "a", "1"), ("EVDK002", "b", "2"), ("EVDK003", "b", "3"), ("EVDK004", "b", "4")]
    assert len({read.key for read, _ in found}) == 4
    for number, one in enumerate(found, 1):
        assert set(re.findall(rb"EVDK00\d", ReadOffer(CAMERA, *one).container.build())) == {b"EVDK00%d" % number}


@pytest.mark.parametrize(
    "body",
    [
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><AutoVu><Plate>&x;</Plate></AutoVu>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><AutoVu><Plate>A</Plate></AutoVu>',
        b"<AutoVu><Plate>&undefined;</Plate></AutoVu>",
        b"<a>" * 40 + b"</a>" * 40,
        b"<a>" + b"<b/>" * 30_000 + b"</a>",
        b'<?xml version="1.0" encoding="UTF-16"?><a/>'.decode().encode("utf-16"),
        b'<?xml version="1.0" encoding="x-unknown"?><a/>',
    ],
)
def test_xml_that_is_not_read(body: bytes) -> None:
    for maker in ("hikvision", "generic"):
        assert not kept(maker, body, "text/xml")


def test_the_skeleton_of_a_message_has_no_value() -> None:
    for maker, content_type, body in MESSAGES:
        told = json.dumps(skeleton(body, content_type))
        assert "EVDK" not in told.upper(), maker
        assert not re.search(r"PECT600|19462SH|RLE11684|PL8REC|D333X1", told.upper())


@pytest.mark.parametrize("word", ["response", "nonce", "username", "cnonce", "realm", "uri"])
async def test_a_login_in_bytes_that_are_no_text_is_a_wrong_one(tmp_path: Path, word: str) -> None:
    told = options(tmp_path, camera={"auth": "digest"})
    said = {"username": b"camera", "realm": b"evidock", "uri": b"/alpr/hikvision/front", "response": b"0" * 32}
    said = {**said, "nonce": b"1-0", "cnonce": b"0", word: b"1-\xff"}
    shown = b", ".join(b'%s="%s"' % (name.encode(), value) for name, value in said.items())
    async with received(told, Probe()):
        reader, writer = await asyncio.open_connection("127.0.0.1", told.listen.port)
        head = b"POST /alpr/hikvision/front HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n"
        writer.write(head + b"Authorization: Digest " + shown + b"\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()
        await writer.wait_closed()


TWO = '[{"plate": "EVDK001"}, {"plate": "EVDK002"}]'


@pytest.mark.parametrize("last", ['[{"plate": "EVDK003"}, {"plate": "EVDK004"}]', '[{"plate": "EVDK003"}]', "[]", "0"])
@pytest.mark.parametrize(
    ("heard", "message"),
    [
        (openalpr.heard, '{"data_type": "alpr_results", "results": TWO, "results": LAST}'),
        (openalpr.heard, '{"data_type": "alpr_results", "results": TWO, "r\\u0065sults": LAST}'),
        (openalpr.heard, '{"data_type": "alpr_alert", "group": {"a": TWO}, "group": {"a": LAST}}'),
        (platerecognizer.heard, '{"hook": {}, "data": {"results": TWO, "results": LAST}}'),
        (platerecognizer.heard, '{"hook": {}, "data": {"results": TWO}, "data": {"results": LAST}}'),
        (lambda body, kind, name: generic.heard(EACH, body, kind, name), '{"results": TWO, "results": LAST}'),
        (lambda body, *_: hikvision_anpr.stored(body), '{"Plates": {"Plate": TWO, "Plate": LAST}}'),
    ],
)
def test_two_lists_of_one_name_are_refused(heard: Callable[[bytes, str, str], object], message: str, last: str) -> None:
    """Of two the last counts: reads of the first would be forgotten unseen, and kept in the messages of others."""
    with pytest.raises(SpecError, match="the same name twice") as told:
        heard(message.replace("TWO", TWO).replace("LAST", last).encode(), "application/json", "lane")
    assert "EVDK" not in str(told.value)


def test_a_name_that_stands_twice_where_nothing_is_told_apart_hurts_no_read() -> None:
    body = b'{"data_type": "alpr_results", "version": 1, "version": 2, "results": [{"plate": "EVDK001"}]}'
    ((read, _),) = openalpr.heard(body, "application/json", "lane").reads
    assert read.plate is not None
    assert read.plate.number == "EVDK001"
