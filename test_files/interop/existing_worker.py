"""An existing worker of the legacy generation, in its own words: one client at a time, packages in,
results back. It makes its room, claims to be its admin and says of itself what such workers say.
"""

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import httpx
import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from existing_client import ANSWER_SECONDS, JoinLink, sign_in

CHUNK_BYTES = 32 * 1024


class ExistingWorker:
    """One worker in one room. Build it with `serving`."""

    def __init__(self, socket, link: JoinLink, peer_id: str, id_token: str):
        self.socket = socket
        self.link = link
        self.peer_id = peer_id
        self.id_token = id_token
        self.status = "available"
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("datachannel", self._on_channel)
        self.registered: asyncio.Future[dict] = asyncio.get_running_loop().create_future()
        self.updated: asyncio.Queue[dict] = asyncio.Queue()
        self.requests: asyncio.Queue[dict] = asyncio.Queue()
        self._incoming: tuple[str, bytearray] | None = None

    async def say(self, message: dict) -> None:
        await self.socket.send(json.dumps(message))

    def metadata(self) -> dict:
        return {
            "tags": ["sleap-rtc", "training-worker", "inference-worker"],
            "properties": {
                "gpu_memory_mb": 0,
                "gpu_model": "CPU",
                "sleap_version": "unknown",
                "cuda_version": "N/A",
                "hostname": "node",
                "status": self.status,
                "max_concurrent_jobs": 1,
                "supported_models": ["base", "centroid", "topdown"],
                "supported_job_types": ["training", "inference"],
            },
        }

    async def register(self) -> None:
        await self.say(
            {
                "type": "register",
                "peer_id": self.peer_id,
                "room_id": self.link.room_id,
                "token": self.link.token,
                "id_token": self.id_token,
                "role": "worker",
                "is_admin": True,
                "metadata": self.metadata(),
            }
        )

    async def update(self, status: str) -> None:
        self.status = status
        metadata = {"properties": {"status": status}}
        await self.say(
            {"type": "update_metadata", "peer_id": self.peer_id, "metadata": metadata},
        )

    async def serve(self) -> None:
        async for text in self.socket:
            message = json.loads(text)
            match message["type"]:
                case "registered_auth":
                    if not self.registered.done():
                        self.registered.set_result(message)
                case "offer":
                    await self._offer(message)
                case "metadata_updated":
                    self.updated.put_nowait(message)
                case "peer_message":
                    self.requests.put_nowait(message)

    async def _offer(self, offer: dict) -> None:
        if self.status != "available":
            await self.say(
                {
                    "type": "error",
                    "target": offer["sender"],
                    "reason": "worker_busy",
                    "message": f"Worker is currently {self.status}.",
                    "current_status": self.status,
                }
            )
            return
        await self.update("reserved")
        description = RTCSessionDescription(offer["sdp"], "offer")
        await self.connection.setRemoteDescription(description)
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        await self.say(
            {
                "type": "answer",
                "sender": self.peer_id,
                "target": offer["sender"],
                "sdp": self.connection.localDescription.sdp,
            }
        )

    def _on_channel(self, channel) -> None:
        def on_message(message: str | bytes) -> None:
            if isinstance(message, bytes):
                if message != b"KEEP_ALIVE":
                    self._incoming[1].extend(message)
            elif "FILE_META::" in message:
                name, _, _ = message.split("FILE_META::", 1)[1].split(":")
                self._incoming = (name, bytearray())
            elif message == "END_OF_FILE":
                name, content = self._incoming
                channel.send("TRAIN_JOB_START::centroid")
                channel.send("training\n")
                channel.send("TRAIN_JOB_END::centroid")
                channel.send("TRAINING_JOBS_DONE")
                channel.send(f"FILE_META::trained_{name}:{len(content)}:models")
                for start in range(0, len(content), CHUNK_BYTES):
                    channel.send(bytes(content[start : start + CHUNK_BYTES]))
                channel.send("END_OF_FILE")

        channel.on("message", on_message)


@asynccontextmanager
async def serving(server: str):
    """A worker in a room of its own on this broker."""
    peer_id, id_token = await sign_in(server)
    async with httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {id_token}"}
        response = await http.post(f"{server}/create-room", headers=headers)
        response.raise_for_status()
        room = response.json()
    link = JoinLink.parse(f"{server}/r/{room['room_id']}#{room['token']}")
    async with websockets.connect(link.socket) as socket:
        worker = ExistingWorker(socket, link, peer_id, id_token)
        await worker.register()
        task = asyncio.create_task(worker.serve())
        try:
            await asyncio.wait_for(asyncio.shield(worker.registered), ANSWER_SECONDS)
            yield worker
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await worker.connection.close()
