"""An existing worker serves through Halyard's broker; Halyard's own client says what it is."""

import asyncio
import os
from pathlib import Path

import pytest
import sleap
from existing_client import ANSWER_SECONDS, joined
from existing_worker import ExistingWorker, serving

import programs


@pytest.fixture
async def worker(tmp_path: Path):
    async with sleap.broker(tmp_path) as server, serving(server) as worker:
        yield worker


def link_to(worker: ExistingWorker) -> str:
    link = worker.link
    return f"{link.server}/r/{link.room_id}#{link.token}"


async def test_it_is_the_admin_is_found_and_serves_a_package(worker: ExistingWorker):
    registered = await worker.registered
    assert registered["admin_peer_id"] == worker.peer_id
    assert registered["room_id"] == worker.link.room_id
    async with joined(link_to(worker)) as client:
        assert client.registered["admin_peer_id"] == worker.peer_id
        told = client.registered["peer_metadata"][worker.peer_id]
        assert told == worker.metadata()
        found = await client.find_trainer(worker.link.room_id)
        assert found == worker.peer_id
        await client.connect(video=False, worker=found)
        updated = await asyncio.wait_for(worker.updated.get(), ANSWER_SECONDS)
        assert updated["metadata"]["tags"] == worker.metadata()["tags"], "an update keeps the tags"
        assert updated["metadata"]["properties"]["status"] == "reserved"

        content = os.urandom(200_000)
        client.send_package(content, "demo_pkg.zip")
        assert (await client.until("TRAINING_JOBS_DONE"))[0] == "TRAIN_JOB_START::centroid"
        file = await asyncio.wait_for(client.files.get(), ANSWER_SECONDS)
        assert (file.name, file.hint) == ("trained_demo_pkg.zip", "models")
        assert bytes(file.content) == content

        async with joined(link_to(worker)) as other:
            filters = {"role": "worker", "properties": {"status": "available"}}
            assert await other.discover(filters) == []
            offer = {"type": "offer", "sender": other.peer_id, "target": worker.peer_id}
            await other.say(offer | {"sdp": "v=0\r\n"})
            refused = await other.hear("error")
            assert (refused["reason"], refused["current_status"]) == ("worker_busy", "reserved")
            assert refused["sender"] == worker.peer_id


async def test_halyards_client_says_what_it_is_instead_of_waiting(worker: ExistingWorker):
    ended = await programs.run("halyard", "join", link_to(worker))
    assert ended.status == 5
    assert f"{worker.peer_id} is a sleap-rtc worker" in ended.errors
    assert "sleap-rtc client-train" in ended.errors


async def test_a_worker_of_ours_answers_requests_by_way_of_the_broker(tmp_path: Path):
    async with sleap.node(tmp_path) as node, joined(node.link) as client:
        worker = await client.find_trainer(node.said["room_id"])

        async def requested(job_type: str) -> dict:
            await client.say(
                {
                    "type": "peer_message",
                    "from_peer_id": client.peer_id,
                    "to_peer_id": worker,
                    "payload": {
                        "app_message_type": "job_request",
                        "job_id": "j1",
                        "job_type": job_type,
                        "config": {},
                        "requirements": {},
                    },
                }
            )
            answer = await client.hear("peer_message")
            assert answer["from_peer_id"] == worker
            return answer["payload"]

        accepted = await requested("training")
        assert accepted["app_message_type"] == "job_response"
        assert accepted["job_id"] == "j1" and accepted["accepted"] is True
        refused = await requested("cooking")
        assert refused["accepted"] is False and refused["reason"] == "incompatible"
        await client.connect(video=False, worker=worker)
        package = sleap.training_package("centroid", epochs=10000, pause=0.02)
        client.send_package(package, "demo_pkg.zip", gui="True")
        await client.until("PROGRESS_REPORT::")
        assert (await requested("training"))["reason"] == "busy"
        client.channel.send('ZMQ_CTRL::{"command": "cancel"}')
        said = await client.until("TRAIN_JOB_ERROR::")
        assert said[-1].startswith("TRAIN_JOB_ERROR::centroid::")
