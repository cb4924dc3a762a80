"""What agent.toml may hold, as JSON Schema: so that an editor completes it, and underlines what is wrong."""

import ast
import inspect
import json
import textwrap
from datetime import timedelta
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter

from agent.config import Config
from agent.registry import DRIVERS, UPLINKS, installed

__all__ = ["FILE", "schema", "schema_text"]

FILE: Final = "agent.schema.json"
"""Name of the file that `evidock init` writes beside agent.toml."""


def schema() -> dict[str, Any]:
    """Describe the whole file: each installed driver and uplink has its own table, told apart by `use`."""
    whole = Config.model_json_schema()
    _describe(whole, Config)
    for word, group in (("driver", DRIVERS), ("uplink", UPLINKS)):
        tables = [
            _table(name, entry.load().Options, whole["$defs"]) for name, entry in sorted(installed(group).items())
        ]
        told = whole["properties"][word]
        whole["properties"][word] = {**told, "items": {"oneOf": tables}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_as_toml(whole),
        "title": "agent.toml of Evidock",
    }


def schema_text() -> str:
    """Return it as a file."""
    return json.dumps(schema(), indent=1) + "\n"


def _table(name: str, options: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """One driver or uplink; what it refers to goes to the common definitions, under its own name."""
    told = options.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    _describe(told, options)
    for inner, definition in told.pop("$defs", {}).items():
        definitions[f"{name}.{inner}"] = definition
    told["properties"]["use"] = {"const": name, "description": inspect.getdoc(options) or ""}
    return {**told, "title": name}


def _as_toml(told: Any) -> Any:  # noqa: ANN401 - any JSON
    """What a person writes: TOML knows no null, a duration is `"30 s"`, and a field's title says nothing new."""
    match told:
        case {"anyOf": [one, {"type": "null"}], **rest}:
            return _as_toml({**one, **rest})
        case {"type": "string", "default": str(default)} if default.startswith(("P", "-P")) and "pattern" in told:
            seconds = TypeAdapter(timedelta).validate_python(default).total_seconds()
            return _as_toml({**told, "default": f"{seconds:g} s"})
        case dict():
            field = any(word in told for word in ("type", "anyOf", "$ref"))
            kept = {name: inner for name, inner in told.items() if not (field and _says_nothing(name, inner))}
            return {name: _as_toml(inner) for name, inner in kept.items()}
        case list():
            return [_as_toml(inner) for inner in told]
        case _:
            return told


def _says_nothing(name: str, inner: object) -> bool:
    """A title, a bound that is none in JSON Schema, a default that is a whole table or nothing."""
    if name == "default":
        return inner is None or isinstance(inner, dict)
    return name in {"ge", "le", "title"} and not isinstance(inner, dict)


def _describe(told: dict[str, Any], model: type[BaseModel]) -> None:
    """Each field's sentence, as it stands below the field in the source."""
    definitions = told.get("$defs", {})
    known = {kind.__name__: kind for kind in _models(model)}
    for described, kind in ((told, model), *((definitions[name], kind) for name, kind in known.items())):
        sentences = _sentences(kind)
        for field, property_ in described.get("properties", {}).items():
            if field in sentences:
                property_["description"] = sentences[field]
    told.pop("description", None)


def _models(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The models inside of a model's fields."""
    found: set[type[BaseModel]] = set()
    waiting: list[Any] = [field.annotation for field in model.model_fields.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
            found.add(kind)
            waiting += [field.annotation for field in kind.model_fields.values()]
        waiting += getattr(kind, "__args__", ())
    return found


def _sentences(model: type[BaseModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in reversed([one for one in model.__mro__ if issubclass(one, BaseModel) and one is not BaseModel]):
        found |= _own_sentences(kind)
    return found


@cache
def _own_sentences(kind: type[BaseModel]) -> dict[str, str]:
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError, SyntaxError):  # no source here: the fields are known all the same
        return {}
    if not isinstance(tree, ast.ClassDef):
        return {}
    return {
        field.target.id: inspect.cleandoc(after.value.value).replace("\n", " ")
        for field, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and isinstance(after.value.value, str)
    }
