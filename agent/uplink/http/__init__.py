"""What ways out over HTTP share: sessions, TLS, proxies, pins, stalls, bodies from the spool, errors, receipts, checks.

An uplink of your own is one class and one entry point of the group `evidock.uplinks`; this page is all that it needs
beside `agent.uplink`. The protocol is yours; what goes wrong on the way to any server was dealt with here:

    class MyUplink(HttpUplink[Door]):
        Options = HttpOptions                       # `url`, certificates, proxy, token, part_length, stall, ...

        def __init__(self, options):
            super().__init__(options, Door(options))

        async def carried(self, trip):              # one capture, from wherever an earlier try stopped
            ...
            await trip.sending.turn(end - offset)   # before each request that brings bytes
            answer = await trip.bring("PUT", url, headers, offset, end)
            ...
            return Receipt(...)

        async def greeted(self):                    # for `evidock check`: one round trip, and what the server can do
            ...

`Door.ask` sends a request without bytes of a capture; `Door.resolved` says where a `Location` points, and refuses a
stranger's origin. `trip.part` says how long a request should be on this link, and is told what came home (`kept`), what
did not (`lost`) and what a proxy refuses (`refused`). `trip.confirm` takes down how much the server has, `trip.doubt`
waits and tries again after something unclear, until nothing is gained that way; `trip.surprised` ends it with a
sentence. `trip.proofs` states SHA-256 of parts, from the journal where it knows it. `ours` compares what a server tells
of an upload with the capture; `receipt_of` waits for a signed receipt, or takes the digest that was told.

A protocol whose answers bear a sign of their own says so in a `Door` of its own (`spoken`), for proxies and login pages
say 200 as well. `tests/conformance/shelf.py` is such an uplink, whole, in the tests' suite for all uplinks.
"""

from agent.uplink.http.answer import RECEIPT, Answer, note_in, number, repr_digest, retry_after
from agent.uplink.http.claims import metadata, named_in
from agent.uplink.http.door import Door
from agent.uplink.http.expiry import renew_at
from agent.uplink.http.options import FLOOR, HttpOptions
from agent.uplink.http.ours import ours, remembered
from agent.uplink.http.proofs import Proof, Proofs, journaled
from agent.uplink.http.receipts import receipt_of
from agent.uplink.http.stretches import STRETCHES
from agent.uplink.http.trip import Place, Trip
from agent.uplink.http.trouble import Cut, said
from agent.uplink.http.uplink import HttpUplink
from agent.uplink.http.wrong import wrong

__all__ = [
    "FLOOR",
    "RECEIPT",
    "STRETCHES",
    "Answer",
    "Cut",
    "Door",
    "HttpOptions",
    "HttpUplink",
    "Place",
    "Proof",
    "Proofs",
    "Trip",
    "journaled",
    "metadata",
    "named_in",
    "note_in",
    "number",
    "ours",
    "receipt_of",
    "remembered",
    "renew_at",
    "repr_digest",
    "retry_after",
    "said",
    "wrong",
]
