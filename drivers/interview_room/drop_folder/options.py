"""What station IT may say in agent.toml about a folder that a recorder puts its recordings into."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotation when the program runs
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from drivers.interview_room.drop_folder.names import Names
from drivers.interview_room.room import RoomOptions

__all__ = ["FolderOptions"]


class FolderOptions(RoomOptions):
    """The `[[driver]]` table with `use = "interview_room.drop_folder"`."""

    folder: Path
    """Where recordings appear: an upload area on this station, or a folder of a share that is mounted here."""
    share: Path | None = None
    """The mount point of the share that `folder` lies on, or is. Nothing is believed of the folder while it is not
    mounted. Left out: the folder lies on a disk of this station."""
    complete: Literal["settled", "side-car", "marker"] = "settled"
    """What shows that a recording is complete, beside its standing still: nothing more; a side-car with its digest, or
    with its name and `.xml` or `.json`; or the file `marker` in its folder."""
    marker: Annotated[str, Field(min_length=1, max_length=255)] = "complete"
    """The file that a recorder writes into the folder of a recording after everything else."""
    settle: Annotated[float, Field(ge=0, le=86400)] | None = None
    """Seconds for which length and time of change must have stood still, as this station saw it. Left out: 15 on a disk
    of this station, 60 on a share. Make it longer than the pause after which a recorder goes on with a cut upload."""
    patience: Annotated[float, Field(gt=0, le=30 * 86400)] = 6 * 3600.0
    """Seconds after which a person is told of what is still not complete. What has stood still for all that time is
    taken then, whatever else is missing; what still changes, and what has the name of an unfinished file, is not."""
    names: Annotated[str, Field(max_length=512)] | None = None
    """How the recorder names its files, such as `{recording}_{camera}_{clip}.mp4`: it groups them. Left out: what lies
    in one subfolder is one recording."""
    zone: str = "UTC"
    """The time zone of `{began}` in `names`."""
    unfinished: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    """More endings of files that are never complete, beside `.part`, `.filepart`, `.tmp` and the like."""
    shared: bool = False
    """Another station takes from this folder too: they agree by a file below `.evidock` in it who does. Needs the
    right to write there."""
    lease: Annotated[float, Field(ge=5, le=3600)] = 60.0
    """Seconds of silence after which another station takes over. The same at all of them."""
    answer: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Seconds in which the folder must answer; a share that is silent for longer is taken to be away."""
    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    """Files and folders that are looked at; what lies beyond waits, and is reported."""
    copies: Annotated[int, Field(ge=1, le=16)] = 2
    """Recordings that are read at once."""

    @field_validator("folder", "share")
    @classmethod
    def _is_absolute(cls, path: Path | None) -> Path | None:
        if path is not None and (not path.is_absolute() or ".." in path.parts):
            raise ValueError("must be an absolute path without `..`")
        return path

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no time zone is called {zone}: use a name such as America/Toronto") from None
        return zone

    @model_validator(mode="after")
    def _fits_together(self) -> FolderOptions:
        if self.share is not None and not self.folder.is_relative_to(self.share):
            raise ValueError(f"`folder` must be `share` or lie below it: {self.folder} is not below {self.share}")
        if "/" in self.marker:
            raise ValueError("`marker` is the name of a file, without a path")
        if self.names is not None:
            Names(self.names, self.zone)
        return self

    @property
    def stands_still(self) -> float:
        """Seconds that count as settled here."""
        return self.settle if self.settle is not None else 15.0 if self.share is None else 60.0
