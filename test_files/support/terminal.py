"""`halyard` at a terminal, and what a person would see there."""

import asyncio
import fcntl
import os
import struct
import termios
from contextlib import asynccontextmanager

import pyte

import programs

SOON = 60
# How a program takes the whole screen, and gives it back.
TAKEN, GIVEN_BACK = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """A terminal with a program at it."""

    def __init__(self, columns: int, rows: int):
        self.leader, self.follower = os.openpty()
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, size)
        self.came = bytearray()
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.process: asyncio.subprocess.Process | None = None

    def read(self) -> None:
        data = os.read(self.leader, 65536)
        self.came += data
        self.stream.feed(data)

    def press(self, keys: str) -> None:
        os.write(self.leader, keys.encode())

    @property
    def text(self) -> str:
        """What stands there now."""
        return "\n".join(self.screen.display)

    async def shows(self, words: str, seconds: float = SOON) -> None:
        """Waits until this stands there."""
        await self.until(lambda: words in self.text, words, seconds)

    async def gets(self, words: str, seconds: float = SOON) -> None:
        """Waits until this has come, whether or not it shows."""
        await self.until(lambda: words.encode() in self.came, repr(words), seconds)

    async def until(self, enough, what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not enough():
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise TimeoutError(f"{what} is not at the terminal:\n{self.text}") from None


@asynccontextmanager
async def terminal(*arguments: str, columns: int = 80, rows: int = 24):
    """`halyard` at a terminal, which must be left as it was found."""
    there = Terminal(columns, rows)
    before = termios.tcgetattr(there.follower)
    loop = asyncio.get_running_loop()
    there.process = process = await asyncio.create_subprocess_exec(
        str(programs.BIN_DIR / "halyard"),
        *arguments,
        stdin=there.follower,
        stdout=there.follower,
        stderr=there.follower,
        start_new_session=True,
        # So that Ctrl-C is a signal, where the program does not read keys.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    loop.add_reader(there.leader, there.read)
    try:
        yield there
        await asyncio.wait_for(process.wait(), SOON)
        assert termios.tcgetattr(there.follower) == before, "the terminal is as it was"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        loop.remove_reader(there.leader)
        os.close(there.leader)
        os.close(there.follower)
