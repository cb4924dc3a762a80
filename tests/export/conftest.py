from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.export.make import AT, Station, station

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def samples() -> Path:
    """The full set of custody samples, which is not part of the project."""
    folder = os.environ.get("EVIDOCK_SAMPLES")
    if not folder:
        pytest.skip("EVIDOCK_SAMPLES names no folder of samples")
    if not (found := Path(folder) / "custody").is_dir():
        pytest.skip(f"no custody samples in {folder}")
    return found


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Station, list[str]]]:
    """A station with two receipted captures of one recording, among other entries; a witness was quoted between."""
    with station(tmp_path_factory.mktemp("station")) as made:

        async def take() -> list[str]:
            first = await made.take("DCIM/100MEDIA/CLIP0001.MP4", b"first clip", officer="Tremblay", battery="81")
            await made.take("DCIM/100MEDIA/OTHER.MP4", b"of another recording", group="REC-8")
            made.quote(AT.replace(minute=1))
            return [first, await made.take("DCIM/100MEDIA/CLIP0002.MP4", b"second clip", clip=2)]

        captures = asyncio.run(take())
        for one in captures:
            made.receipt(one)
        yield made, captures


@pytest.fixture(scope="session")
def bag(two: tuple[Station, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their bag. Tests change copies of it only."""
    made, captures = two
    return made.export(tmp_path_factory.mktemp("bags") / "bag", captures)
