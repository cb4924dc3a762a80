"""The command as another user: python -m tests.cli.another UID FIRST WORDS...

Modules are loaded before, and Python statements in FIRST done: that user may not read this folder.
"""

import encodings.ascii
import encodings.idna  # noqa: F401
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
    user, first = sys.argv[1:3]
    exec(first)  # noqa: S102 - a test's own words
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    sys.argv[1:] = sys.argv[3:]
    agent.cli.main()
