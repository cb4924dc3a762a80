"""What a person may write in an `[[uplink]]` table with `use = "tus"`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agent.capture import PART_LENGTH
from agent.uplink.http.options import FLOOR, HttpOptions

__all__ = ["FLOOR", "TusOptions"]


class TusOptions(HttpOptions):
    """One DEMS that speaks tus 1.0.0; `url` is where uploads are created."""

    with_creation: Annotated[int, Field(ge=0, le=PART_LENGTH)] = FLOOR
    """Bytes up to which a capture goes with the request that creates its upload, to a DEMS that takes that and signs
    nothing: if the answer is lost such a one may keep a second copy. 0: never. One that signs keeps none."""
