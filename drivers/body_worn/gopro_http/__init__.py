"""GoPro cameras by the Open GoPro HTTP interface, over Wi-Fi or USB: listed, fetched, never deleted from.

driver      the loop: who it is, whether it is busy, what it lists; it is kept awake meanwhile
emulator    a camera on loopback
"""

from __future__ import annotations

from drivers.body_worn.gopro_http.driver import GoProHttp

__all__ = ["GoProHttp"]
