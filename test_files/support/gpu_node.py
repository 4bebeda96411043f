"""A broker and a worker that trains, started again and again, and the command line that follows."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from room import Room

import programs
from programs import json_line, logged, program

TRAINING = Path(__file__).resolve().parents[1] / "training"
DATA = TRAINING / "data"
DONE, FAILED = 0, 6
SOON = 60


@dataclass
class Node:
    """The folders of a broker and a worker, which may be started again and again."""

    home: Path
    address: str = ""

    @property
    def files(self) -> Path:
        return self.home / "files"

    @asynccontextmanager
    async def broker(self, environment: dict | None = None):
        """Always at the same address, once it has one."""
        listen = self.address.removeprefix("http://") or "127.0.0.1:0"
        async with program(
            "halyard-server",
            *("serve", "--listen", listen, "--data-dir", str(self.home / "server")),
            *("--log-format", "json"),
            log="training-server",
            environment=environment,
        ) as process:
            found = await logged("training-server", r"serving .* at (http://[^\s\"]+)")
            self.address = found[1]
            yield process

    @asynccontextmanager
    async def worker(self):
        async with program(
            "halyard-worker",
            *("run", "--server", self.address, "--config", str(self.home / "worker.toml")),
            *("--state-file", str(self.home / "state.json"), "--json"),
            log="training-worker",
        ) as process:
            said = await json_line(process, "room")
            yield process, Room(said, self.files, self.home / "client")


def prepare(home: Path, own: str = "") -> Node:
    """A node with the templates of the tests, and `own` behind them."""
    (home / "files").mkdir()
    template = (TRAINING / "worker.toml").read_text(encoding="utf-8")
    template = template.replace("PYTHON", sys.executable).replace("HERE", str(TRAINING))
    places = f"files = {str(home / 'files')!r}\njobs_dir = {str(home / 'jobs')!r}\n"
    (home / "worker.toml").write_text(places + template + own, encoding="utf-8")
    return Node(home)


def end_jobs(jobs: Path) -> None:
    """Jobs outlive their worker; they must not outlive a test that failed."""
    for process in jobs.glob("*/process.json"):
        if not (process.parent / "exit.json").exists():
            with suppress(ProcessLookupError):
                os.kill(json.loads(process.read_text())["keeper"], signal.SIGTERM)


def sets(**values) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


async def submit(room: Room, **values) -> str:
    """Sends the package, submits one training and gives back its job."""
    (job,) = await submit_steps(room, ["train"], **values)
    return job


async def submit_steps(room: Room, templates: list[str], **values) -> list[str]:
    """The same for several steps, one job for each."""
    steps = [word for template in templates for word in ("--template", template)]
    ended = await room.halyard(
        "train", room.operator, str(DATA), "--detach", "--json", *steps, *sets(**values)
    )
    assert ended.status == DONE, ended.output + ended.errors
    return [line["job"] for line in ended.objects if line["event"] == "submitted"]


@asynccontextmanager
async def following(room: Room, job: str):
    """`halyard attach`, line by line."""
    async with program("halyard", "attach", room.operator, job, "--json", log="attach") as process:
        yield process


async def events_until(process, enough) -> list[dict]:
    """Events of a job, up to the first that is enough."""
    return await lines_until(process, lambda line: line["event"] == "job_event" and enough(line))


async def lines_until(process, enough) -> list[dict]:
    """Events of a job, up to the first line of any kind that is enough."""
    events, message = [], None

    async def look():
        nonlocal message
        while line := await process.stdout.readline():
            message = json.loads(line)
            if message["event"] == "job_event":
                events.append(message)
            if enough(message):
                return
        raise programs.ProgramError(f"it ended before enough was said; its last word: {message}")

    await asyncio.wait_for(look(), SOON)
    return events


def is_over(event: dict) -> bool:
    return event.get("state") in {"succeeded", "failed", "cancelled", "lost"}


def is_epoch_end(event: dict) -> bool:
    return event["kind"] == "progress" and json.loads(event["report"])["event"] == "epoch_end"


def processes_in(folder: Path) -> list[int]:
    """Every process that works in this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == folder.resolve():
                found.append(int(entry.name))
        except OSError:
            pass
    return found
