"""Whole folders and archives from the command line, and what is left when a program is killed."""

import asyncio
import os
import tarfile
import zipfile
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from room import Room

from programs import BIN_DIR, json_line, logged, program

MIB = 1024 * 1024
LARGE = 400 * MIB


def data_set(folder: Path, large: int) -> Path:
    (folder / "labels" / "empty").mkdir(parents=True)
    for number in range(200):
        (folder / "labels" / f"{number:03}.csv").write_text(f"{number}\n")
    with (folder / "video.bin").open("wb") as file:
        for _ in range(large // MIB):
            file.write(os.urandom(MIB))
    (folder / "elsewhere").symlink_to("/etc")
    return folder


def same(one: Path, other: Path) -> bool:
    """Whether both have the same files and folders; links are left out when a folder is sent."""

    def everything(folder: Path) -> dict:
        return {
            path.relative_to(folder): path.is_dir() or path.read_bytes()
            for path in folder.rglob("*")
            if not path.is_symlink()
        }

    return everything(one) == everything(other)


async def test_a_folder_goes_up_is_found_replaced_fetched_and_deleted(room: Room, tmp_path: Path):
    folder = data_set(tmp_path / "set", 5 * MIB)
    sent = await room.halyard("send", room.operator, str(folder), "--to", "packages", "--json")
    assert sent.status == 0, sent.errors
    skipped = [said for said in sent.objects if said["event"] == "skipped"]
    assert skipped == [{"event": "skipped", "name": "set/elsewhere", "why": "it is a link"}]
    assert same(folder, room.files / "packages" / "set")

    found = await room.halyard("ls", room.operator, "packages/**/00?.csv", "--json")
    assert [entry["path"] for entry in found.objects] == [
        f"packages/set/labels/00{number}.csv" for number in range(10)
    ]
    stat = await room.halyard("stat", room.viewer, "packages/set/video.bin", "--json")
    assert stat.objects[0]["size"] == 5 * MIB

    again = await room.halyard("send", room.operator, str(folder), "--to", "packages")
    assert again.status == 6, again.output
    assert "already" in again.errors
    (folder / "labels" / "000.csv").unlink()
    again = await room.halyard("send", room.operator, str(folder), "--to", "packages", "--replace")
    assert again.status == 0, again.errors
    assert same(folder, room.files / "packages" / "set")

    back = tmp_path / "back"
    got = await room.halyard("get", room.operator, "packages/set", "--output", str(back))
    assert got.status == 0, got.errors
    assert same(folder, back)

    refused = await room.halyard("rm", room.viewer, "packages/set", "--recursive")
    assert refused.status == 4, refused.errors
    refused = await room.halyard("rm", room.operator, "packages/set")
    assert refused.status == 6
    assert "not empty" in refused.errors
    for outside in ("..", "/etc/passwd", "packages/../../x", ""):
        refused = await room.halyard("rm", room.operator, outside, "--recursive")
        assert refused.status == 2, outside
    gone = await room.halyard("rm", room.operator, "packages/set", "--recursive")
    assert gone.status == 0, gone.errors
    assert list(room.files.iterdir()) == [room.files / "packages"]


async def test_archives_of_other_programs_are_unpacked_and_hostile_ones_refused(
    room: Room, tmp_path: Path
):
    folder = data_set(tmp_path / "set", MIB)
    (folder / "elsewhere").unlink()
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    with tarfile.open(tmp_path / "tarred.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
    for name in ("zipped.zip", "tarred.tar.gz"):
        sent = await room.halyard("send", room.operator, str(tmp_path / name), "--unpack")
        assert sent.status == 0, sent.errors
        assert same(folder, room.files / name.split(".")[0])

    with tarfile.open(tmp_path / "hostile.tar", "w") as archive:
        for name in ("fine", "../out"):
            archive.addfile(tarfile.TarInfo(name))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(80 * MIB))
    (tmp_path / "none.zip").write_text("hello")
    for name, words in (
        ("hostile.tar", "could leave the folder"),
        ("bomb.zip", "no archive of real files"),
        ("none.zip", "it is no archive"),
    ):
        refused = await room.halyard("send", room.operator, str(tmp_path / name), "--unpack")
        assert refused.status == 6, refused.output
        assert words in refused.errors
        stem = name.split(".")[0]
        assert [path.name for path in room.files.glob(f"*{stem}*")] == [name], "nothing is left"
    assert not (room.files.parent / "out").exists()


@asynccontextmanager
async def worker(address: str, files: Path, state: Path):
    """A worker that comes back to its room when it is started again."""
    async with program(
        "halyard-worker",
        *("run", "--server", address, "--files", str(files), "--video", "none", "--json"),
        *("--state-file", str(state)),
        log="worker-folders",
    ) as process:
        yield process, (await json_line(process, "room"))["join_url"]


async def half_way(folder: Path, process: asyncio.subprocess.Process) -> None:
    """Until half of the large file is there in its hidden folder."""
    large = folder / ".set.part" / "tree" / "video.bin"
    async with asyncio.timeout(100):
        while not large.exists() or large.stat().st_size < LARGE // 2:
            assert process.returncode is None, "it ended before it could be killed"
            await asyncio.sleep(0.02)


@pytest.mark.timeout(400)
async def test_a_folder_goes_on_after_sigkill_of_its_sender_and_of_its_receiver(tmp_path: Path):
    folder = data_set(tmp_path / "set", LARGE)
    files, state, data = tmp_path / "files", tmp_path / "state.json", tmp_path / "server"
    files.mkdir()
    data.mkdir()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "home")}

    async def halyard(*words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(str(BIN_DIR / "halyard"), *words, "--json"),
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )

    async def resumed(process: asyncio.subprocess.Process) -> int:
        transfer = await asyncio.wait_for(json_line(process, "transfer"), 100)
        assert await process.wait() == 0
        return transfer["resumed_at"]

    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--data-dir", str(data), "--log-format", "json"),
        log="server-folders",
    ):
        address = (await logged("server-folders", r"serving .* at (http://[^\s\"]+)"))[1]
        async with worker(address, files, state) as (serving, link):
            send = ("send", link, str(folder))
            sending = await halyard(*send)
            await half_way(files, sending)
            sending.kill()
            await sending.wait()
            assert not (files / "set").exists(), "half a folder does not stand under its name"
            # The same client goes on with the worker that comes back.
            sending = await halyard(*send)
            await json_line(sending, "progress")
            serving.kill()
            await serving.wait()
        async with worker(address, files, state) as (_, link):
            assert await resumed(sending) >= LARGE // 4
            assert same(folder, files / "set")

            back = tmp_path / "back"
            back.mkdir()
            get = ("get", link, "set", "--output", f"{back}/")
            getting = await halyard(*get)
            await half_way(back, getting)
            getting.kill()
            await getting.wait()
            getting = await halyard(*get)
            assert await resumed(getting) >= LARGE // 4
            assert same(folder, back / "set")
            assert [path.name for path in back.iterdir()] == ["set"]
