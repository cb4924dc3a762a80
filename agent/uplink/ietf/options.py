"""What a person may write in an `[[uplink]]` table with `use = "ietf"`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from agent.uplink.http import HttpOptions

__all__ = ["IetfOptions"]


class IetfOptions(HttpOptions):
    """One DEMS that speaks Resumable Uploads for HTTP; `url` is the resource to which captures are uploaded."""

    interop: Annotated[int, Field(ge=6, le=99)] = 9
    """The draft's interop version that the DEMS implements (9: draft -12). What is sent is the same from 6 (-04) on, as
    uploads are created without bytes: only the number differs."""
    method: Literal["POST", "PUT"] = "POST"
    """The method with which the DEMS wants captures."""
    without: Literal["wait", "send"] = "wait"
    """Where the DEMS does not offer resumption: `wait` says so and leaves captures here; `send` brings each in one
    conventional PUT below `url`, named by its id. After a cut that begins at the first byte again."""
