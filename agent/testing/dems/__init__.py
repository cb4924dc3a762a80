"""An emulated DEMS: a tus 1.0.0 server with checksums and signed receipts, stricter than a real one.

It is the same server by hand (`evidock dems serve`), in the demo and in tests, also in those of other uplinks.
`docs/dems.md` describes what it speaks byte for byte.

    async with EmulatedDems(folder) as dems:          # in this process
        await dems.add_fault("PATCH:2:cut@1048576")
        ...                                           # an uplink sends to dems.url
        assert await dems.violations() == []

    async with DemsProcess(folder, tls=True) as dems: # a process of its own, on a port that stays
        dems.kill()                                   # SIGKILL
        await dems.restart()
"""

from agent.testing.dems.core import Entry
from agent.testing.dems.emulator import EmulatedDems, make_app
from agent.testing.dems.options import DemsOptions
from agent.testing.dems.process import DemsProcess, serve
from agent.testing.dems.uploads import Violation

__all__ = ["DemsOptions", "DemsProcess", "EmulatedDems", "Entry", "Violation", "make_app", "serve"]
