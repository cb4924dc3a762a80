"""What lies where on a device's volume: which files are recordings, which go with them, which must never be taken."""

from __future__ import annotations

import re
import tomllib
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from firmware_specs import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Layout", "Place", "Rule", "layout", "layouts"]

Urgency: TypeAlias = Literal["routine", "flagged"]

_OCTETS = "application/octet-stream"


class Rule(BaseModel):
    """One kind of file. The first rule whose `path` matches decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Regular expression for the whole path from the volume's root on, with `/`; case is ignored, as FAT does.

    It sees the name as it is shown (`%` and what is not printable are percent-escaped). Its named groups fill
    `group`, and those of `said` are kept beside the capture as the device's words.
    """
    role: Literal["recording", "sidecar", "never"]
    """`never`: it is not even opened, whatever it is."""
    group: str | None = None
    """Which recording it belongs to, such as `{folder}/{number}`."""
    clip: str | None = None
    """Named group that counts the clips of one recording, where the maker's names do."""
    said: tuple[str, ...] = ()
    """Named groups that tell something of the recording, in the maker's words."""
    conformant: bool | None = None
    """Whether a file named so keeps the published naming rule; None where there is none."""
    urgency: Urgency = "routine"
    why: str | None = None
    """For a person: why a file is never taken."""

    @model_validator(mode="after")
    def _explains_and_compiles(self) -> Rule:
        if (self.role == "never") != (self.why is not None):
            raise ValueError("`why` belongs to the role never, and to it alone")
        try:
            names = re.compile(self.path).groupindex.keys()
        except re.error as error:
            raise ValueError(f"path is no regular expression: {error}") from error
        asked = {*self.said, *([self.clip] if self.clip else []), *re.findall(r"\{(\w+)\}", self.group or "")}
        if missing := asked - names:
            raise ValueError(f"path has no group named {', '.join(sorted(missing))}")
        return self


class Place:
    """Where one path stands in a layout."""

    __slots__ = ("_match", "_types", "rule")

    def __init__(self, rule: Rule, match: re.Match[str], types: Mapping[str, str]) -> None:
        self.rule = rule
        self._match = match
        self._types = types

    @property
    def group(self) -> str | None:
        """The recording that it belongs to; in upper case, since FAT does not tell `a` from `A`."""
        if self.rule.group is None:
            return None
        return self.rule.group.format_map(self._match.groupdict(default="")).upper()

    @property
    def clip(self) -> int | None:
        """Which clip of its recording it is; None where the name does not say so by a number."""
        text = self._match[self.rule.clip] if self.rule.clip is not None else None
        return int(text) if text is not None and re.fullmatch("[0-9]{1,9}", text) else None

    @property
    def said(self) -> dict[str, str]:
        """What the name tells, in the maker's words."""
        return {name: text for name in self.rule.said if (text := self._match[name]) is not None}

    @property
    def media_type(self) -> str:
        """By the extension alone: nothing is opened to find it."""
        return self._types.get(self._match.string.rpartition(".")[2].lower(), _OCTETS)


class Layout(BaseModel):
    """Where the recordings of a family of devices lie."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    roots: tuple[str, ...]
    """Folders at the volume's root that are walked (case is ignored); what lies beside them belongs to the device."""
    locked: Urgency = "flagged"
    """How urgent a file is that FAT says is read-only: so a camera marks a clip that must not be overwritten."""
    media_types: dict[str, str]
    """By extension in lower case."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]

    # Made once, for a volume of 100,000 files asks as often; and no private attributes, which pydantic looks up slowly.

    @cached_property
    def _patterns(self) -> tuple[tuple[re.Pattern[str], Rule], ...]:
        return tuple((re.compile(rule.path, re.IGNORECASE | re.ASCII | re.DOTALL), rule) for rule in self.rules)

    @cached_property
    def _roots(self) -> frozenset[str]:
        return frozenset(root.upper() for root in self.roots)

    @field_validator("roots")
    @classmethod
    def _roots_are_names(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        if not roots or any(not root or "/" in root for root in roots):
            raise ValueError("a root is the name of one folder at the volume's root")
        return roots

    def place(self, path: str) -> Place | None:
        """Where this path stands; None for a file that the layout does not know."""
        for pattern, rule in self._patterns:
            if match := pattern.fullmatch(path):
                return Place(rule, match, self.media_types)
        return None

    def is_root(self, name: str) -> bool:
        """Whether the folder of this name at the volume's root is walked."""
        return name.upper() in self._roots


@cache
def layouts() -> Mapping[str, Layout]:
    """Every layout that is shipped, by name. `SpecError` where one of the files is wrong."""
    found: dict[str, Layout] = {}
    for file in sorted(resources.files(__package__).iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".toml"):
            continue
        try:
            one = Layout.model_validate(tomllib.loads(file.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError) as error:
            raise SpecError(f"layout {file.name}: {error}") from error
        if f"{one.name}.toml" != file.name:
            raise SpecError(f"layout {file.name} calls itself {one.name}")
        found[one.name] = one
    return found


def layout(name: str) -> Layout:
    """The layout of this name. `SpecError` where there is none."""
    try:
        return layouts()[name]
    except KeyError:
        raise SpecError(f"there is no layout {name!r}; there are: {', '.join(layouts())}") from None
