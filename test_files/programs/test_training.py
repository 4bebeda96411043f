"""Training through broker, worker and command line, with a trainer that speaks real ZMQ."""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from room import Room

import programs
from programs import json_line, logged, program

TRAINING = Path(__file__).resolve().parents[1] / "training"
DATA = TRAINING / "data"
DONE, FAILED = 0, 6
SOON = 60


@dataclass
class Node:
    """A broker, and the folders of a worker that may be started again and again."""

    address: str
    home: Path

    @property
    def files(self) -> Path:
        return self.home / "files"

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


@pytest.fixture
async def node(tmp_path: Path):
    (tmp_path / "files").mkdir()
    template = (TRAINING / "worker.toml").read_text(encoding="utf-8")
    template = template.replace("PYTHON", sys.executable).replace("HERE", str(TRAINING))
    own = f"files = {str(tmp_path / 'files')!r}\njobs_dir = {str(tmp_path / 'jobs')!r}\n"
    (tmp_path / "worker.toml").write_text(own + template, encoding="utf-8")
    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "server")),
        *("--log-format", "json"),
        log="training-server",
    ):
        address = (await logged("training-server", r"serving .* at (http://[^\s\"]+)"))[1]
        try:
            yield Node(address, tmp_path)
        finally:
            end_jobs(tmp_path / "jobs")


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
    ended = await room.halyard(
        "train", room.operator, str(DATA), "--detach", "--json", *sets(**values)
    )
    assert ended.status == DONE, ended.output + ended.errors
    (submitted,) = (line for line in ended.objects if line["event"] == "submitted")
    return submitted["job"]


@asynccontextmanager
async def following(room: Room, job: str):
    """`halyard attach`, line by line."""
    async with program("halyard", "attach", room.operator, job, "--json", log="attach") as process:
        yield process


async def events_until(process, enough) -> list[dict]:
    """Events of a job, up to the first that is enough."""
    events = []

    async def look():
        while line := await process.stdout.readline():
            message = json.loads(line)
            if message["event"] == "job_event":
                events.append(message)
                if enough(message):
                    return
        raise programs.ProgramError(f"it ended before enough was said: {events[-3:]}")

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


async def test_a_package_is_trained_and_the_model_comes_back(node: Node, tmp_path: Path):
    async with node.worker() as (_, room):
        ended = await room.halyard(
            *("train", room.operator, str(DATA), "--output", str(tmp_path / "out"), "--json"),
            *sets(epochs=20, nan_at=3),
        )
        assert ended.status == DONE, ended.output + ended.errors
        events = [line for line in ended.objects if line["event"] == "job_event"]
        assert [event["n"] for event in events] == list(range(1, len(events) + 1))
        states = [event["state"] for event in events if event["kind"] == "state"]
        assert states == ["queued", "running", "succeeded"]

        raw = [event["report"] for event in events if event["kind"] == "progress"]
        assert any('"loss": NaN' in report for report in raw), "NaN comes as it was said"
        reports = [json.loads(report) for report in raw]
        assert reports[0]["event"] == "train_begin" and reports[-1]["event"] == "train_end"
        curve = [r["logs"]["val/loss"] for r in reports if r["event"] == "epoch_end"]
        assert len(curve) == 20
        assert curve[-1] < 0.01 < curve[0], curve

        model = json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))
        assert abs(model["slope"] - 1.7) < 0.1 and abs(model["offset"] + 0.4) < 0.1
        lines = [event["text"] for event in events if event["kind"] == "line"]
        assert "epoch 19 done" in lines


async def test_a_training_is_stopped_early_and_keeps_its_model(node: Node):
    async with node.worker() as (_, room):
        job = await submit(room, epochs=10000, pause=0.02)
        async with following(room, job) as process:
            before = await events_until(process, is_epoch_end)
            stop = await room.halyard("stop", room.operator, job, "--json")
            assert stop.status == DONE and stop.objects[0]["state"] == "stopping", stop
            after = await events_until(process, is_over)
            assert await asyncio.wait_for(process.wait(), SOON) == DONE
        events = before + after
        assert events[-1]["state"] == "succeeded", events[-3:]
        assert "early" in events[-1]["reason"]
        last = [e for e in events if e["kind"] == "progress"][-1]
        assert json.loads(last["report"])["event"] == "train_end", "it ended by itself"
        (result,) = (event for event in events if event["kind"] == "result")
        assert (node.files / result["path"]).exists()


async def test_a_cancelled_training_leaves_no_process_behind(node: Node):
    async with node.worker() as (_, room):
        job = await submit(room, epochs=10000, pause=0.02, helpers=3)
        folder = node.files / "jobs" / job
        async with following(room, job) as process:
            await events_until(process, is_epoch_end)
            assert len(processes_in(folder)) == 4
            cancel = await room.halyard("cancel", room.operator, job)
            assert cancel.status == DONE, cancel.errors
            after = await events_until(process, is_over)
            assert await asyncio.wait_for(process.wait(), SOON) == FAILED
        assert after[-1]["state"] == "cancelled"
        assert processes_in(folder) == []


async def test_a_worker_killed_in_the_middle_takes_the_training_up_again(node: Node):
    async with node.worker() as (worker, room):
        job = await submit(room, epochs=10000, pause=0.02)
        async with following(room, job) as process:
            before = await events_until(process, is_epoch_end)
        worker.kill()
        await worker.wait()
    folder = node.files / "jobs" / job
    assert processes_in(folder), "it trains on without a worker"

    async with node.worker() as (_, room):
        async with following(room, job) as process:
            told = await events_until(process, lambda event: event.get("code") == "taken_up")
            assert told[: len(before)] == before, "nothing of it is forgotten"
            # The trainer finds the new worker's sockets by itself.
            on = await events_until(process, is_epoch_end)
            epoch = json.loads(on[-1]["report"])["epoch"]
            assert epoch > json.loads(before[-1]["report"])["epoch"]
            stop = await room.halyard("stop", room.operator, job)
            assert stop.status == DONE, stop.errors
            end = await events_until(process, is_over)
        assert end[-1]["state"] == "succeeded", end[-3:]
        numbers = [event["n"] for event in told + on + end]
        assert numbers == list(range(1, len(numbers) + 1))
    assert processes_in(folder) == []


async def test_what_the_worker_does_not_offer_is_refused_with_what_it_does(node: Node):
    async with node.worker() as (_, room):
        listed = await room.halyard("jobs", room.operator)
        assert listed.status == DONE and "a whole number from 1 to 10000" in listed.output
        for words, status, said in (
            (("--template", "sh"), 2, "there are: train"),
            (("--set", "epochs=many"), 2, "a whole number"),
            (("--set", "shell=1"), 2, "takes no such value"),
        ):
            ended = await room.halyard("train", room.operator, str(DATA), *words)
            assert ended.status == status and said in ended.errors, ended
        viewer = await room.halyard("jobs", room.viewer)
        assert viewer.status == 4 and "operator" in viewer.errors
    assert os.listdir(node.home / "jobs") == ["lock"]
