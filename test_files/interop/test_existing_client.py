"""An existing client joins a room, sees the machine and moves files, with nothing changed in it."""

import asyncio
import hashlib
import json
import time
from itertools import pairwise
from pathlib import Path

import pytest
import strip
import websockets
from existing_client import ANSWER_SECONDS, JoinLink, joined, register_message, sign_in


async def test_it_registers_and_is_told_all_that_it_reads(room):
    async with joined(room["join_url"]) as client:
        registered = client.registered
        assert registered["room_id"] == room["room_id"]
        assert registered["token"] == room["token"]
        assert registered["peer_id"] == client.peer_id
        worker = await client.find_worker()
        assert registered["peer_list"] == [worker]
        assert set(registered["peer_metadata"]) == {worker}
        assert isinstance(registered["ice_servers"], list)
        assert isinstance(registered["mesh_ice_servers"], list)


async def test_it_receives_and_decodes_the_picture(room):
    async with joined(room["join_url"]) as client:
        await client.connect(video=True)
        numbers, ages = [], []
        for _ in range(40):
            frame = await client.next_frame()
            assert (frame.width, frame.height) == (1280, 720)
            luma = frame.to_ndarray(format="gray")
            if (read := strip.read(luma)) is not None:
                numbers.append(read.frame)
                ages.append((int(time.time() * 1000) - read.time_ms + 2**31) % 2**32 - 2**31)
        assert len(numbers) >= 36, f"the strip could be read in {len(numbers)} of 40 frames"
        steps = [(after - before) % 2**16 for before, after in pairwise(numbers)]
        assert all(0 < step < 30 for step in steps), f"frame numbers do not go on: {numbers}"
        assert all(0 <= age < 5000 for age in ages), f"ages in ms: {ages}"


async def test_a_file_of_64_mib_goes_up_and_comes_back(room, big_file: Path, tmp_path: Path):
    async with joined(room["join_url"]) as client:
        await client.connect(video=False)
        sent = await client.send_file(big_file, "recording.bin")
        said = await asyncio.wait_for(client.texts.get(), 120)
        assert said == f"halyard: received recording.bin ({big_file.stat().st_size} bytes)"
        arrived = tmp_path / "files" / "recording.bin"
        assert hashlib.sha256(arrived.read_bytes()).hexdigest() == sent

        client.channel.send("FILE_REQUEST::recording.bin")
        received = await asyncio.wait_for(client.files.get(), 120)
        assert (received.name, received.size) == ("recording.bin", big_file.stat().st_size)
        assert received.bytes == received.size
        assert received.digest.hexdigest() == sent


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"token": "wrong"}, "token"),
        ({"room_id": "deadbeef"}, "room"),
        ({"id_token": "not.a.jwt"}, "token"),
    ],
    ids=["wrong token", "no such room", "wrong identity"],
)
async def test_a_refused_client_reads_the_reason_and_others_are_served(room, change, reason):
    link = JoinLink.parse(room["join_url"])
    peer_id, id_token = await sign_in(link.server)
    async with websockets.connect(link.socket) as socket:
        await socket.send(json.dumps(register_message(link, peer_id, id_token) | change))
        refused = json.loads(await asyncio.wait_for(socket.recv(), ANSWER_SECONDS))
        assert refused["type"] == "error"
        assert reason in refused["reason"].lower()
        assert refused["reason"] == refused["message"]
        assert refused["code"]
    async with joined(room["join_url"]) as client:
        assert client.registered["type"] == "registered_auth"
