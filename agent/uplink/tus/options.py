"""What a person may write in an `[[uplink]]` table with `use = "tus"`."""

from __future__ import annotations

from agent.uplink.http.options import FLOOR, HttpOptions

__all__ = ["FLOOR", "TusOptions"]


class TusOptions(HttpOptions):
    """One DEMS that speaks tus 1.0.0; `url` is where uploads are created."""
