"""What the tests share: a room in two worlds, and a home of its own for the command line."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import worlds

import programs


@dataclass
class Room:
    """A running room, and `halyard` as somebody else would run it."""

    said: dict
    files: Path
    home: Path

    @property
    def operator(self) -> str:
        return self.said["join_url"]

    @property
    def viewer(self) -> str:
        return self.said["viewer_url"]

    async def halyard(self, *arguments: str, **environment: str) -> programs.Ended:
        return await programs.run(
            "halyard", *arguments, environment={"XDG_STATE_HOME": str(self.home), **environment}
        )


@pytest.fixture(params=worlds.BOTH, ids=lambda world: world.__name__)
async def room(request, tmp_path: Path):
    files = tmp_path / "files"
    files.mkdir()
    async with request.param(files) as said:
        yield Room(said, files, tmp_path / "home")
