"""In a machine: cuts of a recorded disk examined where nobody may mount images outside.

    python -m tests.faults.guest.replay FILE_SYSTEM ENTRY:SHARE...

/mnt/out is the folder of the record.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.faults.examining import quiet
from tests.faults.replaying import Cut, Recorded, replay


def main() -> None:
    """Examine them, and tell what is wrong."""
    quiet()
    cuts = [Cut(int(entry), float(share)) for entry, _, share in (one.partition(":") for one in sys.argv[2:])]
    for wrong in replay(Recorded(Path("/mnt/out"), sys.argv[1]), cuts):
        print("WRONG", json.dumps([wrong.cut.entry, wrong.cut.share, wrong.sentences]), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
