"""Electronic notebooks: tablets send signed notes over HTTPS, and are answered when the notes are held.

options, tablets    what an operator says; the driver         entrance       each request and its answer
judging             one envelope by itself                    receiving      an upload: judged, taken, noted, receipted
notebooks           the chains, from the index                reconsidering  keys changed: judged again
attachments         tus, and `arriving`: one upload           awaiting       files that entries name
offers              captures made of it all
register            whose key is whose                        signatures     ES256 and Ed25519
authority           certificates of station and tablets       inviting       one-time codes, on a page with a QR code
statements          what tablets say of keys                  enrolling      tablets are taken in, or change keys
shelf               the small database behind it              orders         what a person says to it all
standing            what a person should look at              reading        a notebook, looked through once more
rendering           a notebook for a reader                   cli            `evidock enotes`

The format itself is `firmware_specs.formats.enote`. A note is never changed: a correction strikes through, and what is
wrong with an envelope is a flag beside it. The only way in which an envelope is refused is that nothing was promised.
"""

from __future__ import annotations

from drivers.enotes.tablets import EnoteTablets

__all__ = ["EnoteTablets"]
