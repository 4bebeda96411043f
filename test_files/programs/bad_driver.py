"""docs/drivers/minimal.py with commands that make it go wrong, and a diary of what it did.

The diary has a line for each change of speed: when, by the clock that every process of a computer
shares, and how fast. Its path is the only argument.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "drivers"))
import minimal

diary = Path(sys.argv[1])
first_command, first_say = minimal.command, minimal.say
FAULTS = ["hang", "crash", "garbage", "long_line", "flood", "deaf"]


class Machine(minimal.Machine):
    def go(self, linear: float, angular: float) -> None:
        if (linear, angular) != (self.linear, self.angular):
            with diary.open("a", encoding="utf-8") as page:
                page.write(f"{time.monotonic()} {linear}\n")
        super().go(linear, angular)


is_deaf = False


def say(word: dict) -> None:
    if word["type"] == "hello":
        time.sleep(float(os.environ.get("SLOW_START", "0")))
        word["commands"] += [{"name": fault, "moves": False} for fault in FAULTS]
    if word["type"] == "state" and is_deaf:
        word["n"] = 0
    first_say(word)


def command(machine: Machine, word: dict) -> None:
    global is_deaf  # noqa: PLW0603
    match word["name"]:
        case "hang":
            time.sleep(3600)
        case "crash":
            os._exit(3)
        case "garbage":
            print("Traceback (most recent call last):\n{]\n\x00\xff", flush=True)
            first_say({"type": "result", "id": word["id"], "ok": True})
        case "long_line":
            for _ in range(100):
                os.write(1, b"x" * 1_000_000)
        case "flood":
            while True:
                first_say({"type": "state", "n": 0})
        case "deaf":
            is_deaf = True
        case _:
            first_command(machine, word)


minimal.Machine, minimal.say, minimal.command = Machine, say, command
minimal.main()
