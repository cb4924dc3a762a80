"""The `[[driver]]` table of `alpr.hotlist`: which lists there are, when they are too old, what becomes of reads."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.driver import DriverOptions
from agent.listening import ListenOptions, Network
from agent.mqtt import BrokerOptions
from agent.quantities import Duration, Length

__all__ = ["AlertOptions", "HotlistOptions", "ListOptions", "PushOptions"]

_NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_DAY = timedelta(days=1)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PushOptions(_Table):
    """Who may send one list to this station: `[driver.list.push]`."""

    auth: Literal["token", "basic", "digest", "certificate"] = "token"
    """How whoever sends shows who it is. What it sends is believed for its signature or digest alone."""
    secret_file: Path | None = None
    """One line: the token or password."""
    user: Annotated[str, Field(min_length=1, max_length=64)] = "lists"
    """For `basic` and `digest`."""
    common_name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """For `certificate`: a name in it; default: the list's."""
    networks: tuple[Network, ...] = ()
    """Where it may come from; empty: from anywhere."""

    @model_validator(mode="after")
    def _shows_something(self) -> Self:
        if (self.auth == "certificate") == (self.secret_file is not None):
            raise ValueError("`secret_file` goes with `auth` = token, basic or digest, and only with these")
        if self.secret_file is not None and not self.secret_file.is_absolute():
            raise ValueError("`secret_file` must be an absolute path")
        return self


class ListOptions(_Table):
    """One list: `[[driver.list]]`."""

    name: Annotated[str, Field(pattern=_NAME)]
    """As its manifest names it."""
    layout: str
    """How its file is laid out: a name of `layouts.toml`, or of a file of yours."""
    proof: Literal["signature", "digest", "none"] = "signature"
    """What a file needs: a manifest signed by one of `keys`; a file `NAME.sha256` beside it; nothing, for trying."""
    keys: tuple[Path, ...] = ()
    """PEM public keys (Ed25519 or P-256) of those who may sign its manifest."""
    folder: Path | None = None
    """Where somebody puts the file and its manifest (`NAME` and `NAME.jws`). It is deleted there once it is in use."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/[^\s]*)?$")] | None = None
    """Where it is fetched. Plain HTTP is for this machine alone."""
    manifest_url: str | None = None
    """Where its manifest is fetched; default: `url` with `.jws` (or `.sha256`) at its end."""
    push: PushOptions | None = None
    """Who may send it here, over HTTPS: `[driver.list.push]`. Needs the driver's `listen`."""
    broker: BrokerOptions | None = None
    """Where a newer one is announced: `[driver.list.broker]`. A message there is no more than a reason to look now."""
    topic: Annotated[str, Field(pattern=r"^[^\x00]{1,255}$")] = "hotlists/#"
    """What is listened to there."""
    every: Annotated[Duration, Field(ge=timedelta(seconds=1), le=_DAY)] = timedelta(minutes=15)
    """Time between two looks at `url`."""
    ca_file: Path | None = None
    """PEM authorities that the server's certificate is checked against; default: the system's."""
    client_file: Path | None = None
    """PEM certificate and key that the server is shown."""
    token_file: Path | None = None
    """File with a bearer token for the server."""
    largest: Annotated[Length, Field(ge=1)] = 2 << 30
    """Bytes of a file; a larger one is not taken."""
    may_shrink: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Part of its plates by which it may become shorter without a person confirming it."""
    may_grow: Annotated[float, Field(ge=1, le=1000)] = 10.0
    """How many times as long it may become."""
    warn_after: Duration = timedelta(hours=12)
    """Age from which every hit says that the list ages, and a notice asks for a newer one."""
    stale_after: Duration = timedelta(hours=24)
    """Age from which every hit is marked as degraded."""
    when_stale: Literal["match", "stop"] = "match"
    """Whether a stale list is still searched. An expired one (`expires_at` of its manifest) never is,
    by the station's clock, whether or not that is kept right."""
    urgent: tuple[str, ...] = ()
    """Categories whose hits come first."""

    @model_validator(mode="after")
    def _can_be_proven(self) -> Self:
        if self.proof == "signature" and not self.keys:
            raise ValueError('`proof = "signature"` needs `keys`')
        if self.broker is not None and self.url is None:
            raise ValueError("`broker` announces what is fetched: it needs `url`")
        if self.warn_after > self.stale_after:
            raise ValueError("`warn_after` is later than `stale_after`")
        if self.url is not None and self.url.startswith("http:") and not _is_here(self.url):
            raise ValueError("`url` without TLS is for this machine alone")
        return self


