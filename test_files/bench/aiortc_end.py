"""One end of an aiortc file transfer, for the comparison in files.py.

Speaks SDP with its parent on stdin and stdout, one JSON object a line. The sender uses chunks of
64 KiB and pauses above 16 MiB buffered, as the original does.
"""

import asyncio
import hashlib
import json
import resource
import sys
from pathlib import Path

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

CHUNK_BYTES = 64 * 1024
PAUSE_ABOVE_BUFFERED_BYTES = 16 * 1024 * 1024


def say(message: dict) -> None:
    print(json.dumps(message), flush=True)


async def hear() -> dict:
    line = await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return json.loads(line)


async def send(path: Path) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    channel = connection.createDataChannel("my-data-channel")
    opened, done, room = asyncio.Event(), asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.on("message", lambda _: done.set())
    channel.on("bufferedamountlow", room.set)
    channel.bufferedAmountLowThreshold = PAUSE_ABOVE_BUFFERED_BYTES // 2
    await connection.setLocalDescription(await connection.createOffer())
    say({"sdp": connection.localDescription.sdp})
    await connection.setRemoteDescription(RTCSessionDescription((await hear())["sdp"], "answer"))
    await opened.wait()
    say({"event": "started"})
    with path.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            if channel.bufferedAmount > PAUSE_ABOVE_BUFFERED_BYTES:
                room.clear()
                await room.wait()
            channel.send(chunk)
            await asyncio.sleep(0)
    channel.send("END_OF_FILE")
    await done.wait()
    say({"event": "done"} | used())
    await connection.close()


async def receive(path: Path) -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    digest, done = hashlib.sha256(), asyncio.Event()
    with path.open("wb") as sink:

        def on_message(channel, message: str | bytes) -> None:
            if isinstance(message, bytes):
                digest.update(message)
                sink.write(message)
            else:
                sink.flush()
                channel.send("DONE")
                done.set()

        connection.on(
            "datachannel", lambda c: c.on("message", lambda message: on_message(c, message))
        )
        await connection.setRemoteDescription(RTCSessionDescription((await hear())["sdp"], "offer"))
        await connection.setLocalDescription(await connection.createAnswer())
        say({"sdp": connection.localDescription.sdp})
        await done.wait()
    say({"event": "done", "sha256": digest.hexdigest()} | used())
    await hear()  # the parent lets go when the sender has its answer
    await connection.close()


def used() -> dict:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_seconds": own.ru_utime + own.ru_stime, "peak_kib": own.ru_maxrss}


if __name__ == "__main__":
    asyncio.run({"send": send, "receive": receive}[sys.argv[1]](Path(sys.argv[2])))
