"""The driver for what comes over MQTT: ONVIF Profile M events, and messages that a mapping describes.

The broker is told that a message was handled when `take` returned for its reads. Where there is no room it stays with
the broker, which gives it again; for that the session outlives our absence, and the broker must keep what comes
meanwhile. A broker gives its messages in a row: one at which something else fails is tried again for a while, and then
steps aside, as bytes among the parts, so that it holds up no other.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, model_validator

from agent.driver import DriverOptions, Notice
from agent.errors import BadCapture, DeviceError, DeviceGone, SpoolDamaged, SpoolError
from agent.mqtt import BrokerOptions, Message, Session, Subscription, fits
from drivers.alpr.hearing import Hearing, is_fault
from drivers.alpr.makers import frigate, generic, onvif
from drivers.alpr.makers.mapping import Mapping  # noqa: TC001 - pydantic reads the annotation when the program runs
from drivers.alpr.options import SourceOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.driver import Intake
    from drivers.alpr.makers.heard import Heard

__all__ = ["Broker"]

PAUSES: Final = (0.2, 1.0, 5.0, 15.0, 30.0)
"""Seconds before a message is tried again: what holds up a screen or the spool for a moment is over then."""
_OURS: Final = 1.0
"""The longest of them for a fault in our own code, which waiting does not mend."""
_ROOM: Final = {"max_packet": 4 << 20, "in_hand": 8}
"""What is taken where the table does not say: pictures are embedded, and few at once fit into the memory of many."""
_TOLD: Final = 86_400.0
"""Seconds for which a person is told that a broker forgot."""
_SIGHT: Final = 5.0
_EVENT: Final = "onvif-ej/RuleEngine/Recognition/LicensePlate/#"
_TITLES: Final = {
    "onvif": ("ONVIF Profile M", "onvif_json"),
    "frigate": ("Frigate", "json_spans"),
    "generic": ("another maker", "templated"),
}


class PublisherOptions(SourceOptions):
    """One `[[driver.camera]]` table: a camera that publishes."""

    maker: Literal["onvif", "frigate", "generic"] = "onvif"
    prefix: Annotated[str, Field(pattern=r"^[^+#\x00]{1,200}$")] | None = None
    """The camera's `TopicPrefix`, for `onvif`; it may have slashes."""
    topic: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    """What to subscribe to, where that is not the prefix and ONVIF's own topic; `+` and `#` allowed."""
    mapping: Mapping | None = None
    """For `generic`: where in its message what stands."""

    @model_validator(mode="after")
    def _publishes(self) -> PublisherOptions:
        if (self.maker == "onvif") != (self.prefix is not None):
            raise ValueError('`prefix` goes with `maker = "onvif"`')
        if self.maker != "onvif" and self.topic is None:
            raise ValueError("say the `topic` of a camera that is none of ONVIF")
        if (self.maker == "generic") != (self.mapping is not None):
            raise ValueError('`mapping` goes with `maker = "generic"`')
        return self

    @property
    def filter(self) -> str:
        """What to subscribe to."""
        return self.topic or f"{self.prefix}/{_EVENT}"


