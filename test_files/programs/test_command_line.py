"""`halyard` as people and scripts use it, against a room in both worlds."""

import os
import re
from pathlib import Path

import pytest
from room import Room

DONE, USAGE, UNREACHABLE, REFUSED, FAILED = 0, 2, 3, 4, 6


async def test_join_shows_who_is_here_and_what_the_worker_offers(room: Room):
    people = await room.halyard("join", room.operator)
    assert people.status == DONE, people.errors
    assert room.said["room_id"] in people.output
    assert "worker" in people.output and "1280x720" in people.output
    assert room.said["token"] not in people.output + people.errors

    script = await room.halyard("join", room.operator, "--json")
    (joined,) = script.objects
    assert joined["event"] == "joined"
    assert joined["access"] == "operator"
    assert joined["hello"]["video"][0]["codec"] == "h264"


async def test_telemetry_is_one_object_a_line_in_si_units(room: Room):
    ended = await room.halyard("telemetry", room.viewer, "--json", "--count", "5")
    assert ended.status == DONE, ended.errors
    assert len(ended.objects) == 5
    for told in ended.objects:
        assert set(told["pose"]) == {"x", "y", "heading"}
        assert told["speed"] == 0
        assert 0 <= told["battery"] <= 1
    numbers = [told["seq"] for told in ended.objects]
    assert numbers == sorted(numbers)


async def test_a_folder_is_listed_and_files_go_both_ways(room: Room, tmp_path: Path):
    original = tmp_path / "Karte 地図.bin"
    original.write_bytes(os.urandom(3_000_000))
    sent = await room.halyard("send", room.operator, str(original), "--json")
    assert sent.status == DONE, sent.errors
    assert (room.files / original.name).read_bytes() == original.read_bytes()

    listed = await room.halyard("ls", room.operator, "--json")
    entries = [entry for entry in listed.objects if entry["event"] == "entry"]
    assert [(entry["name"], entry["size"]) for entry in entries] == [(original.name, 3_000_000)]

    copy = tmp_path / "copy.bin"
    got = await room.halyard("get", room.operator, original.name, "--output", str(copy))
    assert got.status == DONE, got.errors
    assert copy.read_bytes() == original.read_bytes()


async def test_commands_are_acknowledged_in_the_machines_words(room: Room):
    await room.halyard("drive", room.operator, "--linear", "1", "--for", "500ms")
    status = await room.halyard("command", room.operator, "status", "--json")
    assert status.status == DONE, status.errors
    assert status.objects[0]["result"]["pose"] != {"heading": 0, "x": 0, "y": 0}

    unknown = await room.halyard("command", room.operator, "fly", "--json")
    assert unknown.status == FAILED
    assert "status" in unknown.objects[0]["message"], "it names the commands that there are"


async def test_driving_moves_the_rover_and_it_stops_by_itself(room: Room):
    (before,) = (await room.halyard("telemetry", room.viewer, "--json", "--count", "1")).objects
    ended = await room.halyard("drive", room.operator, "--linear", "1", "--for", "1s", "--json")
    assert ended.status == DONE, ended.errors
    after = (await room.halyard("telemetry", room.viewer, "--json", "--count", "30")).objects[-1]
    moved = abs(after["pose"]["x"] - before["pose"]["x"]) + abs(
        after["pose"]["y"] - before["pose"]["y"]
    )
    assert moved > 0.3
    assert after["speed"] == 0
    assert after["driver"] is None


@pytest.mark.parametrize(
    "arguments",
    [("drive", "--linear", "1"), ("command", "reset"), ("send", __file__), ("get", "a.bin")],
    ids=lambda arguments: arguments[0],
)
async def test_a_viewer_is_refused_what_needs_an_operator(room: Room, arguments: tuple):
    command, *rest = arguments
    ended = await room.halyard(command, room.viewer, *rest, "--json")
    assert ended.status in {REFUSED, FAILED}, ended
    assert "operator" in ended.objects[-1]["message"]
    assert not (room.files / Path(__file__).name).exists()


async def test_what_goes_wrong_has_its_exit_code_and_says_what_to_do(room: Room):
    wrong = re.sub("#.*", "#wrong", room.operator)
    gone = re.sub("/r/[^#]*", "/r/deadbeef", room.operator)
    nobody = "http://127.0.0.1:1/r/ab12#token"
    for arguments, status in (
        (("join", wrong), REFUSED),
        (("join", gone), REFUSED),
        (("join", nobody), UNREACHABLE),
        (("join", "rover"), USAGE),
        (("fly", room.operator), USAGE),
        (("send", room.operator, "/nonexistent/file"), USAGE),
        (("get", room.operator, "../../etc/passwd"), USAGE),
        (("get", room.operator, "nowhere.bin"), FAILED),
    ):
        ended = await room.halyard(*arguments, "--json")
        assert ended.status == status, (arguments, ended)
        assert ended.output + ended.errors, arguments
        assert room.said["token"] not in ended.errors


async def test_the_token_may_stay_out_of_the_command_line(room: Room):
    link, token = room.operator.split("#")
    ended = await room.halyard("join", link, "--json", HALYARD_TOKEN=token)
    assert ended.status == DONE, ended.errors
    assert ended.objects[0]["access"] == "operator"


async def test_the_doctor_finds_nothing_wrong_here(room: Room):
    ended = await room.halyard("doctor", room.operator)
    assert ended.status == DONE, ended.output + ended.errors
    assert "peer connection" in ended.output
