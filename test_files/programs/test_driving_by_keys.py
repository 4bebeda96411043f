"""`halyard drive` at a terminal: keys that repeat are the hand on the controls."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from room import Room
from terminal import GIVEN_BACK, TAKEN, terminal

import programs

# A key that was heard once counts for 0.6 s; then the ramp, a report, and a busy machine's manners.
STANDS_WITHIN = 2.0

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


async def until(viewer, what: str, wanted) -> dict:
    async with asyncio.timeout(60):
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


async def test_a_key_that_repeats_drives_and_silence_stops(tmp_path: Path):
    async with rover(tmp_path) as (room, viewer):
        async with terminal("drive", room.operator) as there:
            await there.gets(TAKEN)
            await there.shows("you drive")
            await there.shows("ms old")
            async with held(there.press, "w"):
                await until(viewer, "motion", lambda told: told["speed"] > 0.3)
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

            async with held(there.press, "\x1b[D"):
                await until(viewer, "a turn", lambda told: told["angular_speed"] > 0.3)
                there.press("e")
                await until(viewer, "the e-stop", lambda told: told["estop"])
            await there.shows("EMERGENCY STOP, pressed by")
            there.press("c")
            clear = await until(viewer, "its clearing", lambda told: not told["estop"])
            # The hand has to come off once, and it does when no key is heard any more.
            await until(viewer, "hands off", lambda told: told["seq"] > clear["seq"] + 20)
            async with held(there.press, "s"):
                await until(viewer, "backwards", lambda told: told["speed"] < -0.1)
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


async def test_who_asks_for_no_keys_gets_none(tmp_path: Path):
    async with rover(tmp_path) as (room, _):
        for words in (["--plain"], ["--linear", "0"]):
            async with terminal("drive", room.operator, *words) as there:
                await there.shows("drove")
                with pytest.raises(TimeoutError):
                    await there.gets(TAKEN, 0.2)
            assert there.process.returncode == 0
