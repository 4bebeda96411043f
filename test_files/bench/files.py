"""Moves one file between two Rust ends and between two aiortc ends, in turns, and prints tables.

Rust: `halyard send LINK FILE` to a `halyard-worker standalone --video none` and `halyard get` back,
the whole life of the client's process included. aiortc: two processes that speak the original's
chunk protocol, from the open channel to the receiver's answer. Then how long commands wait for
their answers on a connection that carries a file at the same time.

RUNS (3) and MIB (1024) in the environment change how long it takes. aiortc is given a smaller file,
because it is so much slower: AIORTC_MIB, an eighth unless told otherwise.
"""

import asyncio
import hashlib
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from programs import BIN_DIR, json_line, program

RUNS = int(os.environ.get("RUNS", "3"))
MIB = int(os.environ.get("MIB", "1024"))
AIORTC_MIB = int(os.environ.get("AIORTC_MIB", str(max(1, MIB // 8))))
HERE = Path(__file__).resolve().parent


@dataclass
class Run:
    """One transfer: how much of a file in how many seconds, and what each end spent on it."""

    mib: int
    seconds: float
    sender_cpu: float
    receiver_cpu: float
    sender_peak_kib: int
    receiver_peak_kib: int


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/status has no VmHWM")


@asynccontextmanager
async def worker(files: Path):
    async with program(
        "halyard-worker",
        *("standalone", "--listen", "127.0.0.1:0", "--video", "none", "--json"),
        *("--files", str(files)),
        log="bench-files",
    ) as process:
        yield process.pid, (await json_line(process, "room"))["join_url"]


async def rust(worker_pid: int, words: list[str], check_file: Path, sha256: str) -> Run:
    """One command of `halyard`. The file that it made is looked at and removed."""
    Path(f"/proc/{worker_pid}/clear_refs").write_text("5")  # a new high-water mark
    before, began = cpu_seconds(worker_pid), time.monotonic()
    arguments = [str(BIN_DIR / "halyard"), *words]
    pid = os.posix_spawn(
        arguments[0],
        arguments,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)],
    )
    _, status, usage = await asyncio.to_thread(os.wait4, pid, 0)
    seconds = time.monotonic() - began
    if status != 0:
        raise RuntimeError(f"halyard {words[0]} ended with {os.waitstatus_to_exitcode(status)}")
    check(check_file, sha256)
    worker = (cpu_seconds(worker_pid) - before, peak_kib(worker_pid))
    client = (usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
    (out_cpu, out_peak), (in_cpu, in_peak) = (
        (client, worker) if words[0] == "send" else (worker, client)
    )
    return Run(MIB, seconds, out_cpu, in_cpu, out_peak, in_peak)


async def busy(link: str, source: Path) -> dict:
    process = await asyncio.create_subprocess_exec(
        *(str(BIN_DIR / "examples" / "busy"), link, str(source)),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"busy ended with {process.returncode}")
    return json.loads(out)


async def aiortc(source: Path, files: Path, sha256: str) -> Run:
    target = files / "aiortc.bin"

    async def end(role: str, path: Path):
        return await asyncio.create_subprocess_exec(
            *(sys.executable, str(HERE / "aiortc_end.py"), role, str(path)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    async def hear(process) -> dict:
        return json.loads(await process.stdout.readline())

    def tell(process, message: dict) -> None:
        process.stdin.write(json.dumps(message).encode() + b"\n")

    sender, receiver = await end("send", source), await end("receive", target)
    tell(receiver, await hear(sender))
    tell(sender, await hear(receiver))
    await hear(sender)
    began = time.monotonic()
    received, sent = await asyncio.gather(hear(receiver), hear(sender))
    seconds = time.monotonic() - began
    tell(receiver, {})
    await asyncio.gather(sender.wait(), receiver.wait())
    check(target, sha256)
    target.unlink()
    return Run(
        AIORTC_MIB,
        seconds,
        sent["cpu_seconds"],
        received["cpu_seconds"],
        sent["peak_kib"],
        received["peak_kib"],
    )


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, sha256: str) -> None:
    if digest(path) != sha256:
        raise RuntimeError(f"{path} is not what was sent")


def write(path: Path, mib: int) -> str:
    """Makes a file that no compression helps with, and says what it is."""
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1024 * 1024))
    return digest(path)


def megabytes(run: Run) -> float:
    return run.mib * 1024 * 1024 / 1e6


def middle_rate(runs: list[Run]) -> float:
    return statistics.median(megabytes(run) / run.seconds for run in runs)


def row(name: str, runs: list[Run], floor: float) -> str:
    def middle(value) -> float:
        return statistics.median(value(run) for run in runs)

    rate = middle_rate(runs)
    sender = middle(lambda run: run.sender_cpu / megabytes(run) * 1000)
    receiver = middle(lambda run: run.receiver_cpu / megabytes(run) * 1000)
    peak_out = middle(lambda run: run.sender_peak_kib / 1024)
    peak_in = middle(lambda run: run.receiver_peak_kib / 1024)
    return (
        f"| {name} | {runs[0].mib} | {rate:.1f} | {sender:.1f} | {receiver:.1f} "
        f"| {peak_out:.0f} | {peak_in:.0f} | {rate / floor:.1f} |"
    )


async def main() -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TESTS_OUT")) as folder:
        files = Path(folder) / "files"
        files.mkdir()
        source, smaller = Path(folder) / "recording.bin", Path(folder) / "smaller.bin"
        sha256, smaller_sha256 = write(source, MIB), write(smaller, AIORTC_MIB)
        up, down, theirs, waits = [], [], [], []
        async with worker(files) as (pid, link):
            there, back = files / source.name, Path(folder) / "back"
            back.mkdir()
            for number in range(RUNS):
                up.append(await rust(pid, ["send", link, str(source)], there, sha256))
                words = ["get", link, source.name, "--output", f"{back}/"]
                down.append(await rust(pid, words, back / source.name, sha256))
                there.unlink()
                (back / source.name).unlink()
                theirs.append(await aiortc(smaller, files, smaller_sha256))
                waits.append(await busy(link, source))
                (files / "busy.bin").unlink()
                print(
                    f"run {number + 1}: {up[-1]} {down[-1]} {theirs[-1]} {waits[-1]}",
                    file=sys.stderr,
                )
    print(f"### One file over loopback, disk to disk, medians of {RUNS} runs in turns\n")
    print(
        "| ends | MiB | MB/s | CPU s/GB out | CPU s/GB in | peak MiB out | peak MiB in "
        "| times aiortc |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    floor = middle_rate(theirs)
    print(row("halyard send -> halyard-worker", up, floor))
    print(row("halyard-worker -> halyard get", down, floor))
    print(row("aiortc -> aiortc, the original's chunks", theirs, floor))
    print("\nThe marks: 250 MB/s, at most 3 CPU s/GB a side, 25 times aiortc.")
    print(f"\n### Commands answered while {MIB} MiB go up on the same connection\n")
    print("| commands | p50 ms | p99 ms | worst ms | MB/s of the file | mark |")
    print("| ---: | ---: | ---: | ---: | ---: | --- |")
    middle = {key: statistics.median(wait[key] for wait in waits) for key in waits[0]}
    print(
        f"| {middle['questions']:.0f} | {middle['p50_ms']:.1f} | {middle['p99_ms']:.1f} "
        f"| {middle['max_ms']:.1f} | {middle['megabytes_per_second']:.0f} | p99 below 50 ms |"
    )


if __name__ == "__main__":
    asyncio.run(main())
