"""What the tests share: a running room in two worlds, and a 64 MiB file."""

import os
from pathlib import Path

import pytest
import worlds

FILE_BYTES = 64 * 1024 * 1024


@pytest.fixture(params=worlds.BOTH, ids=lambda world: world.__name__)
async def room(request, tmp_path):
    """The `room` line of a worker; its files are in `tmp_path / "files"`."""
    files = tmp_path / "files"
    files.mkdir()
    async with request.param(files) as said:
        yield said


@pytest.fixture(scope="session")
def big_file(tmp_path_factory) -> Path:
    """64 MiB that no two chunks of are alike."""
    path = tmp_path_factory.mktemp("file") / "recording.bin"
    path.write_bytes(os.urandom(FILE_BYTES))
    return path
