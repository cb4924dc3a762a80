"""What happens with what the controller sends: bytes to the agent's hand, words to the shelf, an end to a recording."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from agent.capture import Json, Observation, printable, rfc3339
from agent.driver import Recalls
from agent.errors import DeviceRefused
from drivers.body_worn.axis_dock.offers import Arrival, camera, described, object_capture
from drivers.body_worn.axis_dock.shelf import Container, Thing
from firmware_specs import SpecError
from firmware_specs.formats.axis_body_worn import FIXED, REJECTED, TRAIL_MAX, Kind, kind_of, moment, trail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent.capture import Capture, Device
    from agent.driver import Intake
    from drivers.body_worn.axis_dock.body import Body
    from drivers.body_worn.axis_dock.shelf import Shelf

__all__ = ["REMEMBER", "OtherBytes", "Receiving"]

ABANDONED: Final = "recording.abandoned"
REFUSED: Final = "recording.rejected_elsewhere"

REMEMBER: Final = TRAIL_MAX + 1
"""Bytes of a location trail that are looked at; one byte more than is read, so that a longer one is seen to be so."""


class OtherBytes(DeviceRefused):
    """Other bytes of the same length came under the name of what is held: they are asked for again, and kept too."""

    hint = "Nothing to do: the controller sends it again, and both are kept."


class Receiving:
    """One destination: who it is for the agent, and what it does with each thing that is said."""

    def __init__(self, name: str, shelf: Shelf, intake: Intake, *, encrypted: bool) -> None:
        self.name, self.shelf = name, shelf
        self._intake, self._encrypted = intake, encrypted
        self._locks: dict[str, tuple[asyncio.Lock, list[None]]] = {}
        self._log = structlog.get_logger("driver").bind(driver=name)
        self.under_way: dict[int, Device] = {}
        """Whose objects arrive right now."""

    @asynccontextmanager
    async def alone(self, container: str) -> AsyncIterator[None]:
        """One at a time says something of a container."""
        lock, users = self._locks.setdefault(container, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._locks[container]

    # -- words ---------------------------------------------------------------------------------------------------------

    async def begin(self, name: str, meta: dict[str, str]) -> None:
        """A container is made; from now on its camera is the one that is told here."""
        device = camera(self.name, name, meta)
        container = Container(name, device.id, meta)
        await self._intake.sight(device)
        await self.shelf.put_container(container)
        if name.startswith(REJECTED):
            await self._observe(container, REFUSED, moment(meta.get("Rejectedcontenttime")))

    async def say(self, container: Container, meta: dict[str, str], *, complete: bool = False) -> None:
        """Something new is told of a container; `complete` says that it has all of its objects."""
        container.meta = meta
        device = camera(self.name, container.name, meta, known_as=container.device)
        await self._intake.sight(device)
        if container.state == "abandoned":
            container.state = "open"
        await self.shelf.put_container(container)
        if complete or container.state != "open":
            await self._describe(container, device, "complete")

    async def rename(self, container: Container, thing: Thing) -> None:
        """What is told of an object is replaced."""
        await self.shelf.put_thing(thing)
        await self._late(container, thing)

    async def abandon(self, name: str, seconds: float) -> None:
        """Nothing came for it for so long: what there is is described, and a person is told.

        For `alone`: what came for it since it was listed as silent counts, and then nothing is done.
        """
        silent = await self.shelf.silent(seconds, name)
        if not silent:
            return
        container = silent[0]
        device = camera(self.name, container.name, container.meta, known_as=container.device)
        await self._intake.sight(device)
        rejected = container.name.startswith(REJECTED)  # it has no Status: silence is its only end
        await self._describe(container, device, "complete" if rejected else "abandoned")
        if not rejected:
            self._log.warning(
                "recording_abandoned",
                recording=printable(container.name),
                todo="What came is held. Look in AXIS Body Worn Manager what became of the rest.",
            )
            await self._observe(container, ABANDONED, None)

    async def _late(self, container: Container, thing: Thing) -> None:
        """Describe again what was described before, now that more is known."""
        if container.name in FIXED:
            async with self.alone(f"{container.name}/"):
                if (now := await self.shelf.container(container.name)) is not None:
                    device = camera(self.name, now.name, now.meta, known_as=now.device)
                    await self._describe(now, device, now.state, subject=thing.name)
            return
        now = await self.shelf.container(container.name)
        if now is not None and now.state != "open":
            await self._describe(now, camera(self.name, now.name, now.meta, known_as=now.device), now.state)

    async def _describe(self, container: Container, device: Device, state: str, *, subject: str | None = None) -> None:
        if subject is None:
            things = [thing for thing in await self.shelf.things(container.name) if thing.held]
        else:
            found = await self.shelf.newest(container.name, subject)
            things = [] if found is None else [found]
        await self._intake.take(described(device, container, things, state=state, subject=subject))
        container.state, container.told = state, container.told + 1
        await self.shelf.put_container(container)

    async def _observe(self, container: Container, kind: str, at: datetime | None) -> None:
        detail: dict[str, Json] = {
            "container": container.name,
            "reason": container.meta.get("Rejectedcontentreason"),
            "recording": container.meta.get("Rejectedcontentoriginalcontainer"),
        }
        told = {key: value for key, value in detail.items() if value is not None}
        await self._intake.observe(Observation(container.device, kind, at or datetime.now(UTC), told))

    # -- bytes ---------------------------------------------------------------------------------------------------------

    async def receive(self, container: Container, thing: Thing, body: Body) -> None:
        """Return when the object is safe: held now, or held before and the same."""
        if container.name in FIXED and body.stated == 0:
            await self.rename(container, thing)
            return
        device = camera(self.name, container.name, container.meta, known_as=container.device)
        self.under_way[id(body)] = device
        try:
            await self._intake.sight(device)
            await self._take(container, thing, body)
        finally:
            del self.under_way[id(body)]
        await self._late(container, thing)

    async def _take(self, container: Container, thing: Thing, body: Body) -> None:
        known = await self._known(container)

        def said(version: int) -> Capture:
            told = replace(thing, version=version)
            device = self.under_way[id(body)]
            return object_capture(device, container, told, length=body.stated, encrypted=self._encrypted, known=known)

        async def arrived() -> None:
            # Before the hand keeps it: after a crash right here, what is sent again can be compared.
            thing.length, thing.sha256, thing.md5 = body.length, body.sha256, body.md5
            await self.shelf.put_thing(thing)

        thing.version = _next(await self._versions(thing, said), body.stated)
        await self._intake.take(Arrival(said(thing.version), body, arrived))
        if not body.begun:
            # It was held before, if this is it. Looked at anew: another sending of it may have been held meanwhile.
            await body.skip()
            thing.version = await self._same(await self._versions(thing, said), thing, body)
        thing.length, thing.sha256, thing.md5 = body.length, body.sha256, body.md5
        thing.held, thing.note = True, self._note(thing, body)
        await self.shelf.put_thing(thing)

    async def _versions(self, thing: Thing, said: Callable[[int], Capture]) -> list[Thing]:
        """What was held under this name, the newest last. A shelf that was lost asks the agent what it was given."""
        found = await self.shelf.versions(thing.container, thing.name)
        if found or not isinstance(self._intake, Recalls):
            return found
        while given := await self._intake.recall(said(len(found) + 1).origin):
            sha256, length = given[0].sha256.hex(), given[0].length
            found.append(Thing(thing.container, thing.name, len(found) + 1, length, sha256, held=True))
        for one in found:
            await self.shelf.put_thing(one)
        return found

    async def _same(self, versions: list[Thing], thing: Thing, body: Body) -> int:
        """The version that has these bytes. Raises `OtherBytes` where none has: they are read, and needed again."""
        for one in versions:
            if one.sha256 == body.sha256:
                return one.version
        if not versions:  # an intake that recalls nothing: whoever says that it has it, has it
            return thing.version
        versions[-1].other = True
        await self.shelf.put_thing(versions[-1])
        what = f"{thing.container}/{thing.name}"
        raise OtherBytes(f"{what} is held, and what came now is something else of the same length")

    def _note(self, thing: Thing, body: Body) -> dict[str, Any]:
        """What can be read of a location trail; one that cannot be read is held like any other object."""
        if kind_of(thing.name)[0] is not Kind.TRAIL:
            return {}
        if self._encrypted:
            return {"track": {"unread": "encrypted"}}
        try:
            points = trail(bytes(body.remembered))
        except SpecError as error:
            return {"track": {"unread": str(error)[:200]}}
        times = sorted(point.at for point in points if point.at is not None)
        span = {"first_at": rfc3339(times[0]), "last_at": rfc3339(times[-1])} if times else {}
        return {"track": {"points": len(points), **span}}

    async def _known(self, container: Container) -> dict[str, Json]:
        """What the controller told of the officer and the camera. Unknown ones are no reason to refuse anything."""
        told: dict[str, Json] = {}
        for word, place, identity in (
            ("officer", "Users", container.meta.get("Userid")),
            ("camera", "Devices", container.meta.get("Bwcserialnumber")),
        ):
            if container.name in FIXED:
                continue
            found = await self.shelf.newest(place, identity) if identity else None
            told[word] = {
                "id": identity,
                "known": found is not None,
                **({} if found is None else {key.lower(): value for key, value in found.meta.items()}),
            }
        return told


def _next(versions: list[Thing], stated: int | None) -> int:
    """The version that is offered: one that it may be, by its length, or the next one."""
    fits = [one.version for one in versions if stated in (None, one.length)]
    if not versions or (fits and not versions[-1].other):
        return fits[-1] if fits else 1
    return versions[-1].version + 1
