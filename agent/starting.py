"""How a run begins: with what configuration, and what was found in order before."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from agent import selftest
from agent.capture import canonical
from agent.errors import JournalError
from agent.journal import Event, anchors
from agent.release import digest_of

if TYPE_CHECKING:
    from agent.capture import Json
    from agent.config import Config
    from agent.journal import Journal

__all__ = ["check_epoch", "config_claims", "started"]


def check_epoch(config: Config) -> None:
    """A later epoch begins with an entry that quotes the one before: never by itself. Raises `JournalError`."""
    if config.station.epoch > 1 and not (config.station.state / "journal.db").exists():
        raise JournalError(
            f"{config.station.log} has not begun, and must say which log it follows",
            hint="Begin it: evidock custody new-epoch --checkpoint FILE, with a witness's last checkpoint.",
        )


def started(journal: Journal, config: Config) -> None:
    """The entry of this start."""
    tested, last = selftest.last(), anchors.check_head(journal)
    found: dict[str, Json] = {
        "known_answers": list(tested.tests),
        "log_begins_with_checkpoint": None if last is None else last.size,
    }
    told: dict[str, Json] = {"config": config_claims(config), "self_test": found}
    told["releaser_trust_sha256"] = digest_of(config.trust)
    journal.record(Event.AGENT_STARTED, told)


def config_claims(config: Config) -> Json:
    """What was configured, by digest: names of files with secrets stay on the station."""
    raw = canonical({"text": repr(config.model_dump(mode="json"))})
    return {"policy": config.policy.model_dump(mode="json"), "sha256": sha256(raw).hexdigest()}
