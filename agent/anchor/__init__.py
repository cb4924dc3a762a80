"""The log's head leaves the station: signed in batches, cosigned by witnesses, stamped by a time stamping authority.

    keys       the private key of the log, made at the first start
    trust      whose words count, read from agent.toml
    link       one witness, asked over HTTP
    stamping   one time stamping authority, asked over HTTP
    telling    what is shown of it
    room       when each of this happens, and what is kept of it

Order, and what a crash between two steps leaves:

    leaves committed -> checkpoint signed -> checkpoint committed -> sent to the witnesses -> cosignature committed
    -> an entry that quotes it

before the checkpoint is committed: a signature that nobody saw; the next start signs again. After it: the same
checkpoint is sent again; a witness that had answered says 409 with its size, and the next proof begins there. So the
tree here is always at, or beyond, everything that was ever signed, and a witness that knows more has met another copy
of us.
"""

from agent.anchor.room import Anchor
from agent.anchor.trust import trust_of, witness_asked

__all__ = ["Anchor", "trust_of", "witness_asked"]
