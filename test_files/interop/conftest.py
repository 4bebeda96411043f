"""What the tests share: a running room in two worlds, and a 64 MiB file."""

import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from programs import json_line, logged, program

FILE_BYTES = 64 * 1024 * 1024


@asynccontextmanager
async def standalone(files: Path):
    """Broker, rover and page in one program."""
    async with program(
        "halyard-worker",
        *("standalone", "--listen", "127.0.0.1:0", "--files", str(files), "--json"),
        log="standalone",
    ) as worker:
        yield await json_line(worker, "room")


@asynccontextmanager
async def three_programs(files: Path):
    """Broker and worker as two programs; the client is the third."""
    data = files.parent / "server"
    data.mkdir()
    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--data-dir", str(data), "--log-format", "json"),
        log="server",
    ):
        # With port 0 only the log knows the address.
        address = (await logged("server", r"serving .* at (http://[^\s\"]+)"))[1]
        async with program(
            "halyard-worker",
            *("run", "--server", address, "--files", str(files), "--json"),
            log="worker",
        ) as worker:
            yield await json_line(worker, "room")


@pytest.fixture(params=[standalone, three_programs], ids=lambda world: world.__name__)
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
