"""WHEP on the standalone worker: a player written by hand plays it, and every rule is kept."""

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import strip
from existing_client import JoinLink
from whep_client import FRAGMENT, SDP, Player
from worlds import standalone

PASSWORD = "0123456789012345678901"


@pytest.fixture
async def said(tmp_path: Path):
    async with standalone(tmp_path) as said:
        yield said


@asynccontextmanager
async def playing(link: JoinLink, *, trickle: bool = False):
    player = Player(link.server, link.token)
    try:
        yield player, await player.begin(trickle=trickle)
    finally:
        await player.close()


async def live_strip(player: Player) -> strip.Strip:
    """The strip of the next picture that has a good one."""
    for _ in range(60):
        frame = await player.next_frame()
        found = strip.read(frame.to_ndarray(format="yuv420p")[: frame.height])
        if found:
            return found
    raise AssertionError("no strip in 60 pictures")


async def until_gone(player: Player) -> None:
    """Until the connection is seen to be over from this side."""
    async with asyncio.timeout(30):
        while player.connection.connectionState not in {"closed", "failed", "disconnected"}:
            try:
                await asyncio.wait_for(player.next_frame(), 1)
            except Exception:  # the track's end, or no picture for a second
                return


@pytest.mark.parametrize("trickle", [False, True], ids=["all at once", "candidates by PATCH"])
@pytest.mark.parametrize("who", ["join_url", "viewer_url"])
async def test_a_player_is_shown_the_picture_and_leaves(said: dict, who: str, trickle: bool):
    link = JoinLink.parse(said[who])
    async with playing(link, trickle=trickle) as (player, response):
        assert response.status_code == httpx.codes.CREATED, response.text
        assert response.headers["Content-Type"] == SDP
        assert response.headers["Accept-Patch"] == FRAGMENT
        assert response.headers["ETag"].strip('"')
        assert not response.headers["ETag"].startswith("W/"), "a strong one"
        assert "a=sendonly" in response.text
        assert link.token not in response.text + str(response.headers)
        first = await live_strip(player)
        later = await live_strip(player)
        while later.frame == first.frame:
            later = await live_strip(player)
        age = (time.time_ns() // 1_000_000 - later.time_ms) % 2**32
        assert age < 10_000, f"the picture is live: {age} ms old"

        assert (await player.leave()).status_code == httpx.codes.OK
        again = await player.leave()
        assert again.status_code == httpx.codes.NOT_FOUND, again.text
        await until_gone(player)


async def test_a_fragment_is_for_one_ice_session(said: dict):
    link = JoinLink.parse(said["viewer_url"])
    async with playing(link) as (player, _):
        await live_strip(player)
        mine = player.ice_lines(player.connection.localDescription.sdp)
        mine += "a=candidate:9 1 udp 1 192.0.2.1 9 typ host\r\n"
        for if_match, status in [
            (None, 428),
            ('"another"', 412),
            (f"W/{player.etag}", 412),
            (player.etag, 204),
            ("*", 204),
        ]:
            response = await player.patch(mine, if_match)
            assert response.status_code == status, f"{if_match}: {response.text}"
        # Not that the picture stops for any of it.
        await live_strip(player)

        restart = f"a=mid:0\r\na=ice-ufrag:anew\r\na=ice-pwd:{PASSWORD}\r\n"
        response = await player.patch(restart, "*")
        assert response.status_code == httpx.codes.OK, response.text
        assert response.headers["Content-Type"] == FRAGMENT
        assert response.headers["ETag"] != player.etag
        answer = player.connection.remoteDescription.sdp
        ours = next(line for line in response.text.splitlines() if "ice-ufrag" in line)
        assert ours not in answer, "the worker's side is new too"
        assert "a=candidate:" in response.text
        late = await player.patch(mine, player.etag)
        assert late.status_code == httpx.codes.PRECONDITION_FAILED, late.text
        fresh = await player.patch(restart, response.headers["ETag"])
        assert fresh.status_code == httpx.codes.NO_CONTENT, fresh.text


async def test_what_is_not_whep_is_refused_in_words(said: dict):
    link = JoinLink.parse(said["viewer_url"])
    operator = JoinLink.parse(said["join_url"])
    async with playing(link) as (player, _):
        good = player.connection.localDescription.sdp
        whep, session = player.url, player.session

        async def refused(status: int, method: str, url: str, **options) -> httpx.Response:
            response = await player.http.request(method, url, **options)
            words = f"{method} {url} {options.get('headers')}: {response.text}"
            assert response.status_code == status, words
            assert response.json()["message"], words
            return response

        as_sdp, as_fragment = {"Content-Type": SDP}, {"Content-Type": FRAGMENT}
        await refused(415, "POST", whep, content=good, headers={"Content-Type": "text/plain"})
        await refused(415, "POST", whep, content=good)
        for nonsense in [b"", b"hello", b"\xff\xfe", b"v=0\r\n", b'{"sdp": "v=0"}']:
            await refused(400, "POST", whep, content=nonsense, headers=as_sdp)
        for unserved in [
            good.replace("a=recvonly", "a=sendonly"),
            good.replace("H264", "H265"),
            good.replace("m=video", "m=image"),
        ]:
            await refused(422, "POST", whep, content=unserved, headers=as_sdp)
        await refused(413, "POST", whep, content=b"v" * 1_000_000, headers=as_sdp)
        await refused(400, "PATCH", session, content="hello", headers=as_fragment)
        unlike = await refused(415, "PATCH", session, content=good, headers=as_sdp)
        assert unlike.headers["Accept-Patch"] == FRAGMENT
        await refused(
            404,
            "PATCH",
            f"{whep}/whep-0",
            content=f"a=ice-ufrag:abcd\r\na=ice-pwd:{PASSWORD}\r\n",
            headers={**as_fragment, "If-Match": "*"},
        )
        await refused(404, "DELETE", f"{whep}/nobody")
        wrong_way = await refused(405, "PUT", whep, content=good, headers=as_sdp)
        assert {"GET", "POST"} <= set(wrong_way.headers["Allow"].replace(" ", "").split(","))

        # Somebody else's token, a wrong one, none.
        theirs = {"Authorization": f"Bearer {operator.token}"}
        await refused(404, "DELETE", session, headers=theirs)
        await refused(
            404,
            "PATCH",
            session,
            content=f"a=ice-ufrag:abcd\r\na=ice-pwd:{PASSWORD}\r\n",
            headers={**as_fragment, **theirs, "If-Match": "*"},
        )
        for value in ["Bearer wrong", "Basic d3Jvbmc6d3Jvbmc=", ""]:
            for method, url in [("POST", whep), ("PATCH", session), ("DELETE", session)]:
                headers = {"Authorization": value, **as_sdp}
                response = await refused(401, method, url, content=good, headers=headers)
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
        # After all that the picture is still there.
        await live_strip(player)


async def test_a_page_of_any_origin_may_play_and_read_what_it_needs(said: dict):
    link = JoinLink.parse(said["viewer_url"])
    async with httpx.AsyncClient(base_url=link.server) as http:
        for path, method in [("/whep", "POST"), ("/whep/whep-0", "PATCH"), ("/whep/x", "DELETE")]:
            response = await http.options(
                path,
                headers={
                    "Origin": "https://elsewhere.example",
                    "Access-Control-Request-Method": method,
                    "Access-Control-Request-Headers": "authorization,content-type,if-match",
                },
            )
            assert response.status_code == httpx.codes.OK
            assert method in response.headers["Access-Control-Allow-Methods"]
            allowed = response.headers["Access-Control-Allow-Headers"].lower()
            assert all(name in allowed for name in ("authorization", "content-type", "if-match"))
            assert response.headers["Accept-Post"] == SDP
        found = await http.head("/whep")
        assert (found.status_code, found.headers["Content-Type"]) == (httpx.codes.OK, SDP)
        assert (await http.get("/whep")).status_code == httpx.codes.NO_CONTENT
        origin = {"Origin": "https://elsewhere.example"}
        response = await http.post("/whep", headers=origin)
        exposed = response.headers["Access-Control-Expose-Headers"].lower()
        assert all(name in exposed for name in ("location", "etag", "link"))


async def test_ice_servers_are_told_in_link_headers(tmp_path: Path):
    stun = "stun:127.0.0.1:3478"
    async with standalone(tmp_path, "--stun-urls", stun) as said:
        link = JoinLink.parse(said["viewer_url"])
        async with playing(link) as (player, response):
            links = response.headers.get_list("Link")
            assert f'<{stun}>; rel="ice-server"' in ", ".join(links)
            await live_strip(player)


async def test_without_webrtc_an_offer_is_answered_with_where_the_picture_is(tmp_path: Path):
    async with standalone(tmp_path, "--webrtc", "false") as said:
        link = JoinLink.parse(said["join_url"])
        async with playing(link) as (player, response):
            assert response.status_code == httpx.codes.NOT_IMPLEMENTED
            assert response.json()["code"] == "WEBRTC_OFF"
            assert "/mjpeg" in response.json()["message"]
            offer = {"sdp": player.connection.localDescription.sdp, "type": "offer"}
            old = await player.http.post(f"{link.server}/offer", json=offer)
            assert (old.status_code, old.json()["code"]) == (501, "WEBRTC_OFF")
            snapshot = await player.http.get(f"{link.server}/snapshot.jpg")
            assert snapshot.content[:2] == b"\xff\xd8"


async def test_gstreamer_plays_it(said: dict):
    link = JoinLink.parse(said["viewer_url"])
    player = await asyncio.create_subprocess_exec(
        "/usr/bin/python3",  # Debian's: PyGObject is built for it
        *(str(Path(__file__).with_name("gst_whep.py")), f"{link.server}/whep", "60"),
        env={**os.environ, "HALYARD_TOKEN": link.token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(player.communicate(), 90)
    assert player.returncode == 0, f"{output.decode()} {errors.decode()}"
    seen = json.loads(output)
    assert seen == {"pictures": seen["pictures"], "size": [1280, 720], "error": None}
    assert seen["pictures"] >= 60
