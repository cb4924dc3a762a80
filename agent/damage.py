"""A kept file that seems to be another one is read, and set aside where it is no longer what its name says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.capture import Holding
    from agent.journal import Desk
    from agent.spool import Spool

__all__ = ["looked_at"]


async def looked_at(desk: Desk, spool: Spool, holding: Holding) -> bool:
    """Read it. If it is something else it is set aside, and the capture is taken again if its device offers it.

    Whether it is damaged.
    """
    sha256, length = holding.digest.sha256, holding.digest.length
    if await spool.run(spool.length, sha256) is not None:
        if await spool.run(spool.sha256_now, sha256) == sha256:
            return False
        part = await spool.run(spool.set_kept_aside, sha256)
        reason = f"it lay in the spool as {sha256.hex()} of {length} bytes and is that no longer"
        await desk.write(
            lambda journal: journal.quarantine_part(part.digest, reason, origin=holding.origin.token, about={})
        )
    # Once: a destination that is still owed it asks for it again and again, and each entry stays for ever.
    await desk.write(lambda journal: journal.lose(holding.id) if journal.get(holding.id).spooled else None)
    return True
