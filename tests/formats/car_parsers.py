"""What a car's lines and recorders say, for the hostile tests: one reading of each, down to its values."""

from __future__ import annotations

from firmware_specs import SpecError
from firmware_specs.formats import blackvue_http, coban_trigger, gpsd_json, modbus_rtu, nmea, open_gopro, ubx
from firmware_specs.formats.gnss_line import Splitter

# Recorded and published lines: their sources stand in tests/drivers/in_car and tests/drivers/gopro_http.
RMC = b"$GPRMC,030719.000,A,3747.0873,S,17518.8938,E,0.69,181.39,311214,,,A*7D\r\n"
GGA = b"$GNGGA,003956.00,4552.65403,S,17030.00668,E,1,12,0.64,14.2,M,1.8,M,,*56\r\n"
ZDA = b"$GNZDA,003956.00,12,04,2019,00,00*7C\r\n"
PVT = bytes.fromhex(
    "B56201075C0030985811E107071308320037030000002780AD2F03030A0EADEB9D5289BB31EB50630000DF7000006C04000042060000"
    "F6FFFFFFE4FFFFFF260000001E000000AA053000E5000000685F0D00910000E0AC4C220000E000E000000080C855"
)
SOL = ubx.build(ubx.NAV_SOL, bytes(10) + b"\x03\x0d" + bytes(40))
VER = ubx.build(ubx.MON_VER, b"2.20 (81289)".ljust(30, b"\0") + b"00080000".ljust(10, b"\0") + bytes(30))
TPV = b'{"class":"TPV","mode":3,"time":"2017-07-19T08:50:00.800Z","lat":-34.9,"lon":138.6,"speed":0.03,"eph":1.132}'
DISCRETE = bytes.fromhex("0102010D604D")
DOCK = bytes.fromhex("A10000000800A101020105000410 99")
TAG = b"Badge 4471\0\0\xff"
OLD_LIST = b"v:1.00\r\nn:/Record/20181026_135003_PF.mp4,s:1000000\r\n"
NEW_LIST = b'{"filelist":[{"filename":"20260702_141045_PF.mp4"}]}'
METADATA = b'{"resultcode":"BC_ERR_OK","metadata":{"gps":"WzFd"}}'
MEDIA = b"""{"id":"1","media":[{"d":"100GOPRO","fs":[{"n":"GX010001.MP4","cre":"1656931398","s":"27469309"},
{"n":"G0010044.JPG","g":"1","b":"44","l":"46","m":["45"],"cre":"1"}]}]}"""
STATE = b'{"status":{"8":0,"10":1,"54":31000000,"70":87},"settings":{}}'
INFO = b'{"info":{"model_name":"HERO9 Black","firmware_version":"HD9.01.01.72.00","serial_number":"C344"}}'
CLOCK = b'{"date":"2026_11_28","time":"14_02_01","dst":0,"tzone":0}'


def receiver(data: bytes) -> list[object]:
    """A stretch of a receiver's line, down to what each sentence and frame says."""
    found: list[object] = []
    for one in Splitter().feed(data):
        if isinstance(one, nmea.Sentence):
            found += [nmea.rmc(one), nmea.gga(one), nmea.zda(one)]
        else:
            for read in (ubx.fix, ubx.old_fix, ubx.version):
                try:
                    found.append(read(one.payload))
                except SpecError:
                    continue
    return found


def gpsd(data: bytes) -> object:
    """One line of gpsd."""
    return gpsd_json.tpv(gpsd_json.objects(data))


def modbus(data: bytes) -> object:
    """An answer to a question."""
    return modbus_rtu.Read(1, modbus_rtu.Table.DISCRETE, 0, 4).answer(data)


def dock(data: bytes) -> object:
    """An answer of the trigger dock."""
    return coban_trigger.Identity.of(coban_trigger.IDENTITY.answer(data))


def recorder(data: bytes) -> object:
    """A list of a BlackVue recorder, of either firmware, or what it tells of a film."""
    for read in (blackvue_http.old_list, blackvue_http.new_list):
        try:
            return read(data)
        except SpecError:
            continue
    return blackvue_http.metadata(data, "gps")


def gopro(data: bytes) -> object:
    """Any answer of a GoPro."""
    for read in (open_gopro.media, open_gopro.state, open_gopro.info):
        try:
            return read(data)
        except SpecError:
            continue
    return open_gopro.clock(data)
