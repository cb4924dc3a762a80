"""Recorders of ONVIF Profile G: recordings found by search and taken by replay, never deleted.

soap     requests and answers by the published WSDLs      device   the recorder: clock, services, recordings
rtsp     messages and frames, login                       relay    ffmpeg's session made into a replay; times, gaps
driver   the loop: search, offer, wait; one replay is an offer
"""

from __future__ import annotations

from drivers.interview_room.onvif.driver import OnvifRecorder

__all__ = ["OnvifRecorder"]
