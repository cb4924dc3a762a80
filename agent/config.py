"""agent.toml -> frozen values; every problem of the file at once, each with its place.

Nothing secret stands in the file: keys and tokens are named by path. A missing retention setting means "keep".
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, ValidationError, model_validator

from agent.context import ContextOptions
from agent.errors import ConfigError, Problem, in_words
from agent.meant import meant
from agent.mqtt.options import StationOptions
from agent.quantities import Duration, Length, TimeOfDay
from agent.traffic import Traffic
from firmware_specs.devices.versions import Range

if TYPE_CHECKING:
    from agent.capture import Device

__all__ = [
    "Config",
    "Custody",
    "Duration",
    "Identity",
    "Length",
    "Policy",
    "PowerConfig",
    "SpoolConfig",
    "Station",
    "StatusConfig",
    "WitnessConfig",
    "load",
    "parse",
    "problems_of",
]

_NAME = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
_DOMAIN = r"^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Station(_Table):
    """Which station this is, and where its state lies."""

    name: Annotated[str, Field(pattern=_NAME)]
    """Such as `dock-0042`; part of the custody log's name, so it is chosen once."""
    agency: Annotated[str, Field(pattern=_DOMAIN)]
    """The agency's domain, such as `example.org`."""
    state: Path = Path("/var/lib/evidock")
    """Folder of spool, journal and keys."""
    socket: Path | None = None
    """Where the command line reaches the daemon; default: `control.sock` in the state folder."""
    epoch: Annotated[int, Field(ge=1)] = 1
    """Grows by one when a journal was lost: an origin is never used again."""

    @property
    def log(self) -> str:
        """Origin of the custody log (c2sp.org/tlog-checkpoint)."""
        return f"edge.{self.agency}/{self.name}/log{self.epoch}"

    @property
    def control(self) -> Path:
        """The Unix socket of the daemon."""
        return self.socket or self.state / "control.sock"


class SpoolConfig(_Table):
    """Our disk."""

    watermark: Length = 2 << 30
    """Room that is always left free: for the journal, the logs and the rest of the machine."""
    read_back: bool = True
    """Read each capture back from the disk, past the page cache, before it is promised."""


class Policy(_Table):
    """When a device, and later the spool, may forget. A new installation never lets a device forget."""

    device: Literal["keep", "release"] = "keep"
    """`release`: captures are deleted on their device once the DEMS has proven that it holds them."""
    receipt: Literal["signed", "digest"] = "signed"
    """The least that a receipt must prove before device or spool may forget."""
    receipts_from: tuple[str, ...] = ()
    """Names of the destinations that must all have proven that they hold a capture before device or spool may forget
    it. Empty: the one whose receipt came first suffices."""
    witness: Literal["required", "configured", "none"] = "configured"
    """Whether the entry `held` must lie under a checkpoint that the witnesses' quorum cosigned before device or spool
    may forget. `configured`: it must as soon as `[custody]` names a witness; `required`: without one nothing starts."""
    clocks: Literal["compare", "set"] = "compare"
    """`set`: the clock of a docked device is set to ours, where its driver can, ours is known to be right, and the two
    differ by more than `clocks_differ`. Both readings become entries, one before and one after."""
    clocks_differ: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(seconds=2)
    """What a device's clock may be off before it is set."""
    recordings: Literal["whole", "clips"] = "whole"
    """`whole`: a device forgets the captures of one recording only when every one of them is receipted. `clips`: each
    by itself."""
    grace: Duration = timedelta(0)
    """Time between the receipt and the release."""
    spool: Literal["keep", "released", "receipted"] = "keep"
    """`released`: bytes leave the spool when the device forgot them too, or, where it forgets by itself and cannot be
    asked, once the receipt suffices; `receipted`: once the receipt suffices."""
    spool_keep: Duration = timedelta(days=7)
    """Time between the receipt and the purge of the spool."""


