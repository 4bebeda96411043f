"""Direct mode: the machine itself answers an offer over plain HTTP, with no broker between."""

import asyncio
import itertools
from pathlib import Path

import httpx
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from existing_client import ANSWER_SECONDS, JoinLink
from worlds import standalone

# Samples a second, as Opus is decoded.
SOUND_RATE = 48_000


@pytest.fixture
async def link(tmp_path: Path):
    async with standalone(tmp_path) as said:
        yield JoinLink.parse(said["join_url"])


def bearer(token: str) -> dict:
    return {"Authorization": f"Bearer {token}"}


async def test_one_request_and_its_answer_make_a_connection_with_a_picture(link: JoinLink):
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    tracks: asyncio.Queue = asyncio.Queue()
    connection.on("track", tracks.put_nowait)
    connection.addTransceiver("video", direction="recvonly")
    try:
        await connection.setLocalDescription(await connection.createOffer())
        async with httpx.AsyncClient(base_url=link.server, headers=bearer(link.token)) as http:
            offer = {"sdp": connection.localDescription.sdp, "type": "offer"}
            response = await http.post("/offer", json=offer, timeout=ANSWER_SECONDS)
            assert response.status_code == 200, response.text
            answer = response.json()
            assert answer["type"] == "answer"
            await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            track = await asyncio.wait_for(tracks.get(), ANSWER_SECONDS)
            frame = await asyncio.wait_for(track.recv(), ANSWER_SECONDS)
            assert (frame.width, frame.height) == (1280, 720)

            status = await http.get("/status")
            assert status.status_code == 200
            assert "sim" in status.text
    finally:
        await connection.close()


async def test_sound_is_heard_beside_the_picture(tmp_path: Path):
    async with standalone(tmp_path, "--audio", "tone") as said:
        link = JoinLink.parse(said["join_url"])
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        tracks: asyncio.Queue = asyncio.Queue()
        connection.on("track", tracks.put_nowait)
        connection.addTransceiver("audio", direction="recvonly")
        connection.addTransceiver("video", direction="recvonly")
        try:
            await connection.setLocalDescription(await connection.createOffer())
            async with httpx.AsyncClient(base_url=link.server, headers=bearer(link.token)) as http:
                offer = {"sdp": connection.localDescription.sdp, "type": "offer"}
                answer = (await http.post("/offer", json=offer, timeout=ANSWER_SECONDS)).json()
            await connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            heard = [await asyncio.wait_for(tracks.get(), ANSWER_SECONDS) for _ in range(2)]
            sound = next(track for track in heard if track.kind == "audio")
            samples: list[int] = []
            while len(samples) < 2 * SOUND_RATE:
                frame = await asyncio.wait_for(sound.recv(), ANSWER_SECONDS)
                # Interleaved; the first channel is enough.
                samples += frame.to_ndarray()[0][:: len(frame.layout.channels)].tolist()
            second = samples[-SOUND_RATE:]
            ups = sum(a < 0 <= b for a, b in itertools.pairwise(second))
            assert abs(ups - 440) <= 5, f"{ups} Hz"
        finally:
            await connection.close()


@pytest.mark.parametrize("token", ["", "wrong"], ids=["no token", "a wrong token"])
async def test_without_the_rooms_token_nothing_is_told(link: JoinLink, token: str):
    headers = bearer(token) if token else {}
    async with httpx.AsyncClient(base_url=link.server, headers=headers) as http:
        for response in (
            await http.get("/status"),
            await http.post("/offer", json={"sdp": "v=0", "type": "offer"}),
            await http.post("/ice-candidate", json={"candidate": ""}),
        ):
            assert response.status_code in {401, 403}, response.text
            assert response.json()["message"]
            assert link.token not in response.text


async def test_nonsense_is_refused_in_words_and_the_machine_goes_on(link: JoinLink):
    async with httpx.AsyncClient(base_url=link.server, headers=bearer(link.token)) as http:
        for body in (b"{", b"[]", b'{"sdp": 1}', b'{"sdp":"hello","type":"offer"}'):
            response = await http.post(
                "/offer", content=body, headers={"content-type": "application/json"}
            )
            assert 400 <= response.status_code < 500, f"{body}: {response.text}"
            assert response.json()["message"], body
        assert (await http.get("/status")).status_code == 200


async def test_a_page_of_any_origin_may_ask(link: JoinLink):
    async with httpx.AsyncClient(base_url=link.server) as http:
        response = await http.options(
            "/offer",
            headers={
                "Origin": "https://elsewhere.example",
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type",
            },
        )
        assert response.is_success
        allowed = response.headers["access-control-allow-origin"]
        assert allowed in {"*", "https://elsewhere.example"}
        headers = response.headers["access-control-allow-headers"].lower()
        assert headers == "*" or "authorization" in headers
