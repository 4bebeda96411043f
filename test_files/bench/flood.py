"""Lets a job print a gigabyte, and prints a table: time, peak memory, and what is on the disk.

The job writes lines of 100 bytes to its standard output as fast as it can, while `halyard attach`
follows it. Beside it, in turns, the same program writes into a file of its own: what the program
and the disk need by themselves.

MB (1000) and RUNS (3) in the environment change how long it takes.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from programs import json_line, program, run

MB = int(os.environ.get("MB", "1000"))
RUNS = int(os.environ.get("RUNS", "3"))
LINE_BYTES = 100
LINES = MB * 1_000_000 // LINE_BYTES

FLOOD = f"""
import sys
block = ("x" * {LINE_BYTES - 1} + "\\n").encode() * 1000
for _ in range({LINES // 1000}):
    sys.stdout.buffer.write(block)
"""

TEMPLATE = """
files = {files!r}
jobs_dir = {jobs!r}
video = "none"

[[job]]
name = "flood"
run = [{python!r}, {program!r}]
gpus = 0
"""


@dataclass
class Run:
    """One flood."""

    seconds: float
    floor_seconds: float
    worker_peak_mib: float
    keeper_peak_mib: float
    worker_cpu: float
    events: int


def peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0  # it is a zombie by now


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def keepers(jobs: Path) -> list[int]:
    """The processes that keep this worker's jobs."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"keep-job" in line and str(jobs).encode() in line:
                found.append(int(entry.name))
    return found


async def floor(script: Path, folder: Path) -> float:
    """The same program with nobody behind it."""
    target = folder / "floor.log"
    with target.open("wb") as file:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=file)
        await process.wait()
        seconds = time.monotonic() - began
    target.unlink()
    return seconds


async def flood(link: str, pid: int, jobs: Path) -> tuple[float, float, float, float, int]:
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # a new high-water mark
    keeper_peak = 0.0

    async def watch() -> None:
        nonlocal keeper_peak
        while True:
            for keeper in keepers(jobs):
                with suppress(OSError):
                    keeper_peak = max(keeper_peak, peak_mib(keeper))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    before, began = cpu_seconds(pid), time.monotonic()
    sent = await run("halyard", "train", link, "--template", "flood", "--detach", "--json")
    if sent.status:
        raise RuntimeError(sent.errors)
    job = next(line["job"] for line in sent.objects if line["event"] == "submitted")
    async with program("halyard", "attach", link, job, "--json", log="bench-attach") as attached:
        events = (await attached.stdout.read()).count(b"\n")
        seconds = time.monotonic() - began
        if await attached.wait():
            raise RuntimeError("the job did not succeed")
    watching.cancel()
    size = (jobs / job / "stdout.log").stat().st_size
    if size != LINES * LINE_BYTES:
        raise RuntimeError(f"{size} bytes are on the disk, printed were {LINES * LINE_BYTES}")
    return seconds, peak_mib(pid), keeper_peak, cpu_seconds(pid) - before, events


async def main() -> None:
    runs = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TESTS_OUT")) as folder:
        home = Path(folder)
        (home / "files").mkdir()
        script, config = home / "flood.py", home / "worker.toml"
        script.write_text(FLOOD, encoding="utf-8")
        words = {"files": str(home / "files"), "jobs": str(home / "jobs")}
        words |= {"python": sys.executable, "program": str(script)}
        config.write_text(TEMPLATE.format(**words), encoding="utf-8")
        async with program(
            *("halyard-worker", "standalone", "--listen", "127.0.0.1:0", "--json"),
            *("--config", str(config)),
            log="bench-flood",
        ) as worker:
            link = (await json_line(worker, "room"))["join_url"]
            for number in range(RUNS):
                alone = await floor(script, home)
                seconds, *rest = await flood(link, worker.pid, home / "jobs")
                runs.append(Run(seconds, alone, *rest))
                print(f"run {number + 1}: {runs[-1]}", file=sys.stderr)

    def middle(value) -> float:
        return statistics.median(value(run) for run in runs)

    print(f"### A job that prints {MB} MB, followed meanwhile, medians of {RUNS} runs in turns\n")
    print(
        "| seconds, start to `succeeded` | into a file of its own | worker's peak MiB "
        "| keeper's peak MiB | worker's CPU s | events told |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    print(
        f"| {middle(lambda run: run.seconds):.1f} | {middle(lambda run: run.floor_seconds):.1f} "
        f"| {middle(lambda run: run.worker_peak_mib):.0f} "
        f"| {middle(lambda run: run.keeper_peak_mib):.0f} "
        f"| {middle(lambda run: run.worker_cpu):.1f} | {middle(lambda run: run.events):.0f} |"
    )
    print(f"\nAll {LINES * LINE_BYTES} bytes were on the disk in every run.")


if __name__ == "__main__":
    asyncio.run(main())