_URL = r"^https?://[^\s/]+(/[^\s]*)?$"
_EST = r"^https://[^\s/@]+(/[^\s]*)?$"


class WitnessConfig(_Table):
    """Someone who remembers how large our log was, and cosigns only what begins with that."""

    vkey: str
    """The witness's key, as C2SP signed notes write it: name, key id and key, joined by plus signs."""
    url: Annotated[str, Field(pattern=_URL)]
    """Where it takes checkpoints: its submission prefix, to which `/add-checkpoint` is added."""


class Custody(_Table):
    """The custody log: its key, its witnesses and its time stamps. Everything may be left out."""

    log_key: Path | None = None
    """Private key of the log. Default: the systemd credential `log.key`, else `keys/log.key` in the state folder,
    which is made at the first start."""
    log_key_kind: Literal["ed25519", "p256"] = "ed25519"
    """Of what kind a new key of the log is: `p256` (ECDSA) where the station's validated module has no Ed25519."""
    trust: Path | None = None
    """Whom the program that deletes believes; a person writes it with `evidock custody trust --write`. Default:
    `releaser.json` beside agent.toml (`releaser-NAME.json` beside NAME.toml), where only root may write."""
    policy: Path | None = None
    """Policy file (c2sp.org/tlog-policy) as a note signed by one of `roots`: whose words count."""
    roots: tuple[str, ...] = ()
    """Keys of the agency that may sign the policy."""
    witness: tuple[WitnessConfig, ...] = ()
    """Where witnesses are asked. With a policy it decides who counts; without one, all of these must cosign."""
    ca_file: Path | None = None
    """PEM authorities that the certificates of witnesses and time stamping authority are checked against; default: the
    system's."""
    interval: Annotated[Duration, Field(le=timedelta(seconds=60))] = timedelta(seconds=1)
    """A checkpoint is at most this far behind the log, or 64 entries."""
    tsa_url: Annotated[str, Field(pattern=_URL)] | None = None
    """Time stamping authority (RFC 3161)."""
    tsa_ca_file: Path | None = None
    """PEM certificates that its tokens must lead to."""
    tsa_every: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(hours=1)
    """Time between two tokens, while the log grows."""
    tsa_at: tuple[TimeOfDay, ...] = ()
    """Times of day, by the station's own zone, at which a token is had beside those: the ends of the shifts."""
    tsa_when_empty: bool = True
    """Whether a token is had when the last device has left the dock, which often is the end of a shift."""


class Identity(_Table):
    """Where the agency's certificates come from; see `evidock identity`."""

    est_url: Annotated[str, Field(pattern=_EST)] | None = None
    """EST server (RFC 7030), such as `https://est.example.org`; a label of the authority follows as its path."""
    est_ca_file: Path | None = None
    """PEM authorities that its certificate is checked against; default: the system's."""
    est_login_file: Path | None = None
    """File with `user:password`, for the first certificate; afterwards the certificate itself is shown."""


