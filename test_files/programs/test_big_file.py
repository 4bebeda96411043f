"""A gigabyte survives the death of the program that receives it."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from room import Room

from programs import BIN_DIR

GIB = 1024 * 1024 * 1024


@pytest.mark.timeout(400)
async def test_a_gibibyte_goes_on_after_sigkill_of_its_receiver_half_way(
    room: Room, tmp_path: Path
):
    served = room.files / "recording.bin"
    digest = hashlib.sha256()
    with served.open("wb") as file:
        for _ in range(GIB // (1024 * 1024)):
            block = os.urandom(1024 * 1024)
            digest.update(block)
            file.write(block)

    target = tmp_path / "recording.bin"
    get = ("get", room.operator, served.name, "--output", str(target), "--json")
    receiver = await asyncio.create_subprocess_exec(
        *(str(BIN_DIR / "halyard"), *get),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "XDG_STATE_HOME": str(room.home)},
    )
    try:
        async with asyncio.timeout(200):
            while part_bytes(tmp_path) < GIB // 2:
                assert receiver.returncode is None, "the receiver ended before it was killed"
                await asyncio.sleep(0.05)
    finally:
        receiver.kill()
        await receiver.wait()
    assert not target.exists(), "half a file does not stand under its name"

    ended = await room.halyard(*get)
    assert ended.status == 0, ended.errors
    transfer = ended.objects[-1]
    assert transfer["resumed_at"] >= GIB // 4, transfer
    with target.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest.digest()
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
    target.unlink()
    served.unlink()


def part_bytes(folder: Path) -> int:
    """How much of the unfinished file is there."""
    return sum(path.stat().st_size for path in folder.glob("*part*") if path.is_file())
