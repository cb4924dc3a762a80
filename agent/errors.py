"""What can go wrong: the class says whose side failed, the exit code tells a script, the hint tells a person.

    AgentError
      ConfigError            a person must edit the file
      Refusal                a person asked for something that the rules do not permit
      DeviceError            the device's side: one capture is hurt, the others go on
        DeviceGone (again)   DeviceRefused   CannotResume   UnknownFirmware   BadCapture
      SpoolError             our disk
        SpoolFull (again)    SpoolDamaged
      JournalError           the custody record cannot be written or trusted: everything stops; the only fatal one
        JournalFull (again)
      UplinkError            the side of the DEMS: captures stay held
        UplinkDown (again)   NotNow (again)   UplinkRefused   BadReceipt

`again` says whether the same act may succeed later without a person. Exceptions of libraries are translated into these
at one door per library, with the original as `__cause__`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from agent.addresses import shown

__all__ = [
    "AgentError",
    "BadCapture",
    "BadReceipt",
    "CannotResume",
    "ConfigError",
    "DeviceError",
    "DeviceGone",
    "DeviceRefused",
    "JournalError",
    "JournalFull",
    "NotNow",
    "Problem",
    "Refusal",
    "SpoolDamaged",
    "SpoolError",
    "SpoolFull",
    "UnknownFirmware",
    "UplinkDown",
    "UplinkError",
    "UplinkRefused",
    "in_words",
]


class AgentError(Exception):
    """Anything that Evidock reports on purpose. `str()` is one sentence about what happened.

    It may end in the log, the status and the custody log: a login in an address that it names is not told.
    """

    exit_code: ClassVar[int] = 1
    again: ClassVar[bool] = False
    hint: ClassVar[str] = "Look at the journal of the service: journalctl -u evidock."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(shown(message))
        self._hint = hint

    @property
    def what_to_do(self) -> str:
        """One sentence for the person at the dock."""
        return self._hint if self._hint is not None else type(self).hint


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a configuration file."""

    path: str
    """Where, as the person wrote it: `uplink[0].url`."""
    message: str


class ConfigError(AgentError):
    """A configuration that cannot be used; it carries every problem at once."""

    exit_code = 2
    hint = "Edit agent.toml at the places named, then run: evidock check."

    def __init__(self, problems: list[Problem], *, hint: str | None = None) -> None:
        lines = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
        super().__init__(lines or "the configuration cannot be used", hint=hint)
        self.problems = tuple(problems)


class Refusal(AgentError):
    """A person's act that the rules do not permit; nothing was changed."""

    exit_code = 3
    hint = "Nothing was changed."


class DeviceError(AgentError):
    """The device's side failed: one capture is hurt, the others go on."""

    exit_code = 10
    hint = "Take the device out of the dock, look at its contacts, and put it back."


class DeviceGone(DeviceError):
    """The device went away while it was read. What was read so far is kept and continued."""

    exit_code = 11
    again = True
    hint = "Put the device back; the copy continues where it stopped."


class DeviceRefused(DeviceError):
    """The device, or its file system, did not do what it was asked to."""

    exit_code = 12
    hint = "Nothing was deleted on the device. Look at its write protection and its state."


class CannotResume(DeviceError):
    """The device cannot give a capture from a later byte on; it must be taken from the beginning."""

    exit_code = 13
    again = True
    hint = "Nothing to do: the capture is taken again from its beginning."


class UnknownFirmware(DeviceError):
    """No device spec describes this maker, model and firmware; the device is reported and nothing is guessed."""

    exit_code = 14
    hint = "Ask for a device spec for this model: evidock device explain."


class BadCapture(DeviceError):
    """What the device gave contradicts what it said, or must not be taken; it is set aside with the reason."""

    exit_code = 15
    hint = "Keep the device: its copy of this capture was not accepted. evidock capture show tells why."


class SpoolError(AgentError):
    """Our own disk failed."""

    exit_code = 20
    hint = "Look at the disk of this station; the devices still have what was not held."


class SpoolFull(SpoolError):
    """No room above the watermark. Taking stops, forwarding goes on, and taking resumes by itself."""

    exit_code = 21
    again = True
    hint = "Leave the devices docked. Room comes back as policy.spool lets go of what the DEMS has: evidock spool room."


