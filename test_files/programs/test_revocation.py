"""`halyard room`, by which an owner lets people in and sends them away again."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from room import Room

from programs import json_line, logged, program

DONE, REFUSED = 0, 4


@pytest.fixture
async def room(tmp_path: Path):
    """A room that `halyard room create` made, with a worker in it."""
    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--stun-urls", "", "--log-format", "json"),
        log="server-revoke",
    ):
        address = (await logged("server-revoke", r"serving .* at (http://[^\s\"]+)"))[1]
        room = Room({}, tmp_path, tmp_path / "home")
        made = await room.halyard("room", "create", "--server", address, "--json")
        assert made.status == DONE, made.errors
        room.said = made.objects[0]
        async with program(
            "halyard-worker",
            *("run", "--server", address, "--room", room.said["room_id"], "--json"),
            log="worker-revoke",
            environment={"HALYARD_TOKEN": room.said["token"]},
        ) as worker:
            await json_line(worker, "room")
            yield room


async def peers(room: Room) -> list[dict]:
    shown = await room.halyard("room", "show", room.operator, "--json")
    assert shown.status == DONE, shown.errors
    return shown.objects[0]["peers"]


@asynccontextmanager
async def follows(room: Room, link: str):
    """Somebody who follows the machine's state and is in the room."""
    watching = asyncio.create_task(room.halyard("telemetry", link, "--json"))
    try:
        async with asyncio.timeout(30):
            while not any(peer["role"] == "client" for peer in await peers(room)):
                await asyncio.sleep(0.05)
        yield watching
    finally:
        watching.cancel()


async def test_a_role_is_revoked_and_its_new_link_works(room: Room):
    async with follows(room, room.viewer) as watcher:
        revoked = await room.halyard("room", "revoke", room.operator, "--role", "viewer", "--json")
        assert revoked.status == DONE, revoked.errors
        ended = await watcher
    assert ended.status == REFUSED, ended
    assert "revoked" in ended.objects[-1]["message"]
    old = await room.halyard("join", room.viewer, "--json")
    assert old.status == REFUSED, old
    assert old.objects[-1]["code"] == "INVALID_TOKEN"
    assert "ask the room's owner for a new one" in old.objects[-1]["message"]
    new = await room.halyard("join", revoked.objects[0]["viewer_url"], "--json")
    assert new.status == DONE, new.errors
    assert new.objects[0]["access"] == "viewer"
    # The operators' link is what it was.
    operator = await room.halyard("join", room.operator, "--json")
    assert operator.status == DONE, operator.errors


async def test_a_peer_is_revoked_and_the_link_still_works_for_others(room: Room):
    async with follows(room, room.viewer) as watcher:
        (client,) = [peer for peer in await peers(room) if peer["role"] == "client"]
        revoked = await room.halyard(
            *("room", "revoke", room.operator, "--peer", client["peer_id"])
        )
        assert revoked.status == DONE, revoked.errors
        assert "revoked" in revoked.output
        ended = await watcher
    assert ended.status == REFUSED, ended
    other = await room.halyard("join", room.viewer, "--json")
    assert other.status == DONE, other.errors
