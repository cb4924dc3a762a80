"""A capture's story in a person's words: each entry of the custody log about it is a sentence with time and place."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from agent.cli.telling import length, moment
from agent.cli.words import belongs

__all__ = ["told"]


def told(entry: Mapping[str, Any]) -> str:
    """When, by which clock, what happened, and where in the log it stands."""
    said = entry["predicate"]
    clock = said["clock"]
    if not clock["synchronised"]:
        kept = "a clock that nothing kept right"
    else:
        error = "" if clock["uncertainty_us"] is None else f" to {clock['uncertainty_us'] / 1000:.1f} ms"
        kept = f"a clock kept right{error}"
    actor = "" if said["actor"] == "agent" else f", by {said['actor']}"
    tell = _SENTENCES.get(said["event"])
    sentence = str(said["event"]) if tell is None else tell(said)
    return f"{moment(said['recorded_at'])}  {sentence}{actor}. (entry {said['seq']}; {kept})"


def _held(said: Mapping[str, Any]) -> str:
    device, capture = said["device"], said["capture"]
    name = " ".join(filter(None, (device["maker"], device["model"], device["serial"]))) or device["id"]
    where = f" at {device['place']}" if device["place"] else ""
    began = f", begun {moment(capture['began_at'])} by its own clock" if capture["began_at"] else ""
    return (
        f"{name} ({device['driver']}{where}) held it out as {capture['key']}{began}. It was copied, hashed, forced to"
        f" the disk and promised: {capture['length']} bytes ({length(capture['length'])})"
    )


def _receipted(said: Mapping[str, Any]) -> str:
    receipt = said["receipt"]
    how = {
        "signed": "signed a receipt over capture, length, SHA-256 and this log's entry; the signature was verified",
        "digest": "named the SHA-256 of what it stored, and it is right",
        "length": "said that so many bytes arrived, and no more: no device may forget it on that",
    }
    return f"{receipt['destination']} {how.get(receipt['strength'], receipt['strength'])}"


def _command(said: Mapping[str, Any]) -> str:
    return f"A person ordered “{said['command']}”, because: {said['why']}"


def _context(said: Mapping[str, Any]) -> str:
    again = "" if said["instead_of"] is None else f", instead of what entry {said['instead_of']} says"
    raised = said["context"]["priority"]
    urgent = "" if raised is None else f"; it is {raised.replace('_', ' ')} from now on"
    return f"By device and time there belongs to it: {belongs(said['context'])}{again}{urgent}"


_SENTENCES: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "held": _held,
    "capture.offered_again": lambda _: "The device offered it again; it was taken again and is the same",
    "capture.changed_after_seen": lambda said: f"The device holds other bytes there now: {said['reason']}",
    "quarantined": lambda said: f"It was set aside, because it is doubted: {said['reason']}",
    "receipted": _receipted,
    "copied": lambda said: f"A further copy: {_receipted(said)}",
    "refused": lambda said: f"The DEMS refused it: {said['reason']}",
    "release.intended": lambda _: "The device's own copy was read a second time, past every cache, and is equal",
    "released": lambda said: (
        "The device was told to forget it, and did"
        if "device" not in said
        else f"Nothing is left on its device, which {said['device']}"
    ),
    "release.refused": lambda said: f"The device keeps its copy: {said['reason']}",
    "purged": lambda _: "Its bytes left this station; the DEMS has them",
    "part.explained": lambda _: "What had arrived of it before is its beginning, byte for byte, and lies there once",
    "capture.found": lambda _: "Its file was missing on the station's disk, and lies there again, byte for byte",
    "receipt.dated": lambda _: (
        "The station's clock was not kept right when its receipt came, or was ahead: it is kept right now. What waits "
        "since the receipt waits from now on"
    ),
    "fixity.checked": lambda _: "Its bytes were read again from the station's disk and compared",
    "operator.command": _command,
    "capture.context": _context,
}