class SpoolDamaged(SpoolError):
    """Bytes in the spool are not what the journal says, or the disk reported an error while they were forced out."""

    exit_code = 22
    hint = "Keep the devices as they are and run: evidock spool verify."


class JournalError(AgentError):
    """The custody record cannot be written or cannot be trusted. Fatal: no promise can be given without it."""

    exit_code = 30
    hint = "Nothing is released while this lasts. Run: evidock journal verify, and call the station's administrator."


class JournalFull(JournalError):
    """The disk has no room for another entry. Nothing was written, nothing is damaged, and what stands can be read.

    The daemon waits for room: whatever would have to be written waits with it, or is told no.
    """

    exit_code = 31
    again = True
    hint = (
        "Leave the devices docked, and make room on this station's disk: move away what is not Evidock's, and nothing "
        "below station.state. Work goes on by itself when there is room."
    )


class UplinkError(AgentError):
    """The side of the DEMS failed; captures stay held."""

    exit_code = 40
    hint = "Captures are safe on this station and are sent later. Run: evidock check."


class UplinkDown(UplinkError):
    """The DEMS or the way to it does not answer, or asks us to come back later."""

    exit_code = 41
    again = True
    hint = "Nothing to do at the dock: sending resumes by itself. If it lasts, run: evidock check."

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        alone: bool = False,
        way: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.unsent = False
        """No connection came about, so nothing of a request left this station."""
        self.way = way
        """Nothing was answered: what failed may be the way there, and all may be well at its end."""
        self.retry_after = retry_after
        """Seconds that the DEMS asked us to wait, where it said so."""
        self.alone = alone
        """Only this capture has to wait; the destination serves the others."""


class NotNow(UplinkError):
    """Nothing failed: a more urgent capture goes first, or the policy lets these bytes wait. What arrived stays."""

    exit_code = 44
    again = True
    hint = "Nothing to do: it is sent when its turn comes, or when the policy permits it."


class UplinkRefused(UplinkError):
    """The DEMS said no to this capture, for ever; the capture waits for a person."""

    exit_code = 42
    hint = "The administrator of the DEMS must say why; then: evidock capture retry."


class BadReceipt(UplinkError):
    """What came as a receipt does not prove that the DEMS holds exactly these bytes."""

    exit_code = 43
    hint = "The capture stays held and on the device. Tell the administrator of the DEMS."


_TLS: Final = {
    "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
    "NO_CERTIFICATE_OR_CRL_FOUND": "it holds no certificate (PEM)",
    "NO_START_LINE": "it holds no certificate (PEM)",
    "BAD_DECRYPT": "the key has a password, and nobody is there to give it",
    "PASSWORD_CALLBACK_FAILED": "the key has a password, and nobody is there to give it",
    None: "it holds no certificate with its key (PEM), or one of both is damaged",
}
"""OpenSSL's reasons, for files with certificates and keys; None: it gave none."""


def in_words(error: BaseException) -> str:
    """What the system or a library said, without the number and the place in its source; the file stands beside it."""
    if isinstance(error, OSError) and hasattr(error, "library"):  # an `ssl.SSLError`
        reason = getattr(error, "reason", None)
        return _TLS.get(reason, str(reason).replace("_", " ").lower())
    if isinstance(error, UnicodeError):
        return "it is no text in UTF-8"
    if isinstance(error, ValueError) and hasattr(error, "colno"):  # a `json.JSONDecodeError`
        return f"it is no JSON, from line {getattr(error, 'lineno', '?')}, column {error.colno} on"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def for_people(error: BaseException | None) -> str:
    """Why something ended or failed, for the person at the dock: nothing of how Python writes it."""
    match error:
        case None:
            return "it ended by itself"
        case BaseExceptionGroup():
            return for_people(error.exceptions[0])
        case AgentError():
            return str(error)
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return in_words(error) or type(error).__name__
        case _:
            said = " ".join(str(error).split())[:200]
            return f"a fault of Evidock itself ({type(error).__name__}{': ' if said else ''}{said})"


def unforeseen(error: BaseException | None) -> BaseException | None:
    """The error whose trace the log should have, because nobody thought of it; None for those that say all."""
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return None if isinstance(first, AgentError | OSError) else error