class AlertOptions(_Table):
    """Who is told of a hit on this machine: `[[driver.alert]]`. None of them can delay anything."""

    kind: Literal["command", "sound", "desktop", "mqtt"]
    command: tuple[str, ...] = ()
    """Program and arguments; the hit comes as JSON on its standard input, and never as an argument."""
    sound: Path | None = None
    """File that is played."""
    player: tuple[str, ...] = ("aplay", "-q")
    """What plays it."""
    bus: str | None = None
    """D-Bus address of the desktop's session; default: that of this process."""
    broker: BrokerOptions | None = None
    """Where it is published: `[driver.alert.broker]`."""
    topic: Annotated[str, Field(pattern=r"^[^#+\x00]{1,255}$")] = "evidock/hit"
    """Under which name; nothing of a hit is in it."""
    plate: bool = True
    """Whether the plate is told, beside camera, list and rule."""
    within: Annotated[Duration, Field(ge=timedelta(seconds=0.1), le=timedelta(minutes=5))] = timedelta(seconds=10)
    """Time after which it is ended."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind == "command" and not self.command:
            raise ValueError("`command` is missing")
        if self.kind == "sound" and self.sound is None:
            raise ValueError("`sound` is missing")
        if self.kind == "mqtt" and self.broker is None:
            raise ValueError("`broker` is missing")
        return self


class HotlistOptions(DriverOptions):
    """The whole table."""

    folder: Path
    """Where indexes, and reads that the law lets you keep, lie: a folder of its own, such as
    `/var/lib/evidock/hotlists`."""
    list: Annotated[tuple[ListOptions, ...], Field(min_length=1, max_length=64)]
    listen: ListenOptions | None = None
    """Where lists are sent to: `[driver.listen]`. Without TLS it is for this machine alone."""
    reached_at: str | None = None
    """Name or address under which it is reached, for `evidock device enrol`; default: `listen.address`."""
    layouts: tuple[Path, ...] = ()
    """Files with layouts of your own."""
    max_confusable: Annotated[int, Field(ge=0, le=2)] = 1
    """Characters that may differ as cameras confuse them."""
    unsure_below: Annotated[float, Field(ge=0, le=1)] = 0.7
    """A character that the camera gives less than this may be any; 0 turns that off."""
    policy: Annotated[str, Field(max_length=64)] = "unnamed"
    """Name of the agency's policy that these settings follow; it stands in every count."""
    keep_non_hits: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=30))] = timedelta(0)
    """Time for which reads that are no hits are kept, sealed. None: they are never stored."""
    keep_window: Annotated[Duration, Field(ge=timedelta(minutes=1), le=_DAY)] = timedelta(hours=1)
    """Reads of this span share a key, which is destroyed as a whole."""
    alert: Annotated[tuple[AlertOptions, ...], Field(max_length=8)] = ()
    on_screen: Literal["nothing", "hits", "pictures"] = "hits"
    """What the dock's screen shows of hits that nobody answered: nothing; category, rule, list and camera; or plates
    and pictures as well, to everybody who may look at it."""
    quiet: Annotated[Duration, Field(le=timedelta(hours=1))] = timedelta(seconds=60)
    """Time in which the same plate at the same camera alerts once. Every one of them is a hit all the same."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [one.name for one in self.list]
        if len(set(names)) != len(names):
            raise ValueError("two lists have one name")
        return self

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        sent = [one.push for one in self.list if one.push is not None]
        if (self.listen is None) == bool(sent):
            raise ValueError("`listen` and the `push` of at least one list go together")
        if self.listen is not None and self.listen.plain and not self.listen.address.is_loopback:
            raise ValueError("`listen` without TLS is for this machine alone: give `certificate` and `key`")
        if self.listen is not None and self.listen.client_ca is None and any(one.auth == "certificate" for one in sent):
            raise ValueError('`auth = "certificate"` needs `listen.client_ca`')
        return self


def _is_here(url: str) -> bool:
    host = url.removeprefix("http://").partition("/")[0]
    return host.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") or host in ("localhost", "127.0.0.1", "[::1]")
