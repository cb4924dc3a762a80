"""A folder that a recorder puts recordings into: a share that is mounted, or an area that others upload into.

share, hands      is the folder there, is it the same one; nothing that hangs holds up anybody
looking           every file, by folder descriptors            watching      what the kernel tells of writers
settling          which recordings are complete, and why not   names         what a file's name says
sidecars, reading what side-cars say of the recordings         film          one recording: read, compared, deleted
lease             which of several stations takes              driver        the loop: look, settle, offer, wait
"""

from __future__ import annotations

from drivers.interview_room.drop_folder.driver import DropFolder

__all__ = ["DropFolder"]
