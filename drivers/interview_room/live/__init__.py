"""A room whose cameras this station records itself, by RTSP: held segment by segment while the interview goes on.

driver        starts and stops, has segments held           stream      one camera: lost, asked for again, gaps
interview     what is on the disk before anybody is told     ffmpeg      the one connection: copied, never encoded
segment       what is held                                  buttons     HTTP, a broker, an input; schedule: hours
"""

from __future__ import annotations

from drivers.interview_room.live.driver import LiveRoom

__all__ = ["LiveRoom"]
