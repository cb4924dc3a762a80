"""Registers of the COBAN FCS-X1-WTD In-Car Trigger, a vehicle dock, over its serial line. Read only.

Known:        framing and registers from "In-Car Trigger User Guide" V1.01 (2017-01-16), a public exhibit of the FCC
              (document 3628652); every frame here is computed from it.
Not verified: on a device: the polarity of the recording flag, which the guide tells in two ways; what an error answer
              looks like; registers 0008 to 0017 and above 006F. No client or simulator of other authors and no
              recorded line was found in public: both sides of the tests are ours.

    read   A1 00 addrHi addrLo N ck                     answer  A1 00 addrHi addrLo N result data[N] ck

`ck` makes all bytes of a frame sum to 0 modulo 256. At most 16 bytes are read at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from construct import BitStruct, Bytes, Flag, Int8ub, Int16ub, Padding, Struct

from firmware_specs.formats.source import Malformed

__all__ = ["CAMERA", "CAMERA_STATUS", "IDENTITY", "INPUTS", "OWNER", "PRODUCT", "Identity", "Inputs", "Read", "owner"]

PRODUCT: Final = 0xA1
MOST: Final = 16

_REQUEST: Final = Struct("mark" / Int8ub, "act" / Int8ub, "address" / Int16ub, "count" / Int8ub)
_ANSWER: Final = 7
"""Bytes of an answer without data."""

_IDENTITY: Final = Struct("product" / Int8ub, "loader" / Bytes(2), "application" / Bytes(2), Padding(3))
_INPUTS: Final = BitStruct(
    "light_bar_led" / Flag,
    "aux_led" / Flag,
    "camera_1_led" / Flag,
    "camera_2_led" / Flag,
    Padding(1),
    "light_bar" / Flag,
    "aux" / Flag,
    Padding(1),
    "output" / Flag,
    "upload_led" / Flag,
    "upload_led_2" / Flag,
    "ignition" / Flag,
    Padding(4),
)


@dataclass(frozen=True, slots=True)
class Read:
    """One reading of so many bytes."""

    address: int
    count: int

    @property
    def request(self) -> bytes:
        """As it goes over the line."""
        body: bytes = _REQUEST.build({"mark": PRODUCT, "act": 0, "address": self.address, "count": self.count})
        return body + bytes((-sum(body) & 0xFF,))

    def ends(self, data: bytes) -> bool:
        """Whether these bytes are a whole answer: with its data, or an error without them."""
        whole = _ANSWER + self.count
        return len(data) >= whole or (len(data) == _ANSWER and data[5] != 0 and not sum(data) & 0xFF)

    def answer(self, data: bytes) -> bytes:
        """The data. Raises `Malformed`."""
        if sum(data) & 0xFF or len(data) not in (_ANSWER, _ANSWER + self.count):
            raise Malformed(f"{len(data)} bytes came with a wrong check sum, or are too few or too many")
        if data[:5] != self.request[:5]:
            raise Malformed("the answer to another request came")
        if data[5] != 0:
            raise Malformed(f"the dock reports error {data[5]}")
        if len(data) == _ANSWER:
            raise Malformed("the answer has no data")
        return data[6:-1]


IDENTITY: Final = Read(0x0000, 8)
INPUTS: Final = Read(0x0006, 2)
CAMERA: Final = Read(0x0019, 6)
"""Bluetooth address of the first camera, from its NFC tag."""
OWNER: Final = (Read(0x001F, 16), Read(0x002F, 16))
"""What is written on that tag, in two readings."""
CAMERA_STATUS: Final = Read(0x0060, 1)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the dock says that it is."""

    product: int
    loader: str
    application: str

    @classmethod
    def of(cls, data: bytes) -> Identity:
        """From the answer to `IDENTITY`."""
        raw = _IDENTITY.parse(data)
        return cls(raw.product, _dotted(raw.loader), _dotted(raw.application))


@dataclass(frozen=True, slots=True)
class Inputs:
    """Levels of the three inputs: true from 8 volts up."""

    light_bar: bool
    aux: bool
    ignition: bool

    @classmethod
    def of(cls, data: bytes) -> Inputs:
        """From the answer to `INPUTS`."""
        raw: Any = _INPUTS.parse(data)
        return cls(bool(raw.light_bar), bool(raw.aux), bool(raw.ignition))


def owner(data: bytes) -> str:
    """The text on a camera's tag, as far as it can be shown."""
    text = data.rstrip(b"\0\xff").split(b"\0")[0].decode("utf-8", "replace")
    return "".join(one for one in text if one.isprintable()).strip()


def _dotted(raw: bytes) -> str:
    return f"{raw[0]}.{raw[1]}"
