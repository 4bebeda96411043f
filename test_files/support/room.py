"""A running room, and `halyard` as somebody who joins it."""

from dataclasses import dataclass
from pathlib import Path

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