class StatusConfig(_Table):
    """The status service, read only: the dock's screen, JSON, events, metrics. Without the table there is none.

    On loopback every user of this machine may look. Bound elsewhere it asks who looks, and never answers in the clear.
    """

    address: IPvAnyAddress = IPv4Address("127.0.0.1")
    """Where it listens."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8470
    token_file: Path | None = None
    """File with a token of 32 to 512 characters: the password of whoever looks (any user name), or a bearer token."""
    client_ca_file: Path | None = None
    """PEM authorities: whoever looks shows a certificate of theirs."""
    cert_file: Path | None = None
    """Our certificate, PEM, with its chain."""
    key_file: Path | None = None
    """Its private key, PEM, where it does not stand in the same file."""
    roster_file: Path | None = None
    """JSON: the officer's name by the device's id or serial number. Read again when it changes."""
    language_folder: Path | None = None
    """Folder with more languages for the screen, one JSON file each, such as `es.json`."""

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Self:
        if not self.address.is_loopback:
            if self.token_file is None and self.client_ca_file is None:
                raise ValueError(f"{self.address} can be reached by others: give `token_file` or `client_ca_file`")
            if self.cert_file is None:
                raise ValueError(
                    f"{self.address} can be reached by others: give `cert_file`, for nothing goes in clear"
                )
        if self.cert_file is None and (self.client_ca_file is not None or self.key_file is not None):
            raise ValueError("`client_ca_file` and `key_file` need a `cert_file`")
        return self


class PowerConfig(_Table):
    """In a car: what becomes of the power when the ignition goes off. Without the table the ignition means nothing."""

    hold_up: Annotated[Duration, Field(ge=timedelta(seconds=2), le=timedelta(hours=24))] = timedelta(seconds=60)
    """Time for which the supply holds up after the ignition went off. Within it the daemon says that power may go."""
    device: str | None = None
    """Id of the device whose `vehicle.ignition` counts, such as `dock:dock`; left out, every one's does."""
    file: Path | None = None
    """Where one word says how it is: `on`, `holding` or `safe`, for a lamp or the supply's controller. Default: `power`
    beside the daemon's socket."""


class FirmwareRule(_Table):
    """What the agency knows of a model's firmware, beside what the device specs say."""

    spec: str | None = None
    """Name of the device spec that it is about."""
    maker: str | None = None
    model: str | None = None
    """The device's own words, case ignored."""
    minimum: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Older ones raise a notice."""
    bad: tuple[Range, ...] = ()
    """Versions that raise one: `1.3`, `1.3..1.4`, `..1.2`, `2.0..`."""
    why: Annotated[str, Field(min_length=1, max_length=200)] = "the agency asks for it"

    @model_validator(mode="after")
    def _says_what_of_which(self) -> Self:
        if not (self.spec or self.maker or self.model):
            raise ValueError("say whose firmware it is about: `spec`, `maker`, `model`")
        if self.minimum is None and not self.bad:
            raise ValueError("say what is wrong: `minimum`, `bad`")
        return self

    def is_of(self, device: Device) -> bool:
        """Whether it is about this device."""
        said = ((self.spec, device.spec), (self.maker, device.maker), (self.model, device.model))
        return all(asked is None or asked.casefold() == (told or "").casefold() for asked, told in said)


class Config(_Table):
    """The whole file."""

    @property
    def trust(self) -> Path:
        """Whom the program that deletes believes."""
        return self.custody.trust or self.station.state / "releaser.json"

    @property
    def shows(self) -> tuple[dict[str, Any], ...]:
        """The tables that name a certificate of ours: `client_cert`, and `cert_file` of the status service."""
        broker = () if self.mqtt is None else ({"name": "mqtt", "client_cert": self.mqtt.client_cert},)
        screen = () if self.status is None else ({"name": "status", "cert_file": self.status.cert_file},)
        tables = (*self.uplink, *broker, *screen)
        return tuple(one for one in tables if any(one.get(name) is not None for name in ("client_cert", "cert_file")))

    station: Station
    spool: SpoolConfig = SpoolConfig()
    policy: Policy = Policy()
    custody: Custody = Custody()
    traffic: Traffic = Traffic()
    context: ContextOptions = ContextOptions()
    """What observations make of captures; see `agent.context`."""
    identity: Identity = Identity()
    status: StatusConfig | None = None
    power: PowerConfig | None = None
    mqtt: StationOptions | None = None
    firmware: tuple[FirmwareRule, ...] = ()
    driver: tuple[dict[str, Any], ...] = ()
    """One table for each driver; `use` names it, and it knows its own fields."""
    uplink: tuple[dict[str, Any], ...] = ()
    """One table for each destination."""


_UNREAD: Final[dict[type, str]] = {
    FileNotFoundError: "Set this station up with: evidock init. Where its file lies elsewhere: evidock --config FILE.",
    IsADirectoryError: "Name the file that lies in it: evidock --config FILE.",
    PermissionError: "Run this as root, as the daemon's user, or as a member of the group evidock.",
}
"""What to do where there is no file that could be edited."""


_FILE_MAX: Final = 1 << 22


def load(path: Path) -> Config:
    """Read a file. Raises `ConfigError` with all problems."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_FILE_MAX)
    except OSError as error:
        raise ConfigError([Problem(str(path), in_words(error))], hint=_UNREAD.get(type(error))) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), "is no text in UTF-8")]) from error
    config = parse(text, str(path))
    if config.custody.trust is not None:
        return config
    name = "releaser.json" if path.stem == "agent" else f"releaser-{path.stem}.json"
    beside = config.custody.model_copy(update={"trust": path.absolute().parent / name})
    return config.model_copy(update={"custody": beside})


