"""What must stop a machine, with whole programs: operators that die, drivers that go wrong."""

import asyncio
import json
import signal
import sys
import time
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from room import Room

import programs

HERE = Path(__file__).resolve().parent

# The watchdog, the ramp, one report on its way, and a busy machine's manners; the rules themselves
# allow half a second and a quarter.
STANDS_WITHIN = 1.5

# How busy this machine is, is not what is tested: the driver has to watch all the same.
PICTURE = ("--max-picture-age", "5s")


@asynccontextmanager
async def worker(tmp_path: Path, *arguments: str, environment: dict | None = None):
    async with programs.program(
        "halyard-worker",
        *("standalone", "--listen", "127.0.0.1:0", "--json", *arguments),
        log=f"safety-{tmp_path.name}",
        environment=environment,
    ) as process:
        said = await programs.json_line(process, "room")
        yield process, Room(said, tmp_path, tmp_path / "home")


class Watching:
    """`halyard telemetry` of a viewer, read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process):
        self.process = process

    async def until(self, what: str, wanted) -> tuple[dict, float]:
        async with asyncio.timeout(30):
            while line := await self.process.stdout.readline():
                told = json.loads(line)
                if wanted(told):
                    return told, time.monotonic()
        raise AssertionError(f"telemetry ended before {what}")


@asynccontextmanager
async def watching(room: Room):
    async with programs.program(
        "halyard", "telemetry", room.viewer, "--json", log="watching"
    ) as process:
        yield Watching(process)


@asynccontextmanager
async def driving(room: Room, seconds: str = "60s"):
    """`halyard drive` in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(str(programs.BIN_DIR / "halyard"), "drive", room.operator, "--linear", "0.5"),
        *("--for", seconds, "--json"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_operator_who_is_killed_or_frozen_stops_the_machine(tmp_path: Path, how):
    async with worker(tmp_path, *PICTURE) as (_, room), watching(room) as viewer:
        async with driving(room) as operator:
            await viewer.until("motion", lambda told: told["speed"] > 0.4)
            since = time.monotonic()
            operator.send_signal(how)
            told, stood = await viewer.until("the stop", lambda told: told["speed"] == 0)
        print(f"{how.name}: it stood after {stood - since:.2f} s")
        assert stood - since < STANDS_WITHIN
        assert told["stopped"] == "watchdog", told
        counted = await status(room)
        assert counted["drive"]["counts"]["trips"]["watchdog"] == 1, counted


async def test_the_command_line_says_by_which_rule_it_was_stopped(tmp_path: Path):
    async with worker(tmp_path, *PICTURE) as (_, room), watching(room) as viewer:
        async with driving(room) as operator:
            await viewer.until("motion", lambda told: told["speed"] > 0.4)
            async with driving(room, "1s") as other:
                said, _ = await other.communicate()
                assert other.returncode == 4, "one operator at a time"
                assert json.loads(said.splitlines()[-1])["event"] == "error"
            estop = await programs.run("halyard", "estop", room.viewer)
            assert estop.status == 0, estop.errors
            said, words = await asyncio.wait_for(operator.communicate(), 30)
        assert operator.returncode == 4
        ended = json.loads(said.splitlines()[-1])
        assert (ended["event"], ended["code"]) == ("error", "estop"), ended
        assert "picture" in words.decode() and "m/s" in words.decode(), "a line of state"
        cleared = await programs.run("halyard", "estop", "--clear", room.operator)
        assert cleared.status == 0, cleared.errors
        await viewer.until("a clear", lambda told: not told["estop"])
        refused = await programs.run("halyard", "estop", "--clear", room.viewer)
        assert refused.status == 4, "only an operator clears"


async def status(room: Room) -> dict:
    """`GET /status` of a standalone worker."""
    address = room.operator.split("/r/")[0]
    headers = {"Authorization": f"Bearer {room.said['token']}"}

    def get() -> dict:
        request = urllib.request.Request(f"{address}/status", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(get)


def driver(diary: Path) -> tuple[str, str, str, str]:
    program = f"exec:{sys.executable} {HERE / 'bad_driver.py'} {diary}"
    return ("--driver", program, "--video", "none")


def speeds(diary: Path) -> list[tuple[float, float]]:
    lines = [line.split() for line in diary.read_text(encoding="utf-8").splitlines()]
    return [(float(when), float(speed)) for when, speed in lines]


async def test_a_program_of_its_owner_drives_the_machine(tmp_path: Path):
    diary = tmp_path / "diary"
    slow = {"SLOW_START": "2"}
    started = worker(tmp_path, *driver(diary), environment=slow)
    async with started as (_, room), watching(room) as viewer:
        drove = await room.halyard("drive", room.operator, "--linear", "9", "--for", "1s", "--json")
        assert drove.status == 0, drove.errors
        await viewer.until("the stop", lambda told: told["speed"] == 0)
        fastest = max(speed for _, speed in speeds(diary))
        assert fastest == 1.0, "the program's own limit"
        done = await room.halyard("command", room.operator, "lamp", '{"on": true}', "--json")
        assert done.objects[0]["result"] == {"lamp": True}
        await viewer.until("its own field", lambda told: told["lamp"] is True)
        wrong = await room.halyard("command", room.operator, "lamp", '{"off": 1}', "--json")
        assert wrong.objects[0]["code"] == "bad_arguments"
        assert "accepted is" in wrong.objects[0]["message"]
        garbage = await room.halyard("command", room.operator, "garbage", "--json")
        assert garbage.status == 0, "what is no word of ours is passed over"
        log = programs.log_path(f"safety-{tmp_path.name}").read_text(encoding="utf-8")
        assert "no word of ours" in log


@pytest.mark.parametrize("fault", ["hang", "crash", "long_line", "flood", "deaf"])
async def test_a_driver_that_goes_wrong_stops_the_machine_and_comes_back(
    tmp_path: Path, fault: str
):
    diary = tmp_path / "diary"
    async with worker(tmp_path, *driver(diary)) as (_, room), watching(room) as viewer:
        async with driving(room) as operator:
            await viewer.until("motion", lambda told: told["speed"] > 0.4)
            since = time.monotonic()
            command = asyncio.create_task(
                room.halyard("command", room.operator, fault, "--json", "--deadline", "1s")
            )
            await viewer.until("a stop", lambda told: told["stopped"] == "driver")
            said, _ = await asyncio.wait_for(operator.communicate(), 30)
            ended = json.loads(said.splitlines()[-1])
            assert ended["code"] == "driver", ended
        await viewer.until("a driver that is back", lambda told: told["stopped"] is None)
        stops = [when for when, speed in speeds(diary) if speed == 0 and when > since]
        if fault in ("hang", "deaf"):
            assert stops, "the program had to stop the machine on its way out"
        await command
        drove = await room.halyard("drive", room.operator, "--linear", "0.5", "--for", "500ms")
        assert drove.status == 0, drove.errors


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_without_its_worker_the_machine_stands(tmp_path: Path, how):
    diary = tmp_path / "diary"
    async with worker(tmp_path, *driver(diary)) as (process, room):
        async with watching(room) as viewer, driving(room):
            await viewer.until("motion", lambda told: told["speed"] > 0.4)
            process.send_signal(how)
            since = time.monotonic()
            await process.wait()

        async def stood() -> float:
            while (last := speeds(diary)[-1])[1] != 0:
                await asyncio.sleep(0.02)
            return last[0]

        when = await asyncio.wait_for(stood(), 10)
        print(f"{how.name}: the program stopped its machine after {when - since:.2f} s")
        assert when - since < STANDS_WITHIN


async def test_a_driver_that_is_none_is_told_with_what_it_said(tmp_path: Path):
    for command, words in [
        ("exec:/no/such/program", "cannot start the driver program"),
        ("exec:false", "it ended with code 1"),
        ('exec:echo \'{"type":"state","n":1}\'', "its first word was not hello"),
        ('exec:echo "', "accepted"),
    ]:
        ended = await programs.run(
            *("halyard-worker", "standalone", "--listen", "127.0.0.1:0"),
            *("--video", "none", "--driver", command),
        )
        assert ended.status != 0
        assert words in ended.errors, ended.errors
