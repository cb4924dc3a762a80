"""A dispatch system and a call-taking position, as the other side of these drivers: for tests and by hand.

python -m drivers.dispatch.emulator cad URL TOKEN            a unit goes from incident to incident, every few seconds
python -m drivers.dispatch.emulator position FOLDER          drops an EIDO document for each call

Faults stand in a string, one letter for each document: `.` none, `t` told twice, `b` a broken row beside it, `c` the
body is cut, `l` held back and sent with the next one; for a position `s` written slowly, `r` rewritten a moment later.
"""

from drivers.dispatch.emulator.dispatch import Dispatch
from drivers.dispatch.emulator.position import Position

__all__ = ["Dispatch", "Position"]
