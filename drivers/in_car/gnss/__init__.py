"""Where the car is, and when: from a receiver on a serial line, or from gpsd. Positions are observations.

receiver      the serial line: its speed, its sentences and frames        daemon    the same from gpsd
fix           what is told at one moment becomes one fix                  timing    whether its time is believed
telling       fixes become observations
"""

from __future__ import annotations

from drivers.in_car.gnss.daemon import Gpsd
from drivers.in_car.gnss.receiver import GnssSerial

__all__ = ["GnssSerial", "Gpsd"]
