"""Halyard's programs as child processes: started, read line by line, ended by their own pid."""

import asyncio
import json
import os
import re
import signal
from contextlib import asynccontextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BIN_DIR = Path(os.environ.get("TESTS_BIN_DIR", REPOSITORY / "target" / "debug"))
OUT_DIR = Path(os.environ.get("TESTS_OUT", REPOSITORY / "test_files" / "out")) / "aiortc"

START_SECONDS = 30
STOP_SECONDS = 15


class ProgramError(Exception):
    """A program did not say or do what it should have."""


@asynccontextmanager
async def program(name: str, *arguments: str, log: str, environment: dict | None = None):
    """Runs one program; on the way out it gets SIGTERM and must end by itself."""
    with log_path(log).open("wb") as log_file:
        process = await asyncio.create_subprocess_exec(
            str(BIN_DIR / name),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=log_file,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield process
        finally:
            await stop(process, name)


def log_path(log: str) -> Path:
    OUT_DIR.mkdir(parents=True, exist_ok=True)
    return OUT_DIR / f"{log}.log"


async def stop(process: asyncio.subprocess.Process, name: str) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    # An unread pipe must not keep the program from ending.
    drained = asyncio.create_task(process.stdout.read())
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise ProgramError(f"{name} did not end within {STOP_SECONDS} s of SIGTERM") from None
    finally:
        await drained


async def logged(log: str, pattern: str) -> re.Match:
    """The first place in a program's log that matches."""
    async with asyncio.timeout(START_SECONDS):
        while not (found := re.search(pattern, log_path(log).read_text(encoding="utf-8"))):
            await asyncio.sleep(0.02)
    return found


async def json_line(process: asyncio.subprocess.Process, event: str) -> dict:
    """The first line on stdout whose `event` is this one."""

    async def look() -> dict:
        while line := await process.stdout.readline():
            message = json.loads(line)
            if message.get("event") == event:
                return message
        raise ProgramError(f"the program ended before it said {event!r}")

    return await asyncio.wait_for(look(), START_SECONDS)
