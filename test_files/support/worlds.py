"""Halyard running, in two worlds: everything in one program, or broker and worker apart."""

from contextlib import asynccontextmanager
from pathlib import Path

from programs import json_line, logged, program

# These stories are about what the programs say, not about how busy this machine is.
PATIENT = ("--max-picture-age", "5s")


@asynccontextmanager
async def standalone(files: Path, *arguments: str):
    """Broker, rover and page in one program."""
    async with program(
        "halyard-worker",
        *("standalone", "--listen", "127.0.0.1:0", "--files", str(files), "--json", *PATIENT),
        *arguments,
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
            *("run", "--server", address, "--files", str(files), "--json", *PATIENT),
            log="worker",
        ) as worker:
            yield await json_line(worker, "room")


BOTH = [standalone, three_programs]
