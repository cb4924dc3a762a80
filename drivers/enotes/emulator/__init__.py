"""A tablet with an electronic notebook, small and of another hand than the station's: its own canonical JSON and JWS.

notebook    what an officer writes: entries, signed and chained
tablet      enrols, sends, resumes, rotates; and goes wrong

It imports nothing of `firmware_specs` and nothing of the driver: PyPI jcs and jwcrypto do what rfc8785 and our own
signatures do at the station, so each finds errors in the other.
"""

from __future__ import annotations

from drivers.enotes.emulator.notebook import Notebook
from drivers.enotes.emulator.tablet import Tablet

__all__ = ["Notebook", "Tablet"]
