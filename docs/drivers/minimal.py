#!/usr/bin/env python3
"""The smallest whole driver: a machine that is only numbers. Copy it and replace `Machine`.

halyard-worker standalone --driver "exec:python3 docs/drivers/minimal.py"
"""

import json
import queue
import signal
import sys
import threading
import time

REPORTS_EVERY = 0.05  # seconds; at least ten times a second


class Machine:
    """What you replace: something that goes where it is told, and can be asked how it is."""

    def __init__(self):
        self.linear = self.angular = 0.0
        self.lamp = False

    def go(self, linear: float, angular: float) -> None:
        """m/s forwards, rad/s to the left. Called only when it changes."""
        self.linear, self.angular = linear, angular

    def stop(self) -> None:
        """As hard as it can."""
        self.go(0.0, 0.0)


def say(word: dict) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def read_lines(words: queue.Queue) -> None:
    """The worker's words, and None when there will be no more: the worker is gone."""
    for line in sys.stdin:
        words.put(json.loads(line))
    words.put(None)


def command(machine: Machine, word: dict) -> None:
    try:
        if word["name"] != "lamp":
            raise ValueError(f"there is no command {word['name']}")
        machine.lamp = bool(word["args"]["on"])
        say({"type": "result", "id": word["id"], "ok": True, "result": {"lamp": machine.lamp}})
    except (KeyError, TypeError):
        error = 'accepted is {"on": true} or {"on": false}'
        refused = {"type": "result", "id": word["id"], "ok": False, "code": "bad_arguments"}
        say({**refused, "error": error})
    except ValueError as error:
        say({"type": "result", "id": word["id"], "ok": False, "error": str(error)})


def main() -> None:
    machine = Machine()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    try:
        drive(machine)
    finally:
        # Whatever the way out, an error among them.
        machine.stop()


def drive(machine: Machine) -> None:
    say(
        {
            "type": "hello",
            "protocol": 1,
            "name": "minimal",
            "velocity": {"max_linear": 1.0, "max_reverse": 0.5, "max_angular": 1.5},
            "commands": [{"name": "lamp", "help": 'Switch the lamp: {"on": true}.'}],
            "fields": [{"name": "lamp", "help": "whether the lamp is on", "reliable": True}],
        }
    )
    words: queue.Queue = queue.Queue()
    threading.Thread(target=read_lines, args=(words,), daemon=True).start()
    n, good_until, report_at = 0, 0.0, 0.0
    while True:
        try:
            word = words.get(timeout=0.02)
        except queue.Empty:
            word = {"type": "nothing"}
        if word is None or word["type"] == "quit":
            return
        elif word["type"] == "velocity":
            n = word["n"]
            good_until = time.monotonic() + word["valid_ms"] / 1000
            machine.go(word["linear"], word["angular"])
        elif word["type"] == "stop":
            machine.stop()
        elif word["type"] == "command":
            command(machine, word)
        # The one rule that keeps people safe when the worker, the network or the computer hangs:
        # without a new velocity in time the machine stands still.
        if time.monotonic() > good_until:
            machine.stop()
        if time.monotonic() > report_at:
            report_at = time.monotonic() + REPORTS_EVERY
            say(
                {
                    "type": "state",
                    "n": n,
                    "speed": machine.linear,
                    "angular_speed": machine.angular,
                    "values": {"lamp": machine.lamp},
                }
            )


if __name__ == "__main__":
    main()
