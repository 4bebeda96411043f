"""What the tests share: a room in two worlds, and a home of its own for the command line."""

from pathlib import Path

import pytest
import worlds
from room import Room


@pytest.fixture(params=worlds.BOTH, ids=lambda world: world.__name__)
async def room(request, tmp_path: Path):
    files = tmp_path / "files"
    files.mkdir()
    async with request.param(files) as said:
        yield Room(said, files, tmp_path / "home")
