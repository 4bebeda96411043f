"""Halyard's programs as child processes: started, read line by line, ended by their own pid."""

import asyncio
import json
import os
import re
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BIN_DIR = Path(os.environ.get("TESTS_BIN_DIR", REPOSITORY / "target" / "debug"))
OUT_DIR = Path(os.environ.get("TESTS_OUT", REPOSITORY / "test_files" / "out")) / "programs"

START_SECONDS = 30
STOP_SECONDS = 15
COMMAND_SECONDS = 90


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


@dataclass
class Ended:
    """How a command ended, and what it said."""

    status: int
    output: str
    errors: str

    @property
    def objects(self) -> list[dict]:
        """Its `--json` lines."""
        return [json.loads(line) for line in self.output.splitlines()]


async def run(name: str, *arguments: str, environment: dict | None = None) -> Ended:
    """Runs a program to its end."""
    process = await asyncio.create_subprocess_exec(
        str(BIN_DIR / name),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(environment or {})},
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), COMMAND_SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    return Ended(process.returncode, output.decode(), errors.decode())


async def logged(log: str, pattern: str) -> re.Match:
    """The first place in a program's log that matches."""
    async with asyncio.timeout(START_SECONDS):
        while not (found := re.search(pattern, log_path(log).read_text(encoding="utf-8"))):
            await asyncio.sleep(0.02)
    return found


async def json_line(process: asyncio.subprocess.Process, event: str) -> dict:
    """The first line on stdout whose `event` is this one."""

    async def look() -> dict:
        message = None
        while line := await process.stdout.readline():
            message = json.loads(line)
            if message.get("event") == event:
                return message
        raise ProgramError(f"the program ended before it said {event!r}; its last word: {message}")

    return await asyncio.wait_for(look(), START_SECONDS)
