"""Training through broker, worker and command line, with a trainer that speaks real ZMQ."""

import asyncio
import fcntl
import importlib.util
import json
import os
import signal
import struct
import sys
import termios
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
    """The folders of a broker and a worker, which may be started again and again."""

    home: Path
    address: str = ""

    @property
    def files(self) -> Path:
        return self.home / "files"

    @asynccontextmanager
    async def broker(self):
        """Always at the same address, once it has one."""
        listen = self.address.removeprefix("http://") or "127.0.0.1:0"
        async with program(
            "halyard-server",
            *("serve", "--listen", listen, "--data-dir", str(self.home / "server")),
            *("--log-format", "json"),
            log="training-server",
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


@pytest.fixture
async def home(tmp_path: Path):
    (tmp_path / "files").mkdir()
    template = (TRAINING / "worker.toml").read_text(encoding="utf-8")
    template = template.replace("PYTHON", sys.executable).replace("HERE", str(TRAINING))
    own = f"files = {str(tmp_path / 'files')!r}\njobs_dir = {str(tmp_path / 'jobs')!r}\n"
    (tmp_path / "worker.toml").write_text(own + template, encoding="utf-8")
    node = Node(tmp_path)
    try:
        yield node
    finally:
        end_jobs(tmp_path / "jobs")


@pytest.fixture
async def node(home: Node):
    async with home.broker():
        yield home


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


async def test_steps_of_one_request_run_one_after_another(node: Node, tmp_path: Path):
    async with node.worker() as (_, room):
        ended = await room.halyard(
            *("train", room.operator, str(DATA), "--output", str(tmp_path / "out"), "--json"),
            *("--template", "train", "--template", "refine"),
            *sets(epochs=4, **{"refine.epochs": 3}),
        )
        assert ended.status == DONE, ended.output + ended.errors
        first, second = (line for line in ended.objects if line["event"] == "summary")
        assert (first["epochs"], second["epochs"]) == (4, 3)
        assert first["results"] == second["results"], "they share a folder, and both wrote it"
        events = [line for line in ended.objects if line["event"] == "job_event"]
        over = [event["job"] for event in events if is_over(event)]
        assert over == [first["job"], second["job"]]
        model = json.loads((tmp_path / "out" / "model.json").read_text(encoding="utf-8"))
        assert model["epochs"] == 3, "the second step's"


async def test_a_step_that_is_cancelled_ends_the_rest(node: Node):
    async with node.worker() as (_, room):
        jobs = await submit_steps(room, ["train", "refine"], **{"1.pause": 0.02, "1.epochs": 9999})
        async with following(room, jobs[0]) as process:
            await events_until(process, is_epoch_end)
            assert (await room.halyard("cancel", room.operator, jobs[0])).status == DONE
            assert await asyncio.wait_for(process.wait(), SOON) == FAILED
        listed = await room.halyard("jobs", room.operator, "--json")
        states = {line["job"]: line for line in listed.objects if line["event"] == "job"}
        assert [states[job]["state"] for job in jobs] == ["cancelled", "cancelled"]
        assert "epoch" not in states[jobs[1]] and states[jobs[0]]["epoch"] >= 1
        assert jobs[0] in states[jobs[1]]["reason"]
        assert processes_in(node.files / "jobs" / jobs[0]) == []


TROUBLES = {
    "die": (["not"], "signal 9"),
    "late": (["late"], ""),
    "again": (["restarted"], ""),
    "silent": (["silent", "heard_again"], ""),
    "heartbeat": (["not_understood"], ""),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_trainer_in_trouble_is_noticed(node: Node, trouble: str):
    codes, reason = TROUBLES[trouble]
    async with node.worker() as (_, room):
        pause = 0.05 if trouble == "heartbeat" else 0.001
        ended = await room.halyard(
            *("train", room.operator, str(DATA), "--json"),
            *sets(epochs=6, trouble=trouble, pause=pause, helpers=2 if trouble == "die" else 0),
        )
        events = [line for line in ended.objects if line["event"] == "job_event"]
        noted = [event["code"] for event in events if event["kind"] == "note"]
        assert noted[: len(codes)] == codes or codes == ["not"], ended.output
        (end,) = (event for event in events if is_over(event))
        assert ended.status == (FAILED if reason else DONE), ended.output
        assert end["state"] == ("failed" if reason else "succeeded"), end
        assert reason in end.get("reason", ""), end
        curve = sum(is_epoch_end(event) for event in events)
        assert curve == {"die": 2, "late": 4, "again": 12}.get(trouble, curve)
        if trouble == "heartbeat":
            words = next(e["message"] for e in events if e.get("code") == "not_understood")
            assert "HEARTBEAT_IVL" in words, words
        folder = node.files / "jobs" / end["job"]
        assert processes_in(folder) == [], "helpers of a trainer that died are ended too"


async def test_following_goes_on_by_itself_when_the_worker_is_killed(node: Node):
    async with node.worker() as (worker, room):
        job = await submit(room, epochs=10000, pause=0.02)
        async with following(room, job) as process:
            told = await events_until(process, is_epoch_end)
            worker.kill()
            await worker.wait()
            async with node.worker():
                told += await events_until(process, lambda event: event.get("code") == "taken_up")
                told += await events_until(process, is_epoch_end)
                stop = await room.halyard("stop", room.operator, job)
                assert stop.status == DONE, stop.errors
                told += await events_until(process, is_over)
                assert await asyncio.wait_for(process.wait(), SOON) == DONE
    numbers = [event["n"] for event in told]
    assert numbers == list(range(1, len(numbers) + 1)), "nothing is missing or told twice"


async def test_following_goes_on_by_itself_when_the_broker_is_restarted(home: Node):
    async with AsyncExitStack() as broker:
        await broker.enter_async_context(home.broker())
        async with home.worker() as (_, room):
            job = await submit(room, epochs=10000, pause=0.02)
            async with following(room, job) as process:
                told = await events_until(process, is_epoch_end)
                await broker.aclose()
                # The connection to the worker does not pass through the broker.
                told += await events_until(process, is_epoch_end)
                await broker.enter_async_context(home.broker())
                stop = await room.halyard("stop", room.operator, job)
                assert stop.status == DONE, stop.errors
                told += await events_until(process, is_over)
                assert await asyncio.wait_for(process.wait(), SOON) == DONE
    numbers = [event["n"] for event in told]
    assert numbers == list(range(1, len(numbers) + 1)), "nothing is missing or told twice"


@asynccontextmanager
async def terminal(*arguments: str):
    """`halyard` at a terminal of 80 columns and 24 lines."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(follower)
    process = await asyncio.create_subprocess_exec(
        str(programs.BIN_DIR / "halyard"),
        *arguments,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    seen = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(leader, lambda: seen.extend(os.read(leader, 65536)))

    async def shows(words: str):
        async with asyncio.timeout(SOON):
            while words.encode() not in seen:
                await asyncio.sleep(0.02)

    try:
        yield process, shows, lambda keys: os.write(leader, keys.encode())
        await asyncio.wait_for(process.wait(), SOON)
        assert termios.tcgetattr(follower) == before, "the terminal is as it was"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        loop.remove_reader(leader)
        os.close(leader)
        os.close(follower)


TAKEN, GIVEN_BACK = "\x1b[?1049h", "\x1b[?1049l"


async def test_a_training_at_a_terminal_is_a_screen_that_is_given_back(node: Node):
    async with node.worker() as (_, room):
        job = await submit(room, epochs=10000, pause=0.02)
        attach = ("attach", room.operator, job)
        async with terminal(*attach) as (process, shows, press):
            await shows(TAKEN)
            await shows("of 10000")
            await shows("leave it running")
            press("q")
            await shows(GIVEN_BACK)
            await shows(f"halyard attach LINK {job}")
        assert process.returncode == DONE

        async with terminal(*attach) as (process, shows, press):
            await shows("leave it running")
            process.terminate()
            await shows(GIVEN_BACK)
        assert process.returncode == 130

        async with terminal(*attach) as (process, shows, press):
            await shows("leave it running")
            press("\x03")
            await shows(GIVEN_BACK)
        assert process.returncode == 130

        async with terminal(*attach, "--plain") as (process, shows, press):
            await shows("val_loss")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(shows(TAKEN), 0.5)
            press("\x03")
        assert process.returncode == 130

        async with terminal(*attach) as (process, shows, press):
            await shows("leave it running")
            press("c")
            await shows("y yes")
            press("n")
            await shows("stop early")
            press("s")
            await shows(GIVEN_BACK)
            await shows("succeeded")
        assert process.returncode == DONE


async def a_network_is_trained_with_pytorch(node: Node, tmp_path: Path):
    async with node.worker() as (_, room):
        ended = await room.halyard(
            *("train", room.operator, str(DATA), "--template", "train-torch"),
            *("--output", str(tmp_path / "out"), "--json", *sets(epochs=3, samples=1024)),
        )
        assert ended.status == DONE, ended.output + ended.errors
        (summary,) = (line for line in ended.objects if line["event"] == "summary")
        assert summary["epochs"] == 3 and summary["val_loss"] < 0.2, summary
        assert (tmp_path / "out" / "model.pt").stat().st_size > 1000


# PyTorch is larger than everything else together, so it is tested where it is and not brought.
if importlib.util.find_spec("torch"):
    test_a_network_is_trained_with_pytorch = a_network_is_trained_with_pytorch

async def test_what_the_worker_does_not_offer_is_refused_with_what_it_does(node: Node):
    async with node.worker() as (_, room):
        listed = await room.halyard("jobs", room.operator)
        assert listed.status == DONE and "a whole number from 1 to 10000" in listed.output
        for words, status, said in (
            (("--template", "sh"), 2, "there are: train, refine"),
            (("--set", "epochs=many"), 2, "a whole number"),
            (("--set", "shell=1"), 2, "takes no such value"),
        ):
            ended = await room.halyard("train", room.operator, str(DATA), *words)
            assert ended.status == status and said in ended.errors, ended
        viewer = await room.halyard("jobs", room.viewer)
        assert viewer.status == 4 and "operator" in viewer.errors
    assert os.listdir(node.home / "jobs") == ["lock"]
