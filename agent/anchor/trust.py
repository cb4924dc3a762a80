"""Whose words count, read from agent.toml: every problem at once, before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.custody.trust import Trust
from agent.errors import ConfigError, Problem
from agent.note import COSIGNATURE, BadNote, Verifier

if TYPE_CHECKING:
    from agent.config import Config

__all__ = ["trust_of", "witness_asked"]


def trust_of(config: Config) -> Trust:
    """Read policy file and keys. Raises `ConfigError`, also where witnesses are required and none is named."""
    custody, problems = config.custody, list[Problem]()
    roots = [key for n, vkey in enumerate(custody.roots) if (key := _key(vkey, f"custody.roots[{n}]", problems))]
    witnesses: list[Verifier] = []
    for n, one in enumerate(custody.witness):
        key = _key(one.vkey, f"custody.witness[{n}].vkey", problems)
        if key is not None and key.kind != COSIGNATURE:
            problems.append(Problem(f"custody.witness[{n}].vkey", "is not the key of a witness (kind 0x04)"))
        elif key is not None:
            witnesses.append(key)
    note: bytes | None = None
    if custody.policy is not None:
        try:
            note = custody.policy.read_bytes()
        except OSError as error:
            problems.append(Problem("custody.policy", f"{custody.policy} cannot be read: {error.strerror}"))
        if not custody.roots:
            problems.append(Problem("custody.roots", "a policy needs the key of the agency that signed it"))
    if config.policy.witness == "required" and custody.policy is None and not custody.witness:
        problems.append(Problem("policy.witness", "a witness is required, and [custody] names none"))
    if custody.tsa_url is not None and custody.tsa_ca_file is None:
        problems.append(Problem("custody.tsa_ca_file", "is missing: without it no time stamp can be verified"))
    if problems:
        raise ConfigError(problems)
    return Trust(note, tuple(roots), tuple(witnesses))


def witness_asked(config: Config) -> bool:
    """Whether nothing may be forgotten before the witnesses' quorum cosigned the entry about it."""
    named = config.custody.policy is not None or bool(config.custody.witness)
    return config.policy.witness == "required" or (config.policy.witness == "configured" and named)


def _key(vkey: str, place: str, problems: list[Problem]) -> Verifier | None:
    try:
        return Verifier.parse(vkey)
    except BadNote as error:
        problems.append(Problem(place, str(error)))
        return None
