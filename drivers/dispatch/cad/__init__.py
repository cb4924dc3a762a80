"""CAD: which unit was on which incident, from when until when, as dispatch tells it; observations, no captures.

It posts, publishes or drops what it knows, as often as it likes: the journal takes up what is new, and what is said
again and says the same costs nothing. A later word of the same `id` takes the place of the earlier one, which stays.

Answers of `POST /incidents`: 200 where every row was taken, and is in the journal; 422 where some were not, with the
reasons, and the others were; 400 where it is no document; 401, 413. It may send anything again at any time.
"""

from __future__ import annotations

from drivers.dispatch.cad.driver import Cad

__all__ = ["Cad"]
