"""An existing client, as its users run it: aiortc, one data channel, the original's words.

It signs in over REST, registers over the WebSocket, offers a connection with all its candidates in
the SDP, and moves files with `FILE_META`, raw chunks, `KEEP_ALIVE` and `END_OF_FILE`.
"""

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

CHUNK_BYTES = 64 * 1024
PAUSE_ABOVE_BUFFERED_BYTES = 16 * 1024 * 1024
KEEP_ALIVE = b"KEEP_ALIVE"
ANSWER_SECONDS = 30


@dataclass
class Received:
    """A file that came over the channel."""

    name: str
    size: int
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    bytes: int = 0


class ExistingClient:
    """One client in one room. Build it with `joined`."""

    def __init__(self, socket, peer_id: str, registered: dict):
        self.socket = socket
        self.peer_id = peer_id
        self.registered = registered
        # No STUN: the tests stay on this machine.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel("my-data-channel")
        self.opened = asyncio.Event()
        self.texts: asyncio.Queue[str] = asyncio.Queue()
        self.files: asyncio.Queue[Received] = asyncio.Queue()
        self.keep_alives = 0
        self.video = None
        self._incoming: Received | None = None
        self.channel.on("open", self.opened.set)
        self.channel.on("message", self._on_message)
        self.connection.on("track", self._on_track)

    def _on_track(self, track) -> None:
        self.video = track

    def _on_message(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            if message == KEEP_ALIVE:
                self.keep_alives += 1
            elif self._incoming is not None:
                self._incoming.digest.update(message)
                self._incoming.bytes += len(message)
        elif message.startswith("FILE_META::"):
            name, size, *_ = message.removeprefix("FILE_META::").split(":")
            self._incoming = Received(name, int(size))
        elif message == "END_OF_FILE":
            self.files.put_nowait(self._incoming)
            self._incoming = None
        else:
            self.texts.put_nowait(message)

    async def say(self, message: dict) -> None:
        await self.socket.send(json.dumps(message))

    async def hear(self, kind: str) -> dict:
        """The next message of this type; others (pings, joins) are passed over."""

        async def look() -> dict:
            async for text in self.socket:
                message = json.loads(text)
                if message["type"] == kind:
                    return message
            raise ConnectionError(f"the socket closed before {kind} came")

        return await asyncio.wait_for(look(), ANSWER_SECONDS)

    async def find_worker(self) -> str:
        await self.say(
            {
                "type": "discover_peers",
                "from_peer_id": self.peer_id,
                "filters": {"role": "worker"},
            }
        )
        return (await self.hear("peer_list"))["peers"][0]["peer_id"]

    async def connect(self, *, video: bool) -> None:
        """Offers to the room's worker and waits until the channel is open."""
        worker = await self.find_worker()
        if video:
            self.connection.addTransceiver("video", direction="recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = self.connection.localDescription.sdp
        assert "a=end-of-candidates" in offer, "aiortc puts every candidate into its offer"
        await self.say(
            {"type": "offer", "sender": self.peer_id, "target": worker, "sdp": offer},
        )
        answer = await self.hear("answer")
        assert answer["sender"] == worker
        await self.connection.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        # A worker that trickles sends the rest of its candidates one by one; like the original's
        # client, this one uses those of the answer and those it discovers from checks.
        await asyncio.wait_for(self.opened.wait(), ANSWER_SECONDS)

    async def next_frame(self):
        """The next decoded picture."""
        try:
            return await asyncio.wait_for(self.video.recv(), ANSWER_SECONDS)
        except MediaStreamError as error:
            raise ConnectionError("the video ended") from error

    async def send_file(self, path: Path, name: str) -> str:
        """Sends a file the original's way and returns its SHA-256."""
        digest = hashlib.sha256()
        size = path.stat().st_size
        self.channel.send(f"FILE_META::{name}:{size}:False")
        with path.open("rb") as source:
            for number, chunk in enumerate(iter(lambda: source.read(CHUNK_BYTES), b"")):
                while self.channel.bufferedAmount > PAUSE_ABOVE_BUFFERED_BYTES:
                    await asyncio.sleep(0.1)  # what the original does
                if number % 100 == 50:
                    self.channel.send(KEEP_ALIVE)
                self.channel.send(chunk)
                digest.update(chunk)
                await asyncio.sleep(0)
        self.channel.send("END_OF_FILE")
        return digest.hexdigest()

    async def close(self) -> None:
        await self.connection.close()
        await self.socket.close()


@dataclass
class JoinLink:
    """`http(s)://HOST[:PORT]/r/ROOM_ID#TOKEN`."""

    server: str
    socket: str
    room_id: str
    token: str

    @classmethod
    def parse(cls, text: str) -> "JoinLink":
        parts = urlsplit(text)
        socket_scheme = {"http": "ws", "https": "wss"}[parts.scheme]
        return cls(
            server=urlunsplit((parts.scheme, parts.netloc, "", "", "")),
            # The path that existing clients dial.
            socket=urlunsplit((socket_scheme, parts.netloc, "/", "", "")),
            room_id=parts.path.rsplit("/", 1)[-1],
            token=parts.fragment,
        )


async def sign_in(server: str) -> tuple[str, str]:
    """An anonymous identity: its user name and its ID token."""
    async with httpx.AsyncClient() as http:
        response = await http.post(f"{server}/anonymous-signin")
        response.raise_for_status()
        body = response.json()
        return body["username"], body["id_token"]


def register_message(link: JoinLink, peer_id: str, id_token: str) -> dict:
    """What sleap-RTC's client sends first, field for field."""
    return {
        "type": "register",
        "peer_id": peer_id,
        "room_id": link.room_id,
        "token": link.token,
        "id_token": id_token,
        "role": "client",
        "is_admin": False,
        "metadata": {
            "tags": ["sleap-rtc", "training-client"],
            "properties": {
                "sleap_version": "unknown",
                "platform": "Linux",
                "user_id": "unknown",
            },
        },
    }


@asynccontextmanager
async def joined(join_url: str):
    """A client that is registered in the room of this link."""
    link = JoinLink.parse(join_url)
    peer_id, id_token = await sign_in(link.server)
    async with websockets.connect(link.socket) as socket:
        await socket.send(json.dumps(register_message(link, peer_id, id_token)))
        registered = json.loads(await asyncio.wait_for(socket.recv(), ANSWER_SECONDS))
        assert registered["type"] == "registered_auth", registered
        client = ExistingClient(socket, peer_id, registered)
        try:
            yield client
        finally:
            await client.close()