def parse(text: str, name: str = "agent.toml") -> Config:
    """Read a text. Raises `ConfigError` with all problems."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(name, f"is not TOML: {error}")]) from error
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(problems_of(error, Config)) from error


def problems_of(error: ValidationError, model: type[BaseModel], prefix: str = "") -> list[Problem]:
    """What pydantic found while `model` read, with places as a person would write them: `uplink[0].url`."""
    return [
        Problem(prefix + _place(found["loc"]) if found["loc"] else prefix.rstrip("."), _sentence(found, model))
        for found in error.errors()
    ]


def _place(location: tuple[int | str, ...]) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


_SHAPES: Final = {
    _NAME: "lower-case letters, digits and hyphens, at most 63 of them, such as dock-0042",
    _DOMAIN: "a domain in lower-case letters, such as example.org",
    _URL: "an http or https address",
    _EST: "an https address without a login",
    r"^[a-z0-9-]{1,32}/[a-z0-9-]{1,32}/[a-z0-9-]{1,32}$": "agency/site/station, such as example-org/main/dock-1",
    "^[0-9a-f-]{4,36}$": "the id of a capture, or its beginning: at least four of 0 to 9, a to f",
    r"^[A-Za-z0-9_.:%-]{1,253}$": "the name or the address of a machine, such as broker.example.org",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "letters, digits and . _ - without a blank, at most 64 of them",
}
"""What is asked for, by the pattern that says it to programs."""


_SAID: Final = {
    "extra_forbidden": "is not known here; is it misspelt?",
    "missing": "is missing",
    "model_type": "must be a table of settings",
    "model_attributes_type": "must be a table of settings",
    "dict_type": "must be a table of settings",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "string_type": 'must be a text, in quotes: "..."',
    "path_type": 'must be a path, in quotes: "/..."',
}
"""What is wrong, by pydantic's word for it."""


def _sentence(found: Any, model: type[BaseModel]) -> str:  # noqa: ANN401 - pydantic's error dictionary
    if found["type"] == "extra_forbidden" and (other := meant(model, found["loc"])) is not None:
        return f"is not known here; is {other} meant?"
    if (said := _SAID.get(found["type"])) is not None:
        return said
    match found["type"]:
        case "string_pattern_mismatch":
            return _form(found["ctx"]["pattern"])
        case "tuple_type" if isinstance(found["input"], dict):
            return f"may be there several times: write [[{_place(found['loc'])}]] above each"
        case "tuple_type":
            return "must be a list, in brackets: [...]"
        case _:
            message: str = found["msg"]
            return re.sub("^(?:Input|String|List|Tuple|Value) should ", "must ", message).removeprefix("Value error, ")


def _form(pattern: str) -> str:
    if pattern in _SHAPES:
        return f"must be {_SHAPES[pattern]}"
    if words := re.fullmatch(r"\^\(([\w|-]+)\)\$", pattern):
        return f"must be one of: {words[1].replace('|', ', ')}"
    return f"does not have the form that is asked for: {pattern}"
