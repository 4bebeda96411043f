"""Measures the broker beside floors that do nothing but relay, and prints tables.

Each server runs alone on the first core, the generator (server/examples/load) on the second. The
servers take turns, round after round, so that a machine which is faster for a while is that for all
of them; the tables have medians. Only the standard library is needed.

ROUNDS (3) and MEASURE_SECONDS (2) in the environment change how long it takes: about four minutes.
Everything measured goes to broker.jsonl in TESTS_OUT, too.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

BIN_DIR = Path(os.environ["TESTS_BIN_DIR"])
OUT = Path(os.environ["TESTS_OUT"])
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = os.environ.get("MEASURE_SECONDS", "2")
LOAD = BIN_DIR / "examples" / "load"
START_SECONDS = 15

# What would stop the generator: it is one address, one owner of many rooms, and very talkative.
LIMITS = {
    "HALYARD_MAX_CONNECTIONS": "60000",
    "HALYARD_MAX_CONNECTIONS_PER_ADDRESS": "60000",
    "HALYARD_HANDSHAKES_PER_MINUTE": "1000000000",
    "HALYARD_MESSAGES_PER_SECOND": "1000000000",
    "HALYARD_MAX_ROOMS_PER_IDENTITY": "100000",
    "HALYARD_LOG": "warn",
}

SCENARIOS = {
    "idle": ["idle"],
    "joins": ["joins", "--seconds", SECONDS],
    "relay 1": ["relay", "--in-flight", "1", "--seconds", SECONDS],
    "relay 8": ["relay", "--in-flight", "8", "--seconds", SECONDS],
    "paced": ["paced", "--seconds", SECONDS],
}
# Only where there are queues with bounds, and places to come back to.
BROKER_SCENARIOS = {
    "stopped": ["stopped-reader", "--seconds", SECONDS],
    "storm": ["storm"],
}

# Of which scenario, which figure, its name, and the mark.
ROWS = [
    ("idle", "kib_per_socket", "KiB for an idle registered socket, at 5,000", "4 (at most 10)"),
    ("joins", "joins_per_second", "joins/s, with authentication", "15,000"),
    ("joins", "server_cpu_us_per_join", "CPU µs for a join", ""),
    ("relay 1", "messages_per_second", "relayed/s, 1 in flight", "110,000"),
    ("relay 1", "server_cpu_us_per_message", "CPU µs for a message, 1 in flight", ""),
    ("relay 8", "messages_per_second", "relayed/s, 8 in flight", "500,000"),
    ("relay 8", "server_cpu_us_per_message", "CPU µs for a message, 8 in flight", ""),
    ("paced", "p50_us", "p50 µs at 2,000 messages/s", "90"),
    ("paced", "p99_us", "p99 µs at 2,000 messages/s", ""),
]
BROKER_ROWS = [
    ("stopped", "before_p50_us", "others' p50 µs before the flood", ""),
    ("stopped", "during_p50_us", "others' p50 µs during it", ""),
    ("stopped", "before_p99_us", "others' p99 µs before", ""),
    ("stopped", "during_p99_us", "others' p99 µs during it", ""),
    ("stopped", "p99_ratio", "their ratio", "1.5"),
    ("stopped", "growth_kib", "memory of the broker, KiB more", "1,024"),
    ("stopped", "close_code", "close code of the stopped reader", "4002"),
    ("storm", "back_per_second", "sockets back a second, of 2,000 that dropped at once", ""),
    ("storm", "p99_us", "p99 µs of coming back", ""),
]


def pinned(core: int, *command: str) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(kind: str):
    """One server on the first core; gives its process id and port."""
    port = free_port()
    listen = ("--listen", f"127.0.0.1:{port}")
    if kind == "halyard":
        command = [str(BIN_DIR / "halyard-server"), *listen]
    else:
        command = [str(LOAD), "floor", kind, *listen]
    with (OUT / f"server-{kind}.log").open("ab") as log:
        process = subprocess.Popen(
            pinned(0, *command), stdout=log, stderr=log, env={**os.environ, **LIMITS}
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{kind} did not start; see {OUT}") from None
                time.sleep(0.02)
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def measure(kind: str, arguments: list[str]) -> dict:
    with server(kind) as (pid, port):
        command = [str(LOAD), *arguments, "--json", "--pid", str(pid)]
        command += ["--url", f"http://127.0.0.1:{port}"]
        if kind != "halyard":
            command.append("--bare")
        result = subprocess.run(
            pinned(1, *command), stdout=subprocess.PIPE, timeout=180, check=True, text=True
        )
        return json.loads(result.stdout)


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def main() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("two cores are needed: one for the server, one for the generator")
    kinds = ["halyard", "json", "verbatim", "raw"]
    figures = defaultdict(list)
    with (OUT / "broker.jsonl").open("w") as record:
        for number in range(ROUNDS):
            for scenario, arguments in {**SCENARIOS, **BROKER_SCENARIOS}.items():
                for kind in kinds if scenario in SCENARIOS else ["halyard"]:
                    found = measure(kind, arguments)
                    found |= {"server": kind, "round": number + 1}
                    record.write(json.dumps(found) + "\n")
                    print(found, file=sys.stderr)
                    for name, value in found.items():
                        figures[kind, scenario, name].append(value)

    def middle(kind: str, scenario: str, name: str) -> float | None:
        values = [value for value in figures[kind, scenario, name] if value is not None]
        return statistics.median(values) if values else None

    print(f"### The broker and its floors, medians of {ROUNDS} rounds in turns\n")
    print(
        "| | broker | floor: JSON | floor: verbatim | floor: epoll | broker / JSON floor | mark |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for scenario, name, title, mark in ROWS:
        values = [middle(kind, scenario, name) for kind in kinds]
        ratio = values[0] / values[1] if values[0] and values[1] else None
        cells = [*map(shown, values), f"{ratio:.2f}" if ratio else "-", mark]
        print(f"| {title} | {' | '.join(cells)} |")
    print("\n### One stopped reader under a flood of 2,000 MiB, and a storm of reconnects\n")
    print("| | broker | mark |")
    print("| --- | ---: | ---: |")
    for scenario, name, title, mark in BROKER_ROWS:
        value = middle("halyard", scenario, name)
        cell = f"{value:.0f}" if name == "close_code" and value else shown(value)
        print(f"| {title} | {cell} | {mark} |")


if __name__ == "__main__":
    main()