class PublishersOptions(DriverOptions):
    """The `[[driver]]` table with `use = "alpr.mqtt"`."""

    broker: BrokerOptions
    camera: Annotated[tuple[PublisherOptions, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _cameras(self) -> PublishersOptions:
        if len({one.name for one in self.camera}) < len(self.camera):
            raise ValueError("two cameras have the same name")
        return self


class Broker:
    """Number plate cameras that publish over MQTT."""

    screened_by: Final = "alpr"
    """See `agent.driver.Screened`."""

    class Options(PublishersOptions):
        """See `PublishersOptions`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._patient = True
        self._hearings = {
            one.name: Hearing(
                options.name, one, _heard(one), title=_TITLES[one.maker][0], spec=_TITLES[one.maker][1], way="mqtt"
            )
            for one in options.camera
        }
        topics = dict.fromkeys(one.filter for one in options.camera)
        # What the broker kept from before is no read of now: every subscriber would be given it again and again.
        self._session = Session(
            options.broker.with_room(**_ROOM),
            name=options.name,
            topics=[Subscription(topic, retained=False) for topic in topics],
        )

    async def run(self, intake: Intake, /) -> None:
        """Listen, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._session.listen(partial(self._one, intake)))
            group.create_task(self._watch(intake))

    async def _watch(self, intake: Intake) -> None:
        while True:
            for hearing in self._hearings.values():
                if hearing.watch.present:
                    await intake.sight(hearing.device)
            await asyncio.sleep(min(_SIGHT, self._options.rescan))

    async def _one(self, intake: Intake, message: Message) -> None:
        """One message, until all of it is held, by a screen's word not to be kept, or set aside."""
        for camera in self._options.camera:
            if not fits(message.topic, camera.filter):
                continue
            hearing = self._hearings[camera.name]
            if message.retained:
                hearing.watch.count("retained")
                continue
            await self._until_done(intake, hearing, message)

    async def _until_done(self, intake: Intake, hearing: Hearing, message: Message) -> None:
        """Raises `SpoolError`, or `DeviceGone` where it cannot even be set aside: it stays with the broker."""
        for pause in (*PAUSES[: None if self._patient else 1], None):
            try:
                await hearing.hear(intake, message.payload, message.content_type or "", topic=message.topic)
            except SpoolDamaged:
                raise
            except SpoolError as error:
                hearing.not_kept(error)
                raise
            except DeviceError as error:
                if pause is None or isinstance(error, BadCapture) or (is_fault(error) and pause > _OURS):
                    await self._step_aside(intake, hearing, message, error)
                    return
                await asyncio.sleep(pause)
            else:
                self._patient = True
                return

    async def _step_aside(self, intake: Intake, hearing: Hearing, message: Message, error: DeviceError) -> None:
        """The broker may forget it then: its bytes are kept for a person, and what comes behind it goes on."""
        # Of a maker's message that fails each time there are many: the next one does not wait for as long.
        self._patient = isinstance(error, BadCapture)
        if await hearing.step_aside(intake, message.payload, error):
            return
        hearing.not_kept(error)
        # Whatever it is, the broker is to give it again; the error's own text is told to nobody.
        raise DeviceGone("a read could not be kept; the broker gives it again", hint=error.what_to_do) from None

    async def health(self) -> dict[str, str]:
        """See `agent.driver.ReportsHealth`. Counts, and nothing of any read."""
        told = {f"broker {self._options.broker.at}": self._session.trouble or "connected"}
        return told | {f"camera {name}": hearing.watch.told for name, hearing in self._hearings.items()}

    def notices(self) -> Sequence[Notice]:
        """See `agent.driver.RaisesNotices`."""
        told = [one for hearing in self._hearings.values() for one in hearing.watch.notices()]
        if self._session.trouble is not None:
            at = self._options.broker.at
            why, todo = self._session.trouble, self._session.todo or ""
            told.append(Notice("alpr.broker", "problem", f"broker {at}", why, todo))
        forgot = self._session.forgot_at
        if forgot is not None and monotonic() - forgot < _TOLD:
            at = self._options.broker.at
            why = f"When we came back to {at}, it had kept nothing for us: what cameras published meanwhile is lost."
            told.append(Notice("alpr.broker_forgot", "warning", f"broker {at}", why, self._session.forgot_todo))
        return told


def _heard(camera: PublisherOptions) -> Callable[[bytes, str, str], Heard]:
    """What a camera's message says, by its bytes, its type, and the name that is told where the message tells none."""
    mapping, prefix = camera.mapping, camera.prefix
    if mapping is not None:
        return partial(generic.heard, mapping)
    if prefix is not None:
        return lambda payload, content_type, _: onvif.heard(payload, content_type, prefix)
    return frigate.heard
