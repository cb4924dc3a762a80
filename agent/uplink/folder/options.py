"""What a person may write in an `[[uplink]]` table with `use = "folder"`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it when the class is made
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from agent.quantities import Length  # noqa: TC001 - pydantic reads it when the class is made
from agent.uplink import UplinkOptions

__all__ = ["FolderOptions"]


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path, such as /media/evidence")
    return path


class FolderOptions(UplinkOptions):
    """A folder that others read: a network drive, or a disk that somebody carries."""

    network: ClassVar[bool] = False
    """A drive that is reached over one is not there while there is none, and says so itself."""

    path: Annotated[Path, AfterValidator(_absolute)]
    """Where it is mounted. Nothing is written where no file `evidock-medium.json` lies (`evidock handover prepare`)."""
    archive: bool = False
    """True: here the agency keeps its evidence, and a copy that was read back and is equal counts as `digest`. False:
    it is on its way, and only the counter-signed receipts that come back with the medium count."""
    watermark: Length = 64 << 20
    """Room that is left free there."""
    in_flight: Annotated[int, Field(ge=1, le=64)] = 2
    """How many captures are written at once: a disk that turns likes one after the other."""
    look: Annotated[float, Field(ge=0.1, le=86400)] = 30.0
    """Seconds between two looks for receipts that came back."""
