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
KEEP_BYTES = 1024 * 1024


@dataclass
class Received:
    """A file that came over the channel."""

    name: str
    size: int
    hint: str = ""
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    bytes: int = 0
    content: bytearray = field(default_factory=bytearray)


class ExistingClient:
    """One client in one room. Build it with `joined`."""

    def __init__(self, socket, peer_id: str, registered: dict, label: str):
        self.socket = socket
        self.peer_id = peer_id
        self.registered = registered
        # No STUN: the tests stay on this machine.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel(label)
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
                if self._incoming.size <= KEEP_BYTES:
                    self._incoming.content += message
        elif "FILE_META::" in message:
            # As the original takes it apart: a line with other colons would be an error.
            name, size, hint = message.split("FILE_META::", 1)[1].split(":")
            self._incoming = Received(name, int(size), hint)
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

    async def discover(self, filters: dict) -> list[dict]:
        await self.say(
            {"type": "discover_peers", "from_peer_id": self.peer_id, "filters": filters},
        )
        return (await self.hear("peer_list"))["peers"]

    async def find_worker(self) -> str:
        return (await self.discover({"role": "worker"}))[0]["peer_id"]

    async def find_trainer(self, room_id: str) -> str:
        """As the original's clients look for one, field for field."""
        (worker,) = await self.discover(
            {
                "role": "worker",
                "room_id": room_id,
                "tags": ["sleap-rtc"],
                "properties": {"status": "available"},
            }
        )
        return worker["peer_id"]

    async def connect(self, *, video: bool, worker: str | None = None, **fields) -> None:
        """Offers to the room's worker and waits until the channel is open."""
        worker = worker or await self.find_worker()
        if video:
            self.connection.addTransceiver("video", direction="recvonly")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        offer = self.connection.localDescription.sdp
        assert "a=end-of-candidates" in offer, "aiortc puts every candidate into its offer"
        await self.say(
            {"type": "offer", "sender": self.peer_id, "target": worker, "sdp": offer, **fields},
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

    def send_bytes(self, content: bytes) -> None:
        for start in range(0, len(content), CHUNK_BYTES):
            self.channel.send(content[start : start + CHUNK_BYTES])

    def send_package(
        self, content: bytes, name: str, *, kind: str = "train", gui: str = "False"
    ) -> None:
        """A package, word for word as the original's clients send it."""
        self.channel.send(f"PACKAGE_TYPE::{kind}")
        self.channel.send("OUTPUT_DIR::models")
        self.channel.send(f"FILE_META::{name}:{len(content)}:{gui}")
        self.send_bytes(content)
        self.channel.send("END_OF_FILE")

    async def next_text(self) -> str:
        return await asyncio.wait_for(self.texts.get(), ANSWER_SECONDS)

    async def until(self, begin: str) -> list[str]:
        """Everything that is said up to the first text that begins so."""
        said: list[str] = []
        while not said or not said[-1].startswith(begin):
            said.append(await self.next_text())
        return said

    async def ask(self, text: str) -> str:
        """Says something, and what is said next."""
        self.channel.send(text)
        return await self.next_text()

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
async def joined(join_url: str, *, label: str = "my-data-channel"):
    """A client that is registered in the room of this link."""
    link = JoinLink.parse(join_url)
    peer_id, id_token = await sign_in(link.server)
    async with websockets.connect(link.socket) as socket:
        await socket.send(json.dumps(register_message(link, peer_id, id_token)))
        registered = json.loads(await asyncio.wait_for(socket.recv(), ANSWER_SECONDS))
        assert registered["type"] == "registered_auth", registered
        client = ExistingClient(socket, peer_id, registered, label)
        try:
            yield client
        finally:
            await client.close()
