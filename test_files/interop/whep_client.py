"""A WHEP player, written by hand from the draft: aiortc for WebRTC, httpx for HTTP."""

import asyncio
from urllib.parse import urljoin

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
SECONDS = 30


class Player:
    """One session. `begin` it, look at `next_frame`, and `leave`."""

    def __init__(self, server: str, token: str):
        self.url = urljoin(server, "/whep")
        self.http = httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=SECONDS)
        # aiortc asks a public STUN server unless told otherwise; the tests stay on this machine.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.tracks: asyncio.Queue = asyncio.Queue()
        self.connection.on("track", self.tracks.put_nowait)
        self.session: str | None = None
        self.etag: str | None = None
        self._track = None

    async def offer(self) -> str:
        """A player's offer, with all its candidates."""
        self.connection.addTransceiver("audio", direction="recvonly")
        self.connection.addTransceiver("video", direction="recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def begin(self, *, trickle: bool) -> httpx.Response:
        offer = await self.offer()
        lines = offer.splitlines(keepends=True)
        candidates = [line for line in lines if line.startswith("a=candidate:")]
        assert candidates, "aiortc gathers before it describes"
        if trickle:
            late = ("a=candidate:", "a=end-of-candidates")
            offer = "".join(line for line in lines if not line.startswith(late))
        response = await self.http.post(self.url, content=offer, headers={"Content-Type": SDP})
        if response.status_code != httpx.codes.CREATED:
            return response
        self.session = urljoin(self.url, response.headers["Location"])
        self.etag = response.headers["ETag"]
        await self.connection.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        if trickle:
            fragment = self.ice_lines(offer) + "".join(dict.fromkeys(candidates))
            said = await self.patch(fragment + "a=end-of-candidates\r\n", self.etag)
            assert said.status_code == httpx.codes.NO_CONTENT, said.text
            assert "ETag" not in said.headers
        return response

    def ice_lines(self, sdp: str) -> str:
        """What a fragment begins with: the first section, and its side of ICE."""
        wanted = ("m=", "a=mid:", "a=ice-ufrag:", "a=ice-pwd:")
        first = "m=" + sdp.split("\r\nm=")[1]
        return "".join(line for line in first.splitlines(keepends=True) if line.startswith(wanted))

    async def patch(
        self, fragment: str, if_match: str | None, media_type: str = FRAGMENT
    ) -> httpx.Response:
        headers = {"Content-Type": media_type}
        if if_match is not None:
            headers["If-Match"] = if_match
        return await self.http.patch(self.session, content=fragment, headers=headers)

    async def next_frame(self):
        """The next decoded picture."""
        while self._track is None:
            track = await asyncio.wait_for(self.tracks.get(), SECONDS)
            if track.kind == "video":
                self._track = track
        return await asyncio.wait_for(self._track.recv(), SECONDS)

    async def leave(self) -> httpx.Response:
        return await self.http.delete(self.session)

    async def close(self) -> None:
        await self.connection.close()
        await self.http.aclose()
