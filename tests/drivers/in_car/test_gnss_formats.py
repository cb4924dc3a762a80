"""Sentences and frames against what gpsd, pynmea2 and pyubx2 read in the same logs, and against what nobody sends."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.in_car.gnss.fix import Epochs, Fix, of_tpv
from firmware_specs.formats import gpsd_json, nmea, ubx
from firmware_specs.formats.gnss_line import Splitter
from firmware_specs.formats.source import Malformed
from tests.drivers.in_car.conftest import VECTORS
from tests.drivers.in_car.logs import compare, oracle, points

if TYPE_CHECKING:
    from pathlib import Path

# u-blox receiver description; the log ublox-neo-m8n of gpsd, of which pyubx2 1.4.0 reads the same
PVT = bytes.fromhex(
    "B562 0107 5C00 30985811 E107 07 13 08 32 00 37 03000000 2780AD2F 03 03 0A 0E ADEB9D52 89BB31EB 50630000 DF700000"
    "6C040000 42060000 F6FFFFFF E4FFFFFF 26000000 1E000000 AA053000 E5000000 685F0D00 9100 00E0AC4C2200 00E000E0"
    "0000 0080 C855"
)


pytestmark = pytest.mark.proves(
    "in_car.gnss_serial",
    "in_car.gpsd",
    vectors="logs of real receivers from gpsd 3.22, read by gpsd, pynmea2 and pyubx2",
)


def fixes(data: bytes) -> list[Fix]:
    splitter, epochs, found = Splitter(), Epochs(), list[Fix]()
    for one in splitter.feed(data):
        found += epochs.feed(one)
    return found + epochs.flush()


@pytest.mark.parametrize("name", ["april6_2019", "bu353s4", "ublox-neo-m8n"])
def test_a_log_is_read_as_gpsd_reads_it(name: str) -> None:
    path = VECTORS / f"{name}.log"
    compare(path.name, points(fixes(path.read_bytes())), oracle(path))


def test_every_log_is_read_as_gpsd_reads_it(samples: Path) -> None:
    for path in sorted((samples / "gpsd").glob("*.log")):
        compare(path.name, points(fixes(path.read_bytes())), oracle(path))


def test_rmc_and_gga_are_read_as_pynmea2_reads_them(samples: Path) -> None:
    compared = 0
    for told in sorted((samples / "gpsd" / "oracle").glob("*.pynmea2-*.json")):
        log = told.with_name(told.name.partition(".pynmea2")[0] + ".log")
        lines = (samples / "gpsd" / log.name).read_bytes().splitlines()
        for one in json.loads(told.read_text())["rmc_gga"]:
            try:
                found = nmea.sentence(lines[one["line"] - 1].strip())
            except Malformed:
                assert b"*" not in lines[one["line"] - 1], "pynmea2 takes sentences without a check sum"
                continue
            assert (found.talker, found.kind) == (one["talker"], one["type"])
            read = nmea.rmc(found) if found.kind == "RMC" else nmea.gga(found)
            if one.get("time"):
                assert read.time is not None
                # A fraction of more than six digits is cut here, and elsewhere rounded.
                theirs = datetime.combine(date(2020, 1, 1), time.fromisoformat(one["time"]))
                ours = datetime.combine(date(2020, 1, 1), read.time)
                assert abs(ours - theirs) < timedelta(milliseconds=1)
            if one["lat"] and read.latitude is not None and read.longitude is not None:
                assert abs(float(read.latitude) - one["lat"]) < 1e-8
                assert abs(float(read.longitude) - one["lon"]) < 1e-8
            if isinstance(read, nmea.Rmc):
                assert read.valid == (one["status"] == "A")
                # pynmea2 has another pivot for years of two digits
                assert read.date is None or str(read.date)[2:] == one["date"][2:]
            else:
                assert read.quality == one["qual"]
            compared += 1
    assert compared > 150


def test_every_nav_pvt_is_read_as_pyubx2_reads_it(samples: Path) -> None:
    compared = 0
    for told in sorted((samples / "gpsd" / "oracle").glob("*.pyubx2-*.json")):
        oracle_ = json.loads(told.read_text())
        log = samples / "gpsd" / f"{told.name.partition('.pyubx2')[0]}.log"
        frames = [one for one in Splitter().feed(log.read_bytes()) if isinstance(one, ubx.Frame)]
        counts: dict[str, int] = {}
        for one in frames:
            name = f"{one.kind[0]:02x}-{one.kind[1]:02x}"
            counts[name] = counts.get(name, 0) + 1
        assert counts == {name.lower(): count for name, count in oracle_["frames_by_class_id"].items()}
        pvts = [ubx.PVT.parse(one.payload) for one in frames if one.kind == ubx.NAV_PVT]
        for ours, theirs in zip(pvts, oracle_.get("nav_pvt", []), strict=True):
            assert (ours.itow, ours.nano, ours.fix_type, ours.satellites) == tuple(
                theirs[name] for name in ("iTOW", "nano", "fixType", "numSV")
            )
            assert ours.flags.ok == bool(theirs["gnssFixOk"])
            assert (ours.height, ours.altitude, ours.horizontal, ours.vertical, ours.speed) == tuple(
                theirs[name] for name in ("height_mm", "hMSL_mm", "hAcc_mm", "vAcc_mm", "gSpeed_mms")
            )
            compared += 1
    assert compared > 70


def test_nav_pvt_of_the_receiver_description() -> None:
    found, length = ubx.frame(PVT) or (None, 0)
    assert found is not None
    assert length == len(PVT) == 100
    fix = ubx.fix(found.payload)
    assert fix.at == datetime(2017, 7, 19, 8, 50, 0, 799899, UTC)
    assert (fix.dimensions, fix.satellites, fix.status) == (3, 14, "differential")
    assert (fix.longitude, fix.latitude) == (Decimal("138.6081197"), Decimal("-34.9062263"))
    assert (fix.altitude, fix.accuracy, fix.speed) == (Decimal("28.895"), Decimal("1.132"), Decimal("0.030"))
    assert (fix.heading, fix.pdop) == (Decimal("31.47178"), Decimal("1.45"))
    assert ubx.build(ubx.NAV_PVT, found.payload) == PVT


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ("B562 0A04 0000 0E34", ubx.MON_VER),  # the poll
        ("B562 0501 0200 063D 4B74", ubx.ACK),
        ("B562 0107 0000 0819", ubx.NAV_PVT),  # the poll
        ("B562 0120 1000 30985811 2678FEFF A607 12 07 03000000 C6F8", (0x01, 0x20)),
        ("B562 0103 1000 B1A3DE13 03 9D 00 00 580A0000 3E800000 1986", (0x01, 0x03)),
    ],
)
def test_frames_of_the_receiver_description(frame: str, kind: tuple[int, int]) -> None:
    raw = bytes.fromhex(frame)
    found = ubx.frame(raw)
    assert found is not None
    assert (found[0].kind, found[1]) == (kind, len(raw))
    assert ubx.build(kind, found[0].payload) == raw


def test_a_frame_with_a_negative_fraction_lies_before_its_second() -> None:
    payload = bytearray(PVT[6:-2])
    payload[16:20] = (-127_759).to_bytes(4, "little", signed=True)
    assert ubx.fix(bytes(payload)).at == datetime(2017, 7, 19, 8, 49, 59, 999872, UTC)
    payload[11] = 0x33  # not fully resolved
    assert ubx.fix(bytes(payload)).at is None


def test_a_u_blox_receiver_says_who_it_is(samples: Path) -> None:
    epochs = Epochs()
    for one in Splitter().feed((samples / "gpsd" / "ublox-lea-m8f.log").read_bytes()):
        epochs.feed(one)
    assert epochs.version is not None
    software, hardware, extensions = epochs.version
    assert (software, hardware) == ("2.20 (81289)", "00080000")
    assert "MOD LEA-M8F-0" in extensions
    assert len(extensions) == 6


def test_sentences_of_the_logs() -> None:
    rmc = nmea.rmc(nmea.sentence(b"$GPRMC,030719.000,A,3747.0873,S,17518.8938,E,0.69,181.39,311214,,,A*7D"))
    assert (rmc.date, rmc.time, rmc.valid) == (date(2014, 12, 31), time(3, 7, 19, tzinfo=UTC), True)
    assert (rmc.latitude, rmc.longitude) == (Decimal("-37.784788333"), Decimal("175.314896667"))
    gga = nmea.gga(nmea.sentence(b"$GNGGA,003956.00,4552.65403,S,17030.00668,E,1,12,0.64,14.2,M,1.8,M,,*56"))
    assert (gga.quality, gga.satellites, gga.hdop, gga.altitude) == (1, 12, Decimal("0.64"), Decimal("14.2"))
    assert nmea.zda(nmea.sentence(b"$GNZDA,003956.00,12,04,2019,00,00*7C")) == datetime(2019, 4, 12, 0, 39, 56, 0, UTC)
    nothing = nmea.rmc(nmea.sentence(b"$GPRMC,,V,,,,,,,,,,N*53"))
    assert not nothing.valid
    assert nothing.time is nothing.date is nothing.latitude is None


def summed(body: bytes) -> bytes:
    check = 0
    for byte in body:
        check ^= byte
    return b"$%s*%02X" % (body, check)


def test_a_fix_is_what_rmc_and_gga_both_stand_by() -> None:
    place = b"4259.0000,N,08114.0000,W"
    void, valid = (summed(b"GPRMC,120000,%s,%s,,,281126,,,A" % (status, place)) for status in (b"V", b"A"))
    none, good = (summed(b"GPGGA,120000,%s,%s,8,1.0,250.0,M,,,," % (place, quality)) for quality in (b"0", b"1"))
    for sentences, dimensions in (
        ((valid, good), 3),
        ((void, good), 0),
        ((valid, none), 0),
        ((void,), 0),
        ((none,), 0),
        ((valid,), 2),
        ((good,), 3),
    ):
        (fix,) = fixes(b"\r\n".join(sentences) + b"\r\n")
        assert fix.dimensions == dimensions, sentences


def test_a_frame_right_behind_a_false_start_is_found() -> None:
    for false in (ubx.SYNC, ubx.SYNC + b"\x01", ubx.SYNC[:1], b"$" + ubx.SYNC):
        # What the false start says of its length must come first, before it can be seen to be none.
        assert [one.kind for one in Splitter().feed(false + PVT * 6) if isinstance(one, ubx.Frame)] == [ubx.NAV_PVT] * 6


@pytest.mark.parametrize("year", ["79", "80", "99", "00"])
def test_years_of_two_digits_turn_at_1980(year: str) -> None:
    rmc = nmea.rmc(nmea.sentence(summed(f"GPRMC,000000,A,0000.0,N,00000.0,E,,,0101{year},,,A".encode())))
    assert rmc.date is not None
    assert rmc.date.year == int(year) + (1900 if int(year) >= 80 else 2000)


@pytest.mark.parametrize(
    "body",
    [
        b"GPRMC,240000,A,9060.0,N,18060.0,E,,,320101,,,A",
        b"GPRMC,236060,A,9000.1,N,18000.1,E,-,x,000000,,,A",
        "GPRMC,\u0660\u0660\u0660\u0660\u0660\u0660,A,\u0660000.0,N,00000.0,E,,,010119,,,A".encode(),
        b"GPRMC,A",
        b"GPGGA,1e5,9999.9,N,1,E,9,-1,nan,inf,M",
        b"GPZDA,000000,00,00,0000",
    ],
)
def test_fields_that_cannot_be_are_nothing(body: bytes) -> None:
    try:
        one = nmea.sentence(summed(body))
    except Malformed:
        return
    for read in (nmea.rmc(one), nmea.gga(one)):
        assert read.latitude is read.longitude is None
    assert nmea.zda(one) is None


def test_a_leap_second_is_the_last_moment_before_it() -> None:
    rmc = nmea.rmc(nmea.sentence(summed(b"GPRMC,235960.00,A,0000.0,N,00000.0,E,,,311216,,,A")))
    assert rmc.time == time(23, 59, 59, 999_999, UTC)


@pytest.mark.parametrize("raw", [PVT, b"$GPRMC,030719.000,A,3747.0873,S,17518.8938,E,0.69,181.39,311214,,,A*7D\r\n"])
def test_cut_anywhere_a_message_is_none_and_the_next_one_is_read(raw: bytes) -> None:
    for cut in range(1, len(raw)):
        splitter = Splitter()
        assert not list(splitter.feed(raw[:cut])) or raw[cut:] == b"\n"
        # UBX says its length: after half a frame as many bytes must come as it said, before it can be seen as none.
        found = list(splitter.feed(raw * 16))
        assert len(found) >= 14, cut


@given(st.binary(max_size=3000), st.integers(1, 400))
def test_any_bytes_in_any_portions_are_read_in_bounded_room(data: bytes, portion: int) -> None:
    splitter, epochs = Splitter(), Epochs()
    for at in range(0, len(data), portion):
        for one in splitter.feed(data[at : at + portion]):
            epochs.feed(one)
        assert len(splitter._data) <= max(nmea.LENGTH_MAX + 1, ubx.LENGTH_MAX + 8) + 1
    epochs.flush()


@given(st.integers(0, 2**32))
def test_a_log_with_flipped_bits_gives_fixes_or_none(seed: int) -> None:
    dice = random.Random(seed)
    for name in ("bu353s4.log", "ublox-neo-m8n.log"):
        raw = bytearray((VECTORS / name).read_bytes())
        for _ in range(60):
            raw[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        for fix in fixes(bytes(raw)):
            assert fix.latitude is None or abs(fix.latitude) <= 90


# -- gpsd --------------------------------------------------------------------------------------------------------------


def test_a_session_with_gpsd_is_read_as_the_receiver_spoke(samples: Path) -> None:
    session = (samples / "gpsd" / "session-ublox-neo-m8n.gpsd-3.22.txt").read_bytes()
    found, kinds = list[Fix](), set[str]()
    for line in session.splitlines():
        if line.startswith(b"<- {"):
            one = gpsd_json.objects(line[3:])
            kinds.add(one["class"])
            if one["class"] == "TPV":
                found.append(of_tpv(gpsd_json.tpv(one)))
    assert {"VERSION", "WATCH", "DEVICES", "DEVICE", "TPV", "SKY", "TOFF", "POLL", "ERROR"} <= kinds
    log = samples / "gpsd" / "ublox-neo-m8n.log"
    assert points(found) <= oracle(log)
    assert len(points(found)) > 20


def test_a_place_without_a_fix_is_no_place() -> None:
    stale = gpsd_json.tpv(gpsd_json.objects(b'{"class":"TPV","mode":1,"lat":42.9,"lon":-81.2}'))
    assert of_tpv(stale).dimensions == 0
    assert of_tpv(stale).latitude is None
    simulated = gpsd_json.objects(b'{"class":"TPV","mode":3,"status":8,"lat":42.9,"lon":-81.2}')
    assert of_tpv(gpsd_json.tpv(simulated)).status == "simulated"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b'{"class":7}',
        b'{"class":"TPV","mode":NaN}',
        b'{"class":"TPV"' + b',"x":1' * 2000 + b"}",
        b"[" * 5000,
    ],
)
def test_a_line_that_is_none_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        gpsd_json.tpv(gpsd_json.objects(line))


@pytest.mark.parametrize("value", ["1e999999999999", "1e-999999999999", "-91", "true", '"42"'])
def test_a_number_that_cannot_be_is_nothing_and_takes_no_room(value: str) -> None:
    found = gpsd_json.tpv(gpsd_json.objects(b'{"class":"TPV","mode":3,"lat":%s}' % value.encode()))
    assert found.latitude in (None, 0)
    assert len(f"{found.latitude}") < 30


@given(
    st.dictionaries(
        st.sampled_from(["mode", "time", "lat", "lon", "speed", "track", "eph", "status", "device", "altMSL"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False)
        | st.text(max_size=30)
        | st.lists(st.none()),
    )
)
def test_members_of_any_kind_are_values_or_nothing(members: dict[str, object]) -> None:
    try:
        found = gpsd_json.tpv(gpsd_json.objects(json.dumps({"class": "TPV", **members}).encode()))
    except Malformed:
        return
    assert found.latitude is None or abs(found.latitude) <= 90
    of_tpv(found)
