"""Device -> spool -> journal: a capture is copied and hashed in one pass, forced to the disk, and then promised.

If power fails here: before the file has its final name, the stage file is continued (or set aside) and the device
still has the capture; between the name and the journal, the same bytes land on the same name when it is offered
again; after the journal's commit it is held.
"""

from agent.ingest.copying import Arrival
from agent.ingest.hand import SMALL, Ingest
from agent.ingest.screening import Screening, no_drill

__all__ = ["SMALL", "Arrival", "Ingest", "Screening", "no_drill"]
