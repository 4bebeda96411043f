"""A broker whose limits are out of the way, and somebody who may call it."""

from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from programs import logged, program


@dataclass
class Interface:
    """A broker's REST interface, and the proof that its caller is somebody."""

    address: str
    id_token: str


@pytest.fixture
async def interface(tmp_path: Path):
    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--admin-listen", "none", "--log-format", "json"),
        *("--data-dir", str(tmp_path / "data")),
        # Thousands of calls come from one address and one identity here.
        *("--handshakes-per-minute", "1000000", "--max-rooms-per-identity", "1000000"),
        log="openapi-server",
    ):
        address = (await logged("openapi-server", r"serving .* at (http://[^\s\"]+)"))[1]
        async with httpx.AsyncClient() as client:
            signed_in = await client.post(f"{address}/anonymous-signin")
        yield Interface(address, signed_in.json()["id_token"])
