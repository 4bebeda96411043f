"""Training through broker, worker and command line, with a trainer that speaks real ZMQ."""

import asyncio
import importlib.util
import json
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from coturn import coturn
from gpu_node import (
    DATA,
    DONE,
    FAILED,
    SOON,
    Node,
    events_until,
    following,
    is_epoch_end,
    is_over,
    lines_until,
    processes_in,
    sets,
    submit,
    submit_steps,
)
from terminal import GIVEN_BACK, TAKEN, terminal

from programs import program


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


async def test_following_goes_on_by_itself_when_the_network_was_cut(home: Node, tmp_path: Path):
    async with (
        coturn(tmp_path) as relay,
        home.broker(relay.environment) as broker,
        home.worker() as (_, room),
    ):
        job = await submit(room, epochs=10000, pause=0.02)
        # Everything between the two passes the relay, so that there is a network to cut.
        attach = ("--relay-only", "attach", room.operator, job, "--json")
        async with program("halyard", *attach, log="attach") as process:
            told = await events_until(process, is_epoch_end)
            relay.cut()
            broker.send_signal(signal.SIGSTOP)
            try:
                told += await lines_until(process, lambda line: line["event"] == "disconnected")
            finally:
                broker.send_signal(signal.SIGCONT)
                relay.mend()
            told += await lines_until(process, lambda line: line["event"] == "connected_again")
            told += await events_until(process, is_epoch_end)
            stop = await room.halyard("stop", room.operator, job)
            assert stop.status == DONE, stop.errors
            told += await events_until(process, is_over)
            assert await asyncio.wait_for(process.wait(), SOON) == DONE
    numbers = [event["n"] for event in told]
    assert numbers == list(range(1, len(numbers) + 1)), "nothing is missing or told twice"


async def test_a_training_at_a_terminal_is_a_screen_that_is_given_back(node: Node):
    async with node.worker() as (_, room):
        job = await submit(room, epochs=10000, pause=0.02)
        attach = ("attach", room.operator, job)
        async with terminal(*attach) as there:
            await there.gets(TAKEN)
            await there.shows("of 10000")
            await there.shows("val 0.")
            await there.shows("CPU")
            await there.shows("leave it running")
            there.press("q")
            await there.gets(GIVEN_BACK)
            await there.gets(f"halyard attach LINK {job}")
        assert there.process.returncode == DONE

        for interrupt in (False, True):
            async with terminal(*attach, columns=60, rows=15) as there:
                await there.shows("leave it running")
                if interrupt:
                    there.press("\x03")
                else:
                    there.process.terminate()
                await there.gets(GIVEN_BACK)
            assert there.process.returncode == 130

        async with terminal(*attach, "--plain") as there:
            await there.shows("val_loss")
            there.press("\x03")
        assert there.process.returncode == 130
        assert TAKEN.encode() not in there.came

        async with terminal(*attach) as there:
            await there.shows("leave it running")
            there.press("c")
            await there.shows("y yes")
            there.press("n")
            await there.shows("stop early")
            there.press("s")
            await there.gets(GIVEN_BACK)
            await there.gets("succeeded")
        assert there.process.returncode == DONE


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
