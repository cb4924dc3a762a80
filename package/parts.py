"""What the product consists of: the distributions that it needs to run, as this environment has them from the lock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK: Final = Path(__file__).parents[1] / "requirements.lock"
PRODUCT: Final = "evidock"


@dataclass(frozen=True)
class Part:
    """One distribution that the product runs with."""

    found: Distribution
    sha256: tuple[str, ...]
    """Of its files, as the lock has them."""
    needs: tuple[str, ...]
    """Names of those that it needs itself."""

    @property
    def name(self) -> str:
        """As the lock writes it."""
        return canonicalize_name(self.found.name)


def parts() -> list[Part]:
    """Everything that is needed at run time, the product itself excepted, by name. Ends where it is not as locked."""
    locked = _locked()
    found: dict[str, Part] = {}
    waiting = list(_needs(distribution(PRODUCT)))
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        here = distribution(name)
        version, hashes = locked.get(name, ("nothing", ()))
        if version != here.version:
            raise SystemExit(f"{name} is here in version {here.version}, the lock says {version}: make install")
        needs = tuple(sorted(_needs(here)))
        found[name] = Part(here, hashes, needs)
        waiting += needs
    return [found[name] for name in sorted(found)]


def needs_of_the_product() -> list[str]:
    """What it needs directly."""
    return sorted(_needs(distribution(PRODUCT)))


def _needs(of: Distribution) -> Iterator[str]:
    for text in of.requires or ():
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            yield canonicalize_name(wanted.name)


def _locked() -> dict[str, tuple[str, tuple[str, ...]]]:
    entry = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)[^\n]*((?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+)", re.MULTILINE)
    return {
        canonicalize_name(name): (version, tuple(sorted(re.findall(r"sha256:([0-9a-f]{64})", hashes))))
        for name, version, hashes in entry.findall(LOCK.read_text())
    }
