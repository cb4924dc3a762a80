"""What a person may have meant by a setting that no table knows: the nearest one there, or the same elsewhere."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["meant", "nearest"]


def nearest(said: str, known: Iterable[str]) -> str | None:
    """The one of these names that is most like what was said; None where none is."""
    return next(iter(get_close_matches(said, list(known), 1)), None)


def meant(model: type[BaseModel], location: tuple[int | str, ...]) -> str | None:
    """What may be meant by an unknown setting at this place of what `model` reads; None where nothing is like it."""
    said, tables = str(location[-1]), [model]
    for step in location[:-1]:
        if isinstance(step, str):  # a step into a list stays at its tables; so does the name of a choice
            tables = [inner for table in tables for inner in _within(table, step)] or tables
    if found := nearest(said, (name for table in tables for name in _names(table))):
        return f"`{found}`"
    for name in _names(model):
        if any(said in _names(inner) for inner in _within(model, name)):
            return f"`{said}` under [{name}]"
    return None


def _names(table: type[BaseModel]) -> Iterator[str]:
    return (field.alias or name for name, field in table.model_fields.items())


def _within(table: type[BaseModel], name: str) -> list[type[BaseModel]]:
    """The tables that may stand under this setting of a table."""
    fields = table.model_fields.items()
    return [one for known, field in fields if name in (known, field.alias) for one in _tables(field.annotation)]


def _tables(kind: Any) -> Iterator[type[BaseModel]]:  # noqa: ANN401 - any annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _tables(inner)
