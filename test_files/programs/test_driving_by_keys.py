"""`halyard drive` at a terminal: keys that repeat are the hand on the controls."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from room import Room
from terminal import GIVEN_BACK, TAKEN, terminal

import programs

# A key that was heard once counts for 0.6 s; then the ramp, a report, and a busy machine's manners.
STANDS_WITHIN = 3.0

# How busy this machine is, is not what is tested.
WIDE = ("--max-picture-age", "5s", "--max-command-age", "2s")


@asynccontextmanager
async def rover(tmp_path: Path):
    async with programs.program(
        "halyard-worker",
        *("standalone", "--listen", "127.0.0.1:0", "--json", *WIDE),
        log="driving-by-keys",
    ) as process:
        room = Room(await programs.json_line(process, "room"), tmp_path, tmp_path / "home")
        async with programs.program(
            "halyard", "telemetry", room.viewer, "--json", log="driving-by-keys-viewer"
        ) as viewer:
            yield room, viewer


async def until(viewer, what: str, wanted, seconds: float = 60) -> dict:
    async with asyncio.timeout(seconds):
        while line := await viewer.stdout.readline():
            told = json.loads(line)
            if wanted(told):
                return told
    raise AssertionError(f"telemetry ended before {what}")


@asynccontextmanager
async def held(press, key: str):
    """A key that is down: it repeats, 25 times a second."""

    async def repeat():
        while True:
            press(key)
            await asyncio.sleep(0.04)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def driven(there, viewer, key: str, wanted):
    """A key is down and the machine follows. A busy machine may stop it at once: then again."""
    for _ in range(6):
        async with held(there.press, key):
            moves = False
            with suppress(TimeoutError):
                moves = bool(await until(viewer, "motion", wanted, 8))
            if moves:
                yield
                return
        await asyncio.sleep(1)
    raise AssertionError(f"{key!r} moves nothing:\n{there.text}")


async def test_a_key_that_repeats_drives_and_silence_stops(tmp_path: Path):
    async with rover(tmp_path) as (room, viewer):
        async with terminal("drive", room.operator) as there:
            await there.gets(TAKEN)
            await there.shows("you drive")
            await there.shows("ms old")
            async with driven(there, viewer, "w", lambda told: told["speed"] > 0.3):
                # Well past the time that one word counts.
                told = await until(viewer, "motion", lambda told: told["speed"] > 0)
                since = told["seq"]
                later = await until(viewer, "a second", lambda told: told["seq"] > since + 20)
                assert later["speed"] > 0.3, "as long as it repeats"
                await there.shows("driving")
            let_go = time.monotonic()
            stood = await until(viewer, "the stop", lambda told: told["speed"] == 0)
            took = time.monotonic() - let_go
            print(f"it stood {took:.2f} s after the last repetition")
            assert took < STANDS_WITHIN
            assert stood["stopped"] is None, "letting go is no trip"
            assert stood["driver"] is not None, "and keeps the controls"

            async with driven(there, viewer, "\x1b[D", lambda told: told["angular_speed"] > 0.3):
                there.press("e")
                await until(viewer, "the e-stop", lambda told: told["estop"])
            await there.shows("EMERGENCY STOP, pressed by")
            there.press("c")
            clear = await until(viewer, "its clearing", lambda told: not told["estop"])
            # The hand has to come off once, and it does when no key is heard any more.
            await until(viewer, "hands off", lambda told: told["seq"] > clear["seq"] + 20)
            async with driven(there, viewer, "s", lambda told: told["speed"] < -0.1):
                there.press(" ")
            await until(viewer, "a stop", lambda told: told["speed"] == 0)

            there.press("l")
            await until(viewer, "free controls", lambda told: told["driver"] is None)
            await there.shows("nobody drives")
            there.press("l")
            await until(viewer, "controls", lambda told: told["driver"] is not None)
            there.press("q")
            await there.gets(GIVEN_BACK)
        assert there.process.returncode == 0
        await until(viewer, "free controls", lambda told: told["driver"] is None)


async def test_a_terminal_that_is_closed_or_interrupted_stops_the_machine(tmp_path: Path):
    async with rover(tmp_path) as (room, viewer):
        for end in (lambda there: there.press("\x03"), lambda there: there.process.terminate()):
            async with terminal("drive", room.operator) as there:
                await there.shows("you drive")
                await there.shows("ms old")
                async with driven(there, viewer, "w", lambda told: told["speed"] > 0.3):
                    end(there)
                await until(viewer, "the stop", lambda told: told["speed"] == 0)
                await there.gets(GIVEN_BACK)
            assert there.process.returncode == 130
            await until(viewer, "free controls", lambda told: told["driver"] is None)
        for words in (["--plain"], ["--linear", "0"]):
            async with terminal("drive", room.operator, *words) as there:
                await there.shows("drove")
                with pytest.raises(TimeoutError):
                    await there.gets(TAKEN, 0.2)
            assert there.process.returncode == 0
