"""What is remembered of one upload: enough that a restart makes the same ciphertext and goes on from there."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.uplink.clearance.envelope import Envelope

__all__ = ["Upload"]


class Upload(BaseModel):
    """One, from the moment in which the service made its item."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    evidence: str
    resource: str | None = None
    uri: str | None = Field(default=None, repr=False)
    """The address of its bytes, with its signature: whoever has it may write there until it expires."""
    began_at: datetime
    block: Annotated[int, Field(ge=16, multiple_of=16)]
    """Bytes of the capture in one block."""
    key_id: str
    pin: str
    salt: str
    wrapped: str
    iv: str
    sent: dict[str, Any] | None = None
    """What stands in the entry, once the item was completed."""

    @property
    def text(self) -> str:
        """For `Sending.remember`."""
        return self.model_dump_json(exclude_none=True)

    @property
    def envelope(self) -> Envelope:
        """How it is encrypted."""
        raw = (base64.b64decode(one) for one in (self.salt, self.wrapped, self.iv))
        fresh, wrapped, iv = raw
        return Envelope(fresh, self.key_id, self.pin, wrapped, iv)

    @classmethod
    def new(cls, evidence: str, began_at: datetime, block: int, envelope: Envelope) -> Self:
        """One that was just made."""
        salt, wrapped, iv = (base64.b64encode(one).decode() for one in (envelope.salt, envelope.wrapped, envelope.iv))
        return cls(
            evidence=evidence,
            began_at=began_at,
            block=block,
            key_id=envelope.key_id,
            pin=envelope.pin,
            salt=salt,
            wrapped=wrapped,
            iv=iv,
        )

    def given(self, **facts: Any) -> Self:  # noqa: ANN401 - its own fields
        """The same, and what was learned since."""
        return self.model_copy(update=facts)

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """What was remembered; None where nothing was, or nothing that this uplink wrote."""
        try:
            return cls.model_validate_json(text or "")
        except ValidationError:
            return None
