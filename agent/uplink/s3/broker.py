"""The agency's broker: it signs single requests to the store, for stations that hold no keys of it (docs/s3-broker.md).

Each request is signed at the moment in which it is sent, so what a signature is worth lasts for minutes, and a station
that was stolen can store nothing once the broker does not know it any more.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from yarl import URL

from agent.capture import rfc3339
from agent.errors import UplinkDown, UplinkRefused
from agent.uplink.http.answer import retry_after
from agent.uplink.http.door import Door
from agent.uplink.http.options import HttpOptions
from agent.uplink.http.trouble import bounded, explained
from agent.uplink.s3.presigned import Signed
from agent.uplink.s3.trouble import NotPermitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.uplink.http.answer import Answer
    from agent.uplink.s3.options import S3Options

__all__ = ["Broker"]

_BODIES: Final = frozenset({"Body", "MultipartUpload"})
"""What the store reads from the body, which no signature of this kind covers."""


class Broker:
    """Signs for one bucket."""

    def __init__(self, options: S3Options) -> None:
        """Raises `ConfigError` where a certificate or the token cannot be read."""
        assert options.broker is not None  # noqa: S101 - for the type checker: who calls has looked
        self.url = URL(options.broker)
        self.place = f"the broker {self.url.authority}"
        self._bucket = options.bucket
        self._door = Door(
            HttpOptions(
                use="s3",
                name=options.name,
                url=options.broker,
                ca_file=options.ca_file if self.url.scheme == "https" else None,
                pins=options.pins if self.url.scheme == "https" else (),
                client_cert=options.client_cert,
                client_key=options.client_key,
                token_file=options.token_file,
                proxy=options.proxy,
                proxy_login_file=options.proxy_login_file,
                connect_timeout=options.connect_timeout,
                stall=options.stall,
            )
        )

    async def signed(self, operation: str, words: Mapping[str, Any], *, length: int) -> Signed:
        """Ask for one request: `operation` and `words` as S3 names them, `length` bytes of body.

        Raises `UplinkDown`; `UplinkRefused` where the agency does not want this object, for ever; `NotPermitted`.
        """
        asked = {
            "operation": operation,
            "parameters": {"Bucket": self._bucket} | {k: _told(v) for k, v in words.items() if k not in _BODIES},
            "length": length,
        }
        await self._door.renew_token()
        body = json.dumps(asked).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        answer = await self._door.ask("POST", self.url, headers, body)
        if answer.status != 200:  # noqa: PLR2004 - OK
            raise self._no(answer, operation)
        try:
            return Signed.model_validate_json(answer.body)
        except ValidationError as error:
            why = bounded(str(error.errors(include_url=False, include_input=False)[0]["msg"]))
            raise UplinkDown(
                f"{self.place} gave an answer that is none: {why}",
                hint="Does `broker` name the agency's broker? docs/s3-broker.md says what it answers.",
            ) from error

    def _no(self, answer: Answer, operation: str) -> Exception:
        why = _reason(answer)
        match answer.status:
            case 403:
                return NotPermitted(f"{self.place} does not sign {operation} for this station{why}")
            case 422:
                return UplinkRefused(f"{self.place} refuses this capture{why or ': it says no reason'}")
            case 500 | 502 | 504:
                return UplinkDown(f"{self.place} failed ({answer.status}){why}", retry_after=retry_after(answer))
            case _:
                return explained(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._door.aclose()


def _told(value: Any) -> Any:  # noqa: ANN401 - whatever S3 takes
    return rfc3339(value) if isinstance(value, datetime) else value


def _reason(answer: Answer) -> str:
    try:
        told = json.loads(answer.body)
        return f": {bounded(str(told['reason']))}"
    except (ValueError, KeyError, TypeError):
        return ""
