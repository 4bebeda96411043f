#!/usr/bin/env python3
"""Drives a motor board on a serial port with two wheels, without any library.

Not tried on a board: only its syntax is checked, and its arithmetic when run with --check. The
board is taken to understand lines like "M 0.25 -0.25" (m/s of the left and the right wheel) and "S"
(stop), and to stop by itself when it hears nothing for 300 ms. Change `wheels` and `Board` to what
yours says.

halyard-worker standalone --driver "exec:python3 serial_board.py /dev/ttyUSB0 115200"
"""

import json
import os
import select
import signal
import sys
import termios
import time
import tty

TRACK = 0.30  # metres between the wheels
FASTEST = 0.6  # m/s of one wheel


def wheels(linear: float, angular: float) -> tuple[float, float]:
    """m/s of the left and the right wheel. When one would be too fast both are slowed, so that the
    machine goes the same way."""
    left, right = linear - angular * TRACK / 2, linear + angular * TRACK / 2
    most = max(abs(left), abs(right), FASTEST)
    return left * FASTEST / most, right * FASTEST / most


class Board:
    def __init__(self, path: str, baud: int):
        self.port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.port)
        settings = termios.tcgetattr(self.port)
        settings[4] = settings[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(self.port, termios.TCSANOW, settings)

    def go(self, linear: float, angular: float) -> None:
        left, right = wheels(linear, angular)
        self.write(f"M {left:.3f} {right:.3f}\n")

    def stop(self) -> None:
        self.write("S\n")

    def write(self, line: str) -> None:
        # A board that takes nothing is not waited for: the worker hears that this program is late.
        _, writable, _ = select.select([], [self.port], [], 0.1)
        if writable:
            os.write(self.port, line.encode())


def say(word: dict) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def main(path: str, baud: int) -> None:
    board = Board(path, baud)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        drive(board)
    finally:
        # Whatever the way out, an error among them.
        board.stop()


def drive(board: Board) -> None:
    turning = 2 * FASTEST / TRACK
    say(
        {
            "type": "hello",
            "protocol": 1,
            "name": "serial board",
            "velocity": {"max_linear": FASTEST, "max_angular": turning, "linear_acceleration": 1.0},
        }
    )
    n, good_until, speed, angular = 0, 0.0, 0.0, 0.0
    left_over = b""
    while True:
        readable, _, _ = select.select([sys.stdin], [], [], 0.05)
        if readable:
            read = os.read(sys.stdin.fileno(), 65536)
            if not read:
                return  # the worker is gone
            *lines, left_over = (left_over + read).split(b"\n")
            for word in map(json.loads, lines):
                if word["type"] == "velocity":
                    n, speed, angular = word["n"], word["linear"], word["angular"]
                    good_until = time.monotonic() + word["valid_ms"] / 1000
                    board.go(speed, angular)
                elif word["type"] == "stop":
                    speed = angular = 0.0
                    board.stop()
                elif word["type"] == "quit":
                    return
        if time.monotonic() > good_until:
            # Without a new velocity in time the machine stands still.
            speed = angular = 0.0
            board.stop()
        # The board does not tell how fast it really is; what it was told is the best there is.
        say({"type": "state", "n": n, "speed": speed, "angular_speed": angular})


def check() -> None:
    assert wheels(0.0, 0.0) == (0.0, 0.0)
    assert wheels(0.3, 0.0) == (0.3, 0.3)
    left, right = wheels(0.0, 1.0)
    assert abs(left + right) < 1e-9 and right > 0, "to the left the right wheel goes forwards"
    left, right = wheels(5.0, 1.0)
    assert abs(right - FASTEST) < 1e-9 and left < right, "too fast is slowed, not bent"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        check()
    elif len(sys.argv) == 3:
        main(sys.argv[1], int(sys.argv[2]))
    else:
        sys.exit("usage: serial_board.py /dev/ttyUSB0 115200, or --check")
