"""The command as another user: python -m tests.cli.another UID FOLDERS FIRST WORDS...

Modules are loaded before, and Python statements in FIRST done: that user may not read this folder. FOLDERS is the way
to the station, opened last: each other run of pytest closes the folder that all of them share.
"""

import encodings.ascii
import encodings.idna  # noqa: F401
import json
import os
import sys
import tempfile  # noqa: F401
import traceback  # noqa: F401

import rich._unicode_data  # noqa: F401

import agent.cli
import agent.cli.capture
import agent.cli.check
import agent.cli.folder
import agent.cli.status
import agent.daemon
import agent.registry
import agent.station.acts
import drivers.body_worn.usb_volume  # noqa: F401

if __name__ == "__main__":
    user, folders, first = sys.argv[1:4]
    exec(first)  # noqa: S102 - a test's own words
    for folder in json.loads(folders):
        os.chmod(folder, os.stat(folder).st_mode | 0o055)  # noqa: PTH101, PTH116, S103 - let others come as far
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    sys.argv[1:] = sys.argv[4:]
    agent.cli.main()
