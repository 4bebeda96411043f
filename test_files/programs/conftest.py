"""What the tests share: a room in two worlds, and a home of its own for the command line."""

from pathlib import Path

import gpu_node
import pytest
import worlds
from room import Room


@pytest.fixture(params=worlds.BOTH, ids=lambda world: world.__name__)
async def room(request, tmp_path: Path):
    files = tmp_path / "files"
    files.mkdir()
    async with request.param(files) as said:
        yield Room(said, files, tmp_path / "home")


@pytest.fixture
async def home(tmp_path: Path):
    """A worker that trains, and its broker; neither runs yet."""
    node = gpu_node.prepare(tmp_path)
    try:
        yield node
    finally:
        gpu_node.end_jobs(tmp_path / "jobs")


@pytest.fixture
async def node(home: gpu_node.Node):
    """The same, and the broker runs."""
    async with home.broker():
        yield home
