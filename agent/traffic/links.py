"""What kind of network the station is on: the word that rules, budgets and rates are written for."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["LinkClass"]


class LinkClass(StrEnum):
    """The way out that the machine uses now."""

    WIRED = "wired"
    STATION_WIFI = "station_wifi"
    """A wireless network that `traffic.station_wifi` names."""
    OTHER_WIFI = "other_wifi"
    LTE = "lte"
    """Mobile radio of any generation."""
    METERED = "metered"
    """Wired or wireless, and paid by the byte."""
    UNKNOWN = "unknown"
    OFFLINE = "offline"
    """There is no network. Nothing is tried."""
