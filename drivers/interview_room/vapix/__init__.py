"""Axis cameras and recorders with recordings on their own storage: listed and exported by VAPIX, never deleted.

camera   asked with HTTP Digest, bounded, failures as ours       slices   what of a recording is one capture
driver   the loop: list, offer, wait; one export is an offer
"""

from __future__ import annotations

from drivers.interview_room.vapix.driver import Vapix

__all__ = ["Vapix"]
