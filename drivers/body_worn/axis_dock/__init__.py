"""Axis body worn cameras: the system controller they dock in sends to us, over HTTPS, as to an OpenStack Swift store.

options        what an operator says               enrolling    what the controller is told: the connection file
tokens         who may come in                     destination  each request and its answer
shelf          what was said of each container     body         one object on its way in
offers         captures made of it                 dock         the driver: listen, notice recordings that never end

The controller forgets a clip at our 2xx, so that comes after `take` returned. What each refusal means to it:

    400   for ever: an administrator must fetch the recording by hand. Only for what nobody could store
    401   it authenticates again; 402 and 403 it takes as a matter for people: never sent for evidence
    404   it must make the container first
    422   the bytes are not those of its own Etag: it sends them again
    500   something else: it tries later
    503   busy (too many uploads at once, or this station cannot keep anything right now): it tries again soon
    507   no room above the spool's watermark: it tries again when there is
    and a connection closed without an answer: it tries again

An unknown user or camera is no reason to refuse evidence: it is taken, and marked.
"""

from __future__ import annotations

from drivers.body_worn.axis_dock.dock import AxisDock

__all__ = ["AxisDock"]
