"""sleap-rtc 0.0.7 from PyPI, unmodified, against a Halyard worker.

It signs in with an account of its own server, which Halyard's broker does not have. So a proxy
stands between its WebSocket and the broker, and puts an identity of Halyard's and the room's token
into its `register`; everything else passes as it is, and the data channel goes past it.
"""

import asyncio
import base64
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sleap
import websockets
from existing_client import JoinLink, joined, sign_in
from sleap_rtc import api
from sleap_rtc.auth.psk import generate_secret

HERE = Path(__file__).parent


@asynccontextmanager
async def signing_in(link: JoinLink):
    """The proxy's address."""

    async def serve(client) -> None:
        _, id_token = await sign_in(link.server)
        async with websockets.connect(link.socket) as server:

            async def up() -> None:
                async for text in client:
                    message = json.loads(text)
                    if message["type"] == "register":
                        del message["jwt"]
                        message |= {"token": link.token, "id_token": id_token}
                    await server.send(json.dumps(message))

            async def down() -> None:
                async for text in server:
                    await client.send(text)

            tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async with websockets.serve(serve, "127.0.0.1", 0) as proxy:
        yield f"ws://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


def account() -> str:
    """A token that the client takes for its own: it looks at the end of its time alone."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"sub": "1", "exp": int(time.time()) + 3600})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    return ".".join([text.rstrip(b"=").decode() for text in encoded] + ["c2lnbmF0dXJl"])


async def real_client(node: sleap.Node, home: Path, *arguments: str) -> list[dict]:
    """Everything that the client's callbacks were told."""
    link = JoinLink.parse(node.link)
    credentials = home / ".sleap-rtc" / "credentials.json"
    credentials.parent.mkdir(parents=True)
    credentials.write_text(json.dumps({"jwt": account()}), encoding="utf-8")
    async with signing_in(link) as address:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "real_client.py"),
            link.room_id,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(home), "SLEAP_RTC_SIGNALING_WS": address},
        )
        output, _ = await asyncio.wait_for(process.communicate(), 120)
    return [json.loads(line) for line in output.splitlines()]


def put_project(node: sleap.Node, *models: str, **test) -> Path:
    project = node.files / "project"
    project.mkdir()
    (project / "labels.slp").write_bytes(sleap.labels())
    for model in models:
        text = sleap.config(model, **test)
        (project / f"{model}.yaml").write_text(text, encoding="utf-8")
    return project


async def test_it_trains_a_pipeline_and_hears_of_the_inference(tmp_path: Path):
    models = ["centroid", "centered_instance"]
    async with sleap.node(tmp_path) as node:
        project = put_project(node)
        spec = {
            "config_contents": [sleap.config(model, labels="/mine/labels.slp") for model in models],
            "model_types": models,
            "labels_path": "/mine/labels.slp",
            "max_epochs": 2,
            "path_mappings": {"/mine/labels.slp": str(project / "labels.slp")},
        }
        said = await real_client(node, tmp_path / "home", "train", json.dumps(spec))
        result = said[-1]
        assert result["event"] == "result" and result["success"], said[-5:]
        assert result["epoch"] == 1
        assert (Path(result["path"]) / "best.ckpt").exists()
        assert [line["model"] for line in said if line["event"] == "model_type"] == models[1:]
        reports = [json.loads(line["report"]) for line in said if line["event"] == "progress"]
        assert [r["event"] for r in reports].count("epoch_end") == 4, "of both models"
        logs = [line["text"] for line in said if line["event"] == "log"]
        assert "training centroid\n" in logs and "training centered_instance\n" in logs
        inference = [line["word"] for line in said if line["event"] == "inference"]
        assert inference[0] == "INFERENCE_BEGIN" and inference[-1] == "INFERENCE_COMPLETE"
        assert (project / "labels.predictions.slp").exists()


async def test_it_shows_why_a_job_was_rejected_or_failed(tmp_path: Path):
    async with sleap.node(tmp_path) as node:
        project = put_project(node, "broken", fail_with=3)
        absent = json.dumps({"config_paths": ["/etc/x.yaml"], "max_epochs": 2})
        (error,) = await real_client(node, tmp_path / "one", "train", absent)
        assert error["kind"] == "ConfigurationError"
        assert "Path not within allowed mounts" in error["message"]
        broken = json.dumps({"config_paths": [str(project / "broken.yaml")]})
        said = await real_client(node, tmp_path / "two", "train", broken)
        assert said[-1]["kind"] == "JobError", said
        assert "it ended with code 3" in said[-1]["message"], "the reason, not `Job failed`"
        checked = await real_client(node, tmp_path / "three", "check", str(project / "labels.slp"))
        (other,) = await real_client(node, tmp_path / "four", "check", "/etc/passwd")
        assert checked[-1]["path"] == str(project / "labels.slp")
        assert "not within configured mounts" in other["message"]


@pytest.mark.parametrize("is_right", [True, False], ids=["the secret", "another secret"])
async def test_it_proves_a_secret(tmp_path: Path, is_right: bool):
    secret = generate_secret()
    (tmp_path / "secret").write_text(secret, encoding="utf-8")
    async with (
        sleap.node(tmp_path, "--psk-file", str(tmp_path / "secret")) as node,
        joined(node.link, label="training") as client,
    ):
        await client.connect(video=False)
        said = secret if is_right else generate_secret()
        proving = api._authenticate_channel(client.channel, client.texts, room_secret=said)
        if is_right:
            await proving
            assert (await client.ask("FS_GET_MOUNTS")).startswith("FS_MOUNTS_RESPONSE::")
        else:
            with pytest.raises(api.ConfigurationError, match="Authentication failed: invalid"):
                await proving
