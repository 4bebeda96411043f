"""Measures how soon a trainer's report shows at the command line, and prints a table.

A trainer publishes reports with the time in them; `halyard attach --json` of another process reads
them through ZMQ, worker, event log, peer connection and standard output. Beside it, in the same run
and from the same socket's twin, a plain pyzmq subscriber is the floor: what ZMQ itself takes. Both
ends are on this machine, so there is one clock. Then the training is stopped, and the time from the
worker's word `stopping` to its word `succeeded` is taken.

REPORTS (3000) and PER_SECOND (200) in the environment change how long it takes; ROUNDS (3) rounds.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import zmq

from programs import json_line, logged, program, run

REPORTS = int(os.environ.get("REPORTS", "3000"))
PER_SECOND = float(os.environ.get("PER_SECOND", "200"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
TRAINER = Path(__file__).with_name("training_trainer.py")
END_SECONDS = 60

TEMPLATE = """
files = {files!r}
jobs_dir = {jobs!r}
video = "none"

[[job]]
name = "reports"
run = [{python!r}, {trainer!r}, "--reports", "{reports}", "--per-second", "{rate}",
       "--floor-port", "{{floor:int=1..65535}}",
       "--control-port", "{{control_port}}", "--progress-port", "{{progress_port}}"]
env = ["PATH"]
"""


class Floor:
    """A subscriber without anything behind it, in a thread of its own."""

    def __init__(self):
        self.socket = zmq.Context.instance().socket(zmq.SUB)
        self.socket.subscribe("")
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.ms: list[float] = []
        self.over = False
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.over:
            if self.socket.poll(100):
                report = json.loads(self.socket.recv_string())
                self.ms.append((time.time() - report["logs"]["loss"]) * 1000)
        self.socket.close(linger=0)

    def close(self):
        self.over = True
        self.thread.join()


async def measure(link: str) -> tuple[list[float], list[float], float]:
    """Milliseconds of each report at the command line and at the floor, and of the stop."""
    floor = Floor()
    sent = await run(
        *("halyard", "train", link, "--template", "reports", "--set", f"floor={floor.port}"),
        *("--detach", "--json"),
    )
    if sent.status:
        raise RuntimeError(sent.errors)
    job = next(line["job"] for line in sent.objects if line["event"] == "submitted")
    found, states = [], {}
    async with program("halyard", "attach", link, job, "--json", log="bench-attach") as attached:
        while line := await attached.stdout.readline():
            now = time.time()
            event = json.loads(line)
            if event.get("kind") == "progress":
                report = json.loads(event["report"])
                if report["event"] == "batch_end":
                    found.append((now - report["logs"]["loss"]) * 1000)
                elif report["event"] == "epoch_end":
                    # All reports are out; the trainer waits to be stopped.
                    asyncio.get_running_loop().create_task(run("halyard", "stop", link, job))
            elif event.get("kind") == "state":
                states[event["state"]] = event["at_ms"]
    floor.close()
    # The first ones waited for the command line to come.
    skipped = REPORTS // 10
    return found[skipped:], floor.ms[skipped:], states["succeeded"] - states["stopping"]


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def main() -> None:
    rows = {name: [] for name in ("p50", "p99", "floor p50", "floor p99", "stop")}
    counted = 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "files").mkdir()
        config = home / "worker.toml"
        words = {"files": str(home / "files"), "jobs": str(home / "jobs")}
        words |= {"python": sys.executable, "trainer": str(TRAINER)}
        words |= {"reports": REPORTS, "rate": PER_SECOND}
        config.write_text(TEMPLATE.format(**words), encoding="utf-8")
        async with program(
            *("halyard-server", "serve", "--listen", "127.0.0.1:0"),
            *("--data-dir", str(home / "server"), "--log-format", "json"),
            log="bench-server",
        ):
            address = (await logged("bench-server", r"serving .* at (http://[^\s\"]+)"))[1]
            async with program(
                *("halyard-worker", "run", "--server", address, "--config", str(config)),
                "--json",
                log="bench-worker",
            ) as worker:
                link = (await json_line(worker, "room"))["join_url"]
                for number in range(ROUNDS):
                    found, floor, stop = await asyncio.wait_for(
                        measure(link), REPORTS / PER_SECOND + END_SECONDS
                    )
                    counted += len(found)
                    for name, values in (("", found), ("floor ", floor)):
                        rows[f"{name}p50"].append(quantile(values, 0.5))
                        rows[f"{name}p99"].append(quantile(values, 0.99))
                    rows["stop"].append(stop)
                    print(
                        f"round {number + 1}: { ({k: v[-1] for k, v in rows.items()}) }",
                        file=sys.stderr,
                    )
    middle = {name: statistics.median(values) for name, values in rows.items()}
    print(f"### A report from the trainer to the command line, medians of {ROUNDS} rounds\n")
    print(f"{counted} reports at {PER_SECOND:.0f}/s; worker, broker and client on this machine.\n")
    print("| | Halyard | floor: pyzmq alone |")
    print("| --- | ---: | ---: |")
    for share in ("p50", "p99"):
        print(
            f"| publish to line, {share} | {middle[share]:.2f} ms "
            f"| {middle['floor ' + share]:.2f} ms |"
        )
    print(f"| from `stopping` to `succeeded` | {middle['stop']:.0f} ms | |")


if __name__ == "__main__":
    asyncio.run(main())
