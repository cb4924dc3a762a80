"""Faults of the DEMS and of the way to it, as short strings such as "PATCH:2:cut@1048576".

    METHOD:WHICH:WHAT[:OPTION=SECONDS]   one request of those that tus makes
    receipt:TWIST                        every receipt from now on
    receipt:late=3                       the next three answers that would carry a receipt carry none

METHOD is POST, HEAD, GET, PATCH, DELETE, OPTIONS or `*`; WHICH counts from when the rule was added: `2` is the second
such request, `2-4` the second to the fourth, `*` each. WHAT:

    cut@N         read N bytes of the body, then break the connection
    stall@N       read N bytes of the body, then read no more for 30 s (option `for`), then break the connection
    drop          break the connection before anything is done
    drop-answer   do the work, then break the connection instead of answering
    delay=S       wait S seconds, then do the work
    503           answer with this status and do nothing (option `retry`: with Retry-After)
    offset=-100   do the work, and lie about `Upload-Offset` in the answer by so much
    expire        give the upload up as expired, then look at the request
    corrupt@N     turn a bit of the stored byte N over, then look at the request

TWIST is wrong-digest, wrong-length, wrong-signature, other-capture, other-log or none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from agent.testing.dems.receipts import TWISTS

__all__ = ["Fault", "Faults"]

_METHODS: Final = ("POST", "HEAD", "GET", "PATCH", "DELETE", "OPTIONS", "*")
_WHICH: Final = re.compile(r"(?:(?P<first>[1-9]\d{0,8})(?:-(?P<last>[1-9]\d{0,8}))?|\*)", re.ASCII)
_WHAT: Final = re.compile(
    r"(?P<name>cut|stall|corrupt)@(?P<at>\d{1,18})"
    r"|(?P<word>drop|drop-answer|expire|stall)"
    r"|delay=(?P<delay>\d+(?:\.\d+)?)"
    r"|offset=(?P<offset>[+-]\d{1,18})"
    r"|(?P<status>[2-5]\d\d)",
    re.ASCII,
)
_OPTION: Final = re.compile(r"(?P<key>for|retry)=(?P<seconds>\d+(?:\.\d+)?)", re.ASCII)
_STALL: Final = 30.0
_EVER: Final = 10**9


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one request."""

    what: str
    """The first word of WHAT, or `status`."""
    at: int = 0
    """Bytes of the body, the place of a byte, or what is added to the offset."""
    status: int = 0
    seconds: float = 0.0
    """How long a stall or a delay lasts, or what `Retry-After` says; 0: nothing."""


@dataclass(slots=True)
class _Rule:
    text: str
    method: str
    first: int
    last: int
    fault: Fault
    seen: int = 0


@dataclass(slots=True)
class Faults:
    """The rules in force. The first one that fits a request counts for it."""

    _rules: list[_Rule] = field(default_factory=list)
    _twist: str | None = None
    _late: int = 0

    def add(self, *texts: str) -> None:
        """Put rules in force. `ValueError` for one that the grammar does not know; then none of them is."""
        receipts = [text.partition(":")[2] for text in texts if text.startswith("receipt:")]
        for twist in receipts:
            if twist not in (*TWISTS, "none") and not re.fullmatch(r"late=\d{1,9}", twist, re.ASCII):
                raise ValueError(f"receipt:{twist} is not a fault")
        rules = [_parse(text) for text in texts if not text.startswith("receipt:")]
        self._rules += rules
        for twist in receipts:
            if twist.startswith("late="):
                self._late = int(twist.removeprefix("late="))
            else:
                self._twist = twist

    def clear(self) -> None:
        """Let everything go right again."""
        self._rules.clear()
        self._twist, self._late = None, 0

    def texts(self) -> list[str]:
        """Return the rules in force."""
        twist = [] if self._twist is None else [f"receipt:{self._twist}"]
        return [*(rule.text for rule in self._rules), *twist, *([f"receipt:late={self._late}"] if self._late else [])]

    def next(self, method: str) -> Fault | None:
        """Count a request, and return what goes wrong with it."""
        chosen: Fault | None = None
        for rule in self._rules:
            if rule.method in (method, "*"):
                rule.seen += 1
                if chosen is None and rule.first <= rule.seen <= rule.last:
                    chosen = rule.fault
        return chosen

    def twist(self) -> str | None:
        """Return what is done to the receipt that is about to be answered: a TWIST, `none`, or nothing."""
        if self._late > 0:
            self._late -= 1
            return "none"
        return self._twist


def _parse(text: str) -> _Rule:
    method, _, rest = text.partition(":")
    which, _, rest = rest.partition(":")
    what, _, option = rest.partition(":")
    count, said, extra = _WHICH.fullmatch(which), _WHAT.fullmatch(what), _OPTION.fullmatch(option)
    if method not in _METHODS or count is None or said is None or (option and extra is None):
        raise ValueError(f"{text!r} is not a fault: METHOD:WHICH:WHAT[:OPTION=SECONDS]")
    seconds = float(extra["seconds"]) if extra else 0.0
    if said["status"]:
        fault = Fault("status", status=int(said["status"]), seconds=seconds)
    elif said["delay"]:
        fault = Fault("delay", seconds=float(said["delay"]))
    elif said["offset"]:
        fault = Fault("offset", at=int(said["offset"]))
    else:
        name = said["name"] or said["word"]
        fault = Fault(name, at=int(said["at"] or 0), seconds=(seconds or _STALL) if name == "stall" else 0.0)
    first = int(count["first"]) if count["first"] else 1
    last = int(count["last"] or first) if count["first"] else _EVER
    return _Rule(text, method, first, last, fault)
