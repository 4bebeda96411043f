"""Several pictures in direct mode: `?track=NAME` chooses, and what cannot be shown is said."""

import socket
from pathlib import Path

import httpx
import pytest
from existing_client import JoinLink
from test_mjpeg import decode
from whep_client import SDP, Player
from worlds import standalone

SMALL = "gst:videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=30/1"


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture
async def link(tmp_path: Path):
    cameras = {"wide": "pattern", "small": SMALL, "other": f"rtp:{free_udp_port()},codec=vp8"}
    arguments = [word for name, of in cameras.items() for word in ("--camera", f"{name}={of}")]
    async with standalone(tmp_path, *arguments) as said:
        yield JoinLink.parse(said["viewer_url"])


async def size_over_whep(link: JoinLink, track: str) -> tuple[int, int]:
    player = Player(link.server, link.token)
    player.url += track
    try:
        response = await player.begin(trickle=False)
        assert response.status_code == httpx.codes.CREATED, response.text
        # A slate may come first, in the size of its own.
        for _ in range(300):
            frame = await player.next_frame()
            if (frame.width, frame.height) in {(1280, 720), (320, 240)}:
                break
        return frame.width, frame.height
    finally:
        await player.close()


async def test_each_of_several_pictures_is_played_by_its_name(link: JoinLink):
    assert await size_over_whep(link, "") == (1280, 720), "the first unless one is named"
    assert await size_over_whep(link, "?track=small") == (320, 240)
    headers = {"Authorization": f"Bearer {link.token}"}
    async with httpx.AsyncClient(base_url=link.server, headers=headers, timeout=30) as http:
        for track, size in [("", (720, 1280)), ("?track=small", (240, 320))]:
            answer = await http.get(f"/snapshot.jpg{track}")
            assert answer.status_code == httpx.codes.OK, answer.text
            assert decode(answer.content).shape == size
            async with http.stream("GET", f"/mjpeg{track}") as response:
                assert response.status_code == httpx.codes.OK
        for path in ("/mjpeg", "/snapshot.jpg"):
            answer = await http.get(f"{path}?track=none")
            assert answer.status_code == httpx.codes.NOT_FOUND, answer.text
            assert answer.json()["code"] == "UNKNOWN_TRACK"
            assert "wide, small, other" in answer.json()["message"]


async def test_a_picture_in_vp8_is_refused_where_h264_is_needed(link: JoinLink):
    headers = {"Authorization": f"Bearer {link.token}", "Content-Type": SDP}
    player = Player(link.server, link.token)
    offer = await player.offer()
    async with httpx.AsyncClient(base_url=link.server, headers=headers, timeout=30) as http:
        answer = await http.post("/whep?track=other", content=offer)
        assert answer.status_code == httpx.codes.NOT_ACCEPTABLE, answer.text
        said = answer.json()
        assert said["code"] == "NOT_H264" and "vp8" in said["message"], said
        assert "?track=NAME" in said["message"], said
        answer = await http.post("/whep?track=none", content=offer)
        assert answer.status_code == httpx.codes.NOT_FOUND, answer.text
    await player.close()
