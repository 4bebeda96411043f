"""A TURN server on the loopback that can be cut off like a network."""

import asyncio
import signal
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from programs import START_SECONDS, log_path

SECRET = "the secret of both"
# A STUN binding request without attributes (RFC 8489): the plainest question there is.
BINDING = bytes.fromhex("000100002112a4420102030405060708090a0b0c")


@dataclass
class Coturn:
    """One that runs."""

    port: int
    process: asyncio.subprocess.Process

    @property
    def environment(self) -> dict[str, str]:
        """What a broker is told of it."""
        url = f"turn:127.0.0.1:{self.port}?transport=udp"
        return {"HALYARD_TURN_URLS": url, "HALYARD_TURN_SECRET": SECRET}

    def cut(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self.process.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@asynccontextmanager
async def coturn(home: Path):
    """Starts it, and waits until it answers."""
    port = free_port()
    with log_path("coturn").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("turnserver", "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"),
            *(f"--listening-port={port}", "--realm=halyard.test", "--use-auth-secret"),
            *(f"--static-auth-secret={SECRET}", "--fingerprint", "--allow-loopback-peers"),
            *("--no-cli", "--no-tls", "--no-dtls", "--log-file=stdout", "--simple-log"),
            *(f"--userdb={home / 'turndb'}", f"--pidfile={home / 'turn.pid'}"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        await answers(port)
        yield Coturn(port, process)
    finally:
        process.kill()
        await process.wait()


async def answers(port: int) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect(("127.0.0.1", port))
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    # Nobody listens there at first, and says so.
                    await loop.sock_sendall(asking, BINDING)
                    await asyncio.wait_for(loop.sock_recv(asking, 512), 0.2)
                    return
                except (OSError, TimeoutError):
                    await asyncio.sleep(0.05)
