"""The picture over plain HTTP: whole JPEGs, live, at a bounded rate, and nobody's old pictures."""

import asyncio
import itertools
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import av
import httpx
import pytest
import strip
from existing_client import JoinLink
from worlds import standalone

BOUNDARY = b"--halyard-picture"
SECONDS = 30


@pytest.fixture
async def link(tmp_path: Path):
    async with standalone(tmp_path) as said:
        yield JoinLink.parse(said["viewer_url"])


@dataclass
class Part:
    """One picture of the row."""

    jpeg: bytes
    taken: float


class Parts:
    """Cuts a row of pictures into them, trusting nothing but the lengths that it says."""

    def __init__(self):
        self.rest = b""

    def push(self, data: bytes) -> list[Part]:
        self.rest += data
        found = []
        while True:
            head, end, rest = self.rest.partition(b"\r\n\r\n")
            if not end:
                return found
            lines = head.strip().split(b"\r\n")
            assert lines[0] == BOUNDARY, lines
            headers = dict(line.decode().lower().split(": ") for line in lines[1:])
            assert headers["content-type"] == "image/jpeg"
            length = int(headers["content-length"])
            if len(rest) < length:
                return found
            self.rest = rest[length:]
            found.append(Part(rest[:length], float(headers["x-timestamp"])))


def decode(jpeg: bytes):
    """The picture as rows of luma."""
    assert jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9", "a whole file"
    codec = av.CodecContext.create("mjpeg", "r")
    (frame,) = codec.decode(av.Packet(jpeg))
    return frame.to_ndarray(format="gray")


async def read(link: JoinLink, count: int) -> list[Part]:
    parts, reader = [], Parts()
    headers = {"Authorization": f"Bearer {link.token}"}
    async with (
        httpx.AsyncClient(base_url=link.server, headers=headers, timeout=SECONDS) as http,
        http.stream("GET", "/mjpeg") as response,
    ):
        assert response.status_code == httpx.codes.OK
        kind = response.headers["Content-Type"]
        assert kind == "multipart/x-mixed-replace; boundary=halyard-picture"
        assert response.headers["Cache-Control"] == "no-store"
        async for data in response.aiter_raw():
            parts += reader.push(data)
            if len(parts) >= count:
                return parts
    raise AssertionError("the row of pictures ended")


async def test_pictures_are_whole_live_and_not_too_many(link: JoinLink):
    parts = await read(link, 31)
    strips = []
    for part in parts:
        luma = decode(part.jpeg)
        assert luma.shape == (720, 1280)
        strips.append(strip.read(luma))
    assert sum(one is not None for one in strips) >= 29, "the strip can be read in nearly all"
    frames = [one.frame for one in strips if one]
    assert frames == sorted(set(frames)), "each is newer than the one before"
    for part, one in zip(parts, strips, strict=True):
        if one:
            painted = (round(part.taken * 1000) - one.time_ms) % 2**32
            painted = painted - 2**32 if painted > 2**31 else painted
            assert abs(painted) < 200, "X-Timestamp is when the picture was painted"
    took = parts[-1].taken - parts[0].taken
    assert took >= 30 / 15 * 0.9, f"31 pictures within {took:.2f} s are more than 15 a second"


async def test_a_snapshot_is_one_picture_of_now(link: JoinLink):
    headers = {"Authorization": f"Bearer {link.token}"}
    async with httpx.AsyncClient(base_url=link.server, headers=headers, timeout=SECONDS) as http:
        asked = time.time()
        response = await http.get("/snapshot.jpg")
        assert response.headers["Content-Type"] == "image/jpeg"
        assert float(response.headers["X-Timestamp"]) > asked - 1
        assert decode(response.content).shape == (720, 1280)
        assert (await http.get("/snapshot.jpg", headers={"Authorization": ""})).status_code == 401


def connect(link: JoinLink, *, buffer: int | None = None) -> socket.socket:
    """A connection that has asked for the stream and read nothing."""
    host, _, port = link.server.removeprefix("http://").partition(":")
    reader = socket.socket()
    if buffer is not None:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    reader.settimeout(SECONDS)
    reader.connect((host, int(port)))
    request = f"GET /mjpeg HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {link.token}\r\n\r\n"
    reader.sendall(request.encode())
    return reader


def dechunked(data: bytes) -> bytes:
    """What stands in the chunks of an HTTP/1.1 body, as far as they are whole."""
    whole = b""
    while True:
        size, end, rest = data.partition(b"\r\n")
        if not end or len(rest) < int(size, 16) + 2:
            return whole
        whole += rest[: int(size, 16)]
        data = rest[int(size, 16) + 2 :]


async def test_who_reads_slowly_sees_fewer_pictures_and_not_old_ones(link: JoinLink):
    reader = await asyncio.to_thread(connect, link, buffer=16 * 1024)
    # Meanwhile others are served as ever: three seconds of pictures.
    others = await read(link, 45)
    assert others[-1].taken - others[0].taken < 15, "nobody waits for who reads slowly"

    def read_on() -> list[tuple[Part, float]]:
        data, parts, read_at = b"", Parts(), []
        seen = 0
        while len(read_at) < 8:
            data += reader.recv(65536)
            body = dechunked(data.partition(b"\r\n\r\n")[2])
            read_at += [(part, time.time()) for part in parts.push(body[seen:])]
            seen = len(body)
        return read_at

    with reader:
        read_at = await asyncio.to_thread(read_on)
    # One was on its way and one waited for the connection; what was taken meanwhile is passed over.
    ages = [now - part.taken for part, now in read_at]
    gaps = [later.taken - before.taken for (before, _), (later, _) in itertools.pairwise(read_at)]
    assert max(gaps) > 1.5, f"pictures were passed over: {gaps}"
    assert max(ages[3:]) < 1.5, f"after those that were on their way they are new: {ages}"


async def test_a_crowd_that_never_reads_is_bounded_and_the_machine_goes_on(link: JoinLink):
    crowd = []
    try:
        for _ in range(1000):
            try:
                crowd.append(await asyncio.to_thread(connect, link))
            except OSError:
                break  # the broker's own limit for one address
        answers = {}
        for reader in crowd:
            reader.settimeout(SECONDS)
            try:
                first = (await asyncio.to_thread(reader.recv, 64)).split(b"\r\n")[0]
            except OSError:
                first = b"closed"
            answers[first] = answers.get(first, 0) + 1
        served = answers.pop(b"HTTP/1.1 200 OK", 0)
        assert 1 <= served <= 16, answers
        refused = {line[9:12] for line in answers if line.startswith(b"HTTP/1.1 ")}
        assert refused <= {b"503", b"429"}, answers
    finally:
        for reader in crowd:
            reader.close()
    async with asyncio.timeout(60):
        while True:
            try:
                await read(link, 3)
            except (AssertionError, httpx.HTTPError):
                await asyncio.sleep(0.2)
            else:
                return
