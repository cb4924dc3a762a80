"""What agent.toml asks the program that deletes to believe, gathered for whoever writes its trust file.

`evidock custody trust --write` does it for a person, an installation once at its end; the daemon never. The key of the
log is made here where it is the station's own and there is none yet, so that it can be named before the first start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.anchor import trust_of, witness_asked
from agent.anchor.ring import Place
from agent.errors import ConfigError, Problem
from agent.note import BadNote, Verifier
from agent.registry import Equipment, equip
from agent.release import trust_file, trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.capture import Json
    from agent.config import Config

__all__ = ["asked_of", "install", "log_keys", "no_key_yet", "receipt_keys"]


def receipt_keys(equipment: Equipment, config: Config) -> list[Verifier]:
    """The keys whose receipts are believed. Raises `ConfigError` where the policy asks for more than they can give."""
    problems: list[Problem] = []
    keys: list[Verifier] = []
    for number, loaded in enumerate(equipment.uplinks):
        for vkey in loaded.options.receipt_keys:
            try:
                keys.append(Verifier.parse(vkey))
            except BadNote as error:
                problems.append(Problem(f"uplink[{number}].receipt_keys", str(error)))
    if config.policy.device == "release" and config.policy.receipt == "signed" and not keys and not problems:
        problems.append(
            Problem("policy.device", "devices may forget on signed receipts only, and no uplink names receipt_keys")
        )
    if problems:
        raise ConfigError(problems)
    return keys


def no_key_yet(config: Config) -> bool:
    """Whether `log_keys` would make the key of the log."""
    place = Place.of(config.custody, config.station.state, config.station.log)
    return place.ours and not place.path.exists() and not place.next.exists()


def log_keys(config: Config) -> list[Verifier]:
    """The public keys of the station's log, from the files of the private ones; made where they are ours to make."""
    place = Place.of(config.custody, config.station.state, config.station.log)
    if no_key_yet(config):
        return [place.make(place.path).verifier]
    return [signer.verifier for signer in place.known()]


def asked_of(config: Config, logs: Sequence[Verifier]) -> dict[str, Json]:
    """What the trust file must say. Raises `ConfigError`."""
    receipts = receipt_keys(equip(config), config)
    return trusted(trust=trust_of(config), logs=logs, asked=witness_asked(config), receipt_keys=receipts)


def install(config: Config) -> None:
    """Write the trust file as agent.toml has it now. Raises `ConfigError`."""
    trust_file(config.trust, asked_of(config, log_keys(config)))
