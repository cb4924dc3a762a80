"""The AsyncAPI 3.0 document of what a station says and hears, made from the models: nobody writes it by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.broker.messages import CONTENT_TYPE, DOWN, UP, Order
from agent.journal.entry import agent_version

if TYPE_CHECKING:
    from pydantic import BaseModel

    from agent.broker.messages import Payload

__all__ = ["document", "schemas"]

_PARAMETERS = {
    "agency": "The agency, such as `example-org`.",
    "site": "The building or fleet, such as `main`.",
    "station": "The station; with certificates the CN of its own.",
}


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) of each payload, by its name such as `capture/1`; `order/1` is what an operator signs."""
    models: tuple[type[BaseModel], ...] = (*dict.fromkeys((*UP, *DOWN)), Order)
    return {_name(model): _schema(model) for model in models}


def document() -> dict[str, Any]:
    """The document."""
    both = dict.fromkeys((*UP, *DOWN))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Evidock station",
            "version": agent_version(),
            "description": "What an Evidock station announces at the agency's broker, and what it hears there. MQTT 5.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {model.kind: _channel(model) for model in both},
        "operations": {
            **{f"send_{model.kind}": _operation("send", model) for model in UP},
            **{f"receive_{model.kind}": _operation("receive", model) for model in DOWN},
        },
        "components": {
            "messages": {model.kind: _message(model) for model in both},
            "schemas": _parts(),
        },
    }


def _channel(model: type[Payload]) -> dict[str, Any]:
    return {
        "address": f"evidock/v1/{{agency}}/{{site}}/{{station}}/{model.kind}",
        "description": _sentence(model),
        "parameters": {name: {"description": said} for name, said in _PARAMETERS.items()},
        "messages": {model.kind: {"$ref": f"#/components/messages/{model.kind}"}},
    }


def _operation(action: str, model: type[Payload]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{model.kind}"},
        "messages": [{"$ref": f"#/channels/{model.kind}/messages/{model.kind}"}],
        "bindings": {"mqtt": _binding(model)},
    }
    if model.kind == "cmd":
        made["reply"] = {"channel": {"$ref": "#/channels/resp"}}
    return made


def _binding(model: type[Payload]) -> dict[str, Any]:
    binding: dict[str, Any] = {"qos": model.qos, "retain": model.retained, "bindingVersion": "0.2.0"}
    if model.expiry is not None:
        binding["messageExpiryInterval"] = model.expiry
    return binding


def _message(model: type[Payload]) -> dict[str, Any]:
    return {
        "name": _name(model),
        "summary": _sentence(model),
        "contentType": CONTENT_TYPE,
        "payload": _embedded(model),
    }


def _name(model: type[BaseModel]) -> str:
    return str(model.model_fields["schema_"].default)


def _sentence(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    """With its own definitions inside, so that it can be used alone."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(by_alias=True)}


def _embedded(model: type[BaseModel]) -> dict[str, Any]:
    """Without them: inside a document they stand among its components."""
    made = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    made.pop("$defs", None)
    return made


def _parts() -> dict[str, Any]:
    """What the payloads are made of, and what an operator signs."""
    found: dict[str, Any] = {"Order": _embedded(Order)}
    for model in dict.fromkeys((*UP, *DOWN)):
        made = model.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
        found |= made.get("$defs", {})
    return found
