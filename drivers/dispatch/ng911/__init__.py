"""NG9-1-1: documents that a call-taking position drops or posts: EIDO, PIDF-LO, LoST queries, log events, SIP headers.

Each document is a capture of its own, its bytes kept as they are, also where nothing can be read of it. Identifiers of
incident and calls stand in its claims, so that it is found by them, and beside the recordings of the units that went.
What it says is an observation too, told once, when it is taken. References by URL are noted and never followed.

Answers of `POST /documents`: 201 when the document is held; 507 without room, 503 when nothing can be kept: send it
again; 400 for an empty body, 401, 413. The same document again is the same capture.
"""

from __future__ import annotations

from drivers.dispatch.ng911.driver import Ng911

__all__ = ["Ng911"]
