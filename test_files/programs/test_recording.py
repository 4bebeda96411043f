"""What a worker writes down with --record, read back with ffprobe and ffmpeg."""

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from room import Room

import programs

PATIENT = ("--max-picture-age", "5s")


@asynccontextmanager
async def recording(tmp_path: Path, folder: Path, *arguments: str):
    async with programs.program(
        "halyard-worker",
        *("standalone", "--listen", "127.0.0.1:0", "--json", "--record", str(folder)),
        *PATIENT,
        *arguments,
        log=f"recording-{tmp_path.name}",
    ) as process:
        said = await programs.json_line(process, "room")
        yield process, Room(said, tmp_path, tmp_path / "home")


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode() + errors.decode()


async def status(room: Room) -> dict:
    address = room.operator.split("/r/")[0]
    headers = {"Authorization": f"Bearer {room.said['token']}"}
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{address}/status", headers=headers)).json()


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def test_a_killed_worker_leaves_a_recording_that_plays(tmp_path: Path):
    folder = tmp_path / "recorded"
    async with recording(tmp_path, folder) as (process, room):
        drove = await room.halyard("drive", room.operator, "--linear", "0.5", "--for", "3s")
        assert drove.status == 0, drove.errors
        told = (await status(room))["recording"]
        assert told["dir"] == str(folder) and told["trouble"] is None and told["lost"] == 0
        assert len(told["files"]) == 2
        process.send_signal(signal.SIGKILL)
        await process.wait()
    (video,) = folder.glob("*.mp4")
    (written,) = folder.glob("*.jsonl")
    assert video.stem == written.stem

    # Every frame is decoded; an error would stand before the JSON.
    probed = json.loads(
        await run(
            *("ffprobe", "-v", "error", "-of", "json", "-count_frames"),
            *("-show_entries", "stream=codec_name,width,height,nb_read_frames:format=duration"),
            *("-show_entries", "format=start_time", str(video)),
        )
    )
    (stream,) = probed["streams"]
    assert (stream["codec_name"], stream["width"], stream["height"]) == ("h264", 1280, 720)
    assert int(stream["nb_read_frames"]) > 10

    said = lines(written)
    assert said[0]["kind"] == "start" and said[0]["schema"]["fields"]
    times = [line["t"] for line in said]
    assert times == sorted(times)
    events = [line["what"]["event"] for line in said if line["kind"] == "event"]
    assert events.count("lease") == 2, events
    telemetry = [line for line in said if line["kind"] == "telemetry"]
    moving = [line["t"] for line in telemetry if line["what"]["speed"] > 0.1]
    # One time base: the picture spans what was driven.
    start = float(probed["format"]["start_time"])
    end = start + float(probed["format"]["duration"])
    assert 0 <= start < moving[0] < end, (start, moving[0], end)
    assert telemetry[-1]["t"] < end + 5


async def test_the_oldest_recordings_make_room_and_nothing_else_does(tmp_path: Path):
    folder = tmp_path / "recorded"
    folder.mkdir()
    old = [folder / f"halyard-19700101T00000{n}Z-0001-sim.mp4" for n in range(3)]
    mine = folder / "holiday.mp4"
    for path in [*old, mine]:
        path.write_bytes(bytes(6 * 1024 * 1024))
    async with recording(
        tmp_path, folder, "--record-max", "16MiB", "--video", "none", "--driver", "sim"
    ) as (_, room):
        async with asyncio.timeout(30):
            while not (await status(room))["recording"]["files"]:
                await asyncio.sleep(0.05)
    # 18 MiB of old ones, and room for a part of 2 MiB.
    assert [path.exists() for path in old] == [False, True, True]
    assert mine.exists()


async def test_a_full_disk_is_told_and_driving_goes_on(tmp_path: Path):
    full = tmp_path / "full"
    full.mkdir()
    log = f"recording-{tmp_path.name}"
    # A disk of its own, which only this program sees.
    script = f'mount -t tmpfs -o size=200k none {full} && exec "$@"'
    worker = ("halyard-worker", "standalone", "--listen", "127.0.0.1:0", "--json")
    with programs.log_path(log).open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", "sh", "-c", script, "sh"),
            *(str(programs.BIN_DIR / worker[0]), *worker[1:], "--record", str(full), *PATIENT),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        try:
            said = await programs.json_line(process, "room")
            room = Room(said, tmp_path, tmp_path / "home")
            async with asyncio.timeout(60):
                while (told := (await status(room))["recording"])["trouble"] is None:
                    await asyncio.sleep(0.1)
            assert "No space left" in told["trouble"] and told["lost"] > 0
            drove = await room.halyard("drive", room.operator, "--linear", "0.5", "--for", "1s")
            assert drove.status == 0, drove.errors
            assert (await status(room))["drive"]["counts"]["trips"] == {}
            # It is tried again, for days if need be, and each time leaves nothing behind.
            inside = Path(f"/proc/{process.pid}/root{full}")
            names, changed = sorted(inside.iterdir()), inside.stat().st_mtime_ns
            async with asyncio.timeout(30):
                while inside.stat().st_mtime_ns == changed:
                    await asyncio.sleep(0.1)
            assert sorted(inside.iterdir()) == names
        finally:
            await programs.stop(process, "halyard-worker")


async def test_a_folder_that_cannot_be_used_stops_the_start(tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("not a folder")
    ended = await programs.run(
        *("halyard-worker", "standalone", "--listen", "127.0.0.1:0", "--record", str(file))
    )
    assert ended.status != 0
    assert "cannot record to" in ended.errors and "--record takes" in ended.errors
    ended = await programs.run(
        *("halyard-worker", "standalone", "--record", str(tmp_path / "r"), "--record-max", "5")
    )
    assert ended.status == 2
    assert "at least 16MiB" in ended.errors
