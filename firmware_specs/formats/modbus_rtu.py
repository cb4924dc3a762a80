"""Modbus RTU on a serial line: requests that read, and their answers. What writes is not here.

Known:        MODBUS over serial line 1.02 and application protocol 1.1b3; 18 frames between mbpoll and pymodbus.
Not verified: any police dock: which address means what is the site's to say.

address u8 | function u8 | data | CRC-16, low byte first. At most 256 bytes; a frame ends with 3.5 characters of
silence. An exception is the function with bit 7 set, and one byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from construct import Int8ub, Int16ub, Int16ul, Struct

from firmware_specs.formats.source import Malformed

__all__ = ["EXCEPTIONS", "LENGTH_MAX", "Read", "Table", "crc16"]

LENGTH_MAX: Final = 256
EXCEPTIONS: Final = {
    1: "it does not know this function",
    2: "it has no such address",
    3: "it takes no such value",
    4: "it failed",
    5: "it needs time",
    6: "it is busy",
    8: "its memory is damaged",
    10: "the gateway has no way to it",
    11: "it does not answer the gateway",
}

_REQUEST: Final = Struct("unit" / Int8ub, "function" / Int8ub, "address" / Int16ub, "count" / Int16ub)
_CRC: Final = Int16ul
_EXCEPTION: Final = 0x80
_SHORTEST: Final = 5


class Table(IntEnum):
    """What is read, by the function that reads it."""

    COIL = 1
    DISCRETE = 2
    HOLDING = 3
    INPUT = 4

    @property
    def most(self) -> int:
        """Values of one answer."""
        return 2000 if self in (Table.COIL, Table.DISCRETE) else 125


def crc16(data: bytes) -> bytes:
    """Polynomial 0xA001 reflected, from 0xFFFF; as it stands at the end of a frame."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return bytes(_CRC.build(crc))


@dataclass(frozen=True, slots=True)
class Read:
    """One reading: so many values from an address on."""

    unit: int
    table: Table
    address: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= self.table.most:
            raise ValueError(f"{self.count} values are not read at once")

    @property
    def request(self) -> bytes:
        """As it goes over the line."""
        told = {"unit": self.unit, "function": int(self.table), "address": self.address, "count": self.count}
        body: bytes = _REQUEST.build(told)
        return body + crc16(body)

    @property
    def length(self) -> int:
        """Bytes of its answer."""
        bits = self.table in (Table.COIL, Table.DISCRETE)
        return _SHORTEST + ((self.count + 7) // 8 if bits else self.count * 2)

    def ends(self, data: bytes) -> bool:
        """Whether these bytes are a whole answer, or a whole exception."""
        exception = len(data) >= _SHORTEST and data[1] & _EXCEPTION
        return bool(exception) or len(data) >= self.length

    def answer(self, data: bytes) -> tuple[int, ...]:
        """The values; bits are 0 and 1. Raises `Malformed`, and for an exception with its reason."""
        if len(data) < _SHORTEST:
            raise Malformed(f"{len(data)} bytes are no answer")
        if data[1] & _EXCEPTION and crc16(data[:3]) == data[3:5]:
            if data[:2] != bytes((self.unit, self.table | _EXCEPTION)):
                raise Malformed("an exception to another request came")
            raise Malformed(f"unit {self.unit} refuses: {EXCEPTIONS.get(data[2], f'exception {data[2]}')}")
        if len(data) != self.length or crc16(data[:-2]) != data[-2:]:
            raise Malformed(f"{len(data)} bytes came with a wrong check sum, or are too few or too many")
        if data[:3] != bytes((self.unit, self.table, self.length - _SHORTEST)):
            raise Malformed("the answer to another request came")
        body = data[3:-2]
        if self.table in (Table.COIL, Table.DISCRETE):
            return tuple(body[number // 8] >> number % 8 & 1 for number in range(self.count))
        return tuple(int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body), 2))
