"""The newer vocabulary: a secret to prove, files looked at and brought, jobs followed."""

import asyncio
import base64
import hashlib
import hmac
import json
from pathlib import Path

import pytest
import sleap
from existing_client import ExistingClient, joined

SECRET = base64.urlsafe_b64encode(bytes(range(32))).rstrip(b"=").decode()


@pytest.fixture
async def node(tmp_path: Path):
    async with sleap.node(tmp_path) as node:
        yield node


@pytest.fixture
async def guarded(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n", encoding="utf-8")
    async with sleap.node(tmp_path, "--psk-file", str(secret)) as node:
        yield node


def answer_to(challenge: str, secret: str = SECRET) -> str:
    """As sleap-rtc computes it."""
    nonce = challenge.removeprefix("AUTH_CHALLENGE::")
    key, message = (base64.urlsafe_b64decode(text + "==") for text in (secret, nonce))
    digest = hmac.new(key, message, hashlib.sha256).digest()
    return "AUTH_RESPONSE::" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


async def is_silent(client: ExistingClient) -> bool:
    """Nothing is said for as long as every answer here takes many times over."""
    try:
        await asyncio.wait_for(client.texts.get(), 1)
    except TimeoutError:
        return True
    return False


def payload(text: str, word: str):
    assert text.startswith(f"{word}::"), text
    return json.loads(text.removeprefix(f"{word}::"))


def put_project(node: sleap.Node, *models: str, **test) -> Path:
    project = node.files / "project"
    project.mkdir()
    (project / "labels.slp").write_bytes(sleap.labels())
    for model in models:
        config = sleap.config(model, **test)
        (project / f"{model}.yaml").write_text(config, encoding="utf-8")
    return project


def submission(project: Path, *models: str, **fields) -> str:
    spec = {
        "type": "train",
        "config_paths": [str(project / f"{model}.yaml") for model in models],
        "model_types": list(models),
        **fields,
    }
    return f"JOB_SUBMIT::c1::{json.dumps(spec)}"


async def test_nothing_is_heard_before_the_secret_is_proved(guarded: sleap.Node):
    commands = ["FS_GET_INFO", 'JOB_SUBMIT::1::{"type":"train"}', "FILE_UPLOAD_CHECK::a::b"]
    # The challenge of one connection, and an answer that was right on it.
    async with joined(guarded.link) as client:
        # A role in the offer and a label that is let in elsewhere open nothing.
        await client.connect(video=False, role="client")
        challenge = await client.next_text()
        right = answer_to(challenge)
        for command in commands:
            client.channel.send(command)
        client.channel.send(b"bytes of a file")
        assert await client.ask(right) == "AUTH_SUCCESS"
        assert payload(await client.ask("FS_GET_INFO"), "FS_INFO_RESPONSE")["mounts"]
    for label, attempt, failure in (
        ("my-data-channel", right, "invalid"),
        ("training", "AUTH_RESPONSE::missing", "missing"),
        ("pathcheck", "AUTH_RESPONSE::" + "A" * 43, "invalid"),
    ):
        async with joined(guarded.link, label=label) as client:
            await client.connect(video=False)
            fresh = await client.next_text()
            assert fresh.startswith("AUTH_CHALLENGE::") and fresh != challenge
            for command in ("AUTH_SUCCESS", *commands):
                client.channel.send(command)
            assert await client.ask(attempt) == f"AUTH_FAILURE::{failure}"
            # One answer is all: the right one comes too late, and is not even looked at.
            for command in (answer_to(fresh), *commands):
                client.channel.send(command)
            assert await is_silent(client)


async def test_who_does_not_answer_is_told_that_the_time_is_up(guarded: sleap.Node):
    async with joined(guarded.link) as client:
        await client.connect(video=False)
        challenge = await client.next_text()
        assert await client.next_text() == "AUTH_FAILURE::timeout"
        client.channel.send(answer_to(challenge))
        client.channel.send("FS_GET_INFO")
        assert await is_silent(client)


async def test_the_workers_files_are_looked_at_and_nothing_else(node: sleap.Node):
    project = put_project(node, "centroid")
    (project / "out").symlink_to("/etc")
    async with joined(node.link, label="browse") as client:
        await client.connect(video=False)
        ask = client.ask
        (mount,) = payload(await ask("FS_GET_MOUNTS"), "FS_MOUNTS_RESPONSE")
        assert mount == {"path": str(node.files), "label": "files"}
        listed = payload(await ask(f"FS_LIST_DIR::{project}::0"), "FS_LIST_RESPONSE")
        assert [entry["name"] for entry in listed["entries"]] == ["centroid.yaml", "labels.slp"]
        found = payload(await ask("FS_RESOLVE::/home/me/labels.slp"), "FS_RESOLVE_RESPONSE")
        assert found["candidates"][0]["path"] == str(project / "labels.slp")
        scan = json.dumps({"directory": str(project), "filenames": ["labels.slp", "no.mp4"]})
        scanned = payload(await ask(f"FS_SCAN_DIR::{scan}"), "FS_SCAN_DIR_RESPONSE")
        assert scanned["found"] == {"labels.slp": str(project / "labels.slp"), "no.mp4": None}
        for outside in ("/etc", f"{project}/out", f"{project}/../../.."):
            assert (await ask(f"FS_LIST_DIR::{outside}::0")).startswith("FS_ERROR::ACCESS_DENIED::")
        assert await ask("USE_WORKER_PATH::/etc/passwd") == (
            "WORKER_PATH_ERROR::Path not within configured mounts"
        )
        chosen = await ask(f"USE_WORKER_PATH::{project / 'labels.slp'}")
        assert chosen == f"WORKER_PATH_OK::{project / 'labels.slp'}"
        checked = payload(await client.next_text(), "FS_CHECK_VIDEOS_RESPONSE")
        assert "HDF5" in checked["error"]
        write = await ask(f'FS_WRITE_SLP::{{"slp_path":"{project}/labels.slp"}}')
        assert "HDF5" in payload(write, "FS_WRITE_SLP_ERROR")["error"]


async def test_a_file_is_brought_checked_and_known_the_next_time(node: sleap.Node):
    content = sleap.labels() * 100
    digest = hashlib.sha256(content).hexdigest()

    async def upload(client: ExistingClient, sent: bytes, name: str) -> str:
        check = await client.ask(f"FILE_UPLOAD_CHECK::{digest}::{name}")
        if check != "FILE_UPLOAD_READY":
            return check
        start = f"FILE_UPLOAD_START::{name}::{len(content)}::{node.files}::1"
        ready = await client.ask(start)
        if ready != "FILE_UPLOAD_READY":
            return ready
        client.send_bytes(sent)
        client.channel.send("FILE_UPLOAD_END")
        said = await client.until("FILE_UPLOAD_")
        while said[-1].startswith("FILE_UPLOAD_PROGRESS"):
            said = await client.until("FILE_UPLOAD_")
        return said[-1]

    async with joined(node.link) as client:
        await client.connect(video=False)
        place = node.files / "sleap_rtc_downloads" / "mice.pkg.slp"
        wrong = bytes([content[0] ^ 1]) + content[1:]
        assert (await upload(client, wrong, "mice.pkg.slp")).startswith(
            "FILE_UPLOAD_ERROR::SHA-256 mismatch: expected "
        )
        assert "Size mismatch" in await upload(client, content[:-1], "mice.pkg.slp")
        assert "has a /" in await upload(client, content, "../../evil.slp")
        assert not place.exists()
        assert await upload(client, content, "mice.pkg.slp") == f"FILE_UPLOAD_COMPLETE::{place}"
        assert place.read_bytes() == content
        assert await upload(client, content, "mice.pkg.slp") == f"FILE_UPLOAD_CACHE_HIT::{place}"
    assert not list(node.home.rglob("evil.slp")) and not list(node.home.rglob("*.part"))


async def test_a_pipeline_is_trained_and_its_models_are_used_on_the_labels(node: sleap.Node):
    models = ("centroid", "centered_instance")
    project = put_project(node, *models)
    async with joined(node.link, label="training") as client:
        await client.connect(video=False)
        # Clients of this label wait for a challenge; without a secret any answer will do.
        assert (await client.next_text()).startswith("AUTH_CHALLENGE::")
        assert await client.ask("AUTH_RESPONSE::missing") == "AUTH_SUCCESS"
        labels = str(project / "labels.slp")
        client.channel.send(submission(project, *models, labels_path=labels, max_epochs=2))
        said = await client.until("INFERENCE_COMPLETE::")
        job = said[0].removeprefix("JOB_ACCEPTED::")
        known = ("Training model", "MODEL_TYPE", "JOB_COMPLETE", "INFERENCE_BEGIN")
        words = [text.split("::")[0].rstrip() for text in said if text.startswith(known)]
        assert words == [
            "Training model 1/2: centroid",
            "JOB_COMPLETE",
            "Training model 2/2: centered_instance",
            "MODEL_TYPE",
            "JOB_COMPLETE",
            "INFERENCE_BEGIN",
        ]
        assert "MODEL_TYPE::centered_instance" in said
        ended = [payload(text, "JOB_COMPLETE") for text in said if text.startswith("JOB_COMPLETE")]
        assert [end["job_id"] for end in ended] == [f"{job}_0", f"{job}_1"]
        assert all(end["success"] and not end["stopped_early"] for end in ended)
        assert (Path(ended[0]["output_path"]) / "best.ckpt").exists()
        progress = [payload(t, "JOB_PROGRESS") for t in said if t.startswith("JOB_PROGRESS")]
        assert [told["epoch"] for told in progress] == [0, 1, 0, 1]
        assert "training centroid\n" in said and "[stderr] a warning of the trainer\n" in said
        assert any(text.startswith("CR::Epoch") for text in said)
        assert "INFERENCE_LOG::tracking" in said
        assert any(text.startswith('INFERENCE_PROGRESS::{"n_processed"') for text in said)
        complete = payload(said[-1], "INFERENCE_COMPLETE")
        assert complete == {"predictions_path": str(project / "labels.predictions.slp")}
        predictions = json.loads((project / "labels.predictions.slp").read_text(encoding="utf-8"))
        assert predictions["models"] == list(models) and predictions["suggested"]


async def test_a_job_is_stopped_early_or_cancelled(node: sleap.Node):
    project = put_project(node, "centroid", epochs=10000, pause=0.02)
    async with joined(node.link) as client:
        await client.connect(video=False)
        for command, last in (
            ('CONTROL_COMMAND::{"command": "stop"}', {"reason": "no_labels_path"}),
            ("JOB_CANCEL", {"reason": "cancelled"}),
        ):
            client.channel.send(submission(project, "centroid"))
            await client.until("JOB_PROGRESS::")
            client.channel.send(command)
            said = await client.until("INFERENCE_SKIPPED::")
            assert payload(said[-1], "INFERENCE_SKIPPED") == last
            (end,) = (t for t in said if t.startswith(("JOB_COMPLETE::", "JOB_FAILED::")))
            if "stop" in command:
                assert payload(end, "JOB_COMPLETE")["stopped_early"]
            else:
                assert end.startswith("JOB_FAILED::") and "cancelled" in end


async def test_everything_wrong_with_a_job_is_said_with_its_code(node: sleap.Node):
    project = put_project(node, "centroid")
    async with joined(node.link) as client:
        await client.connect(video=False)

        async def codes(text: str) -> set[tuple[str, str | None]]:
            answer = await client.ask(text)
            assert answer.startswith("JOB_REJECTED::c1::"), answer
            errors = json.loads(answer.split("::", 2)[2])["errors"]
            assert all(error["message"] for error in errors)
            return {(error["field"], error.get("code")) for error in errors}

        assert await codes("JOB_SUBMIT::c1::{") == {("spec", None)}
        assert await codes('JOB_SUBMIT::c1::{"type":"train"}') == {("config", "MISSING_CONFIG")}
        outside = submission(project, "centroid", labels_path="/etc/passwd")
        assert await codes(outside) == {("labels_path", "NOT_ALLOWED")}
        absent = submission(project, "nothing")
        assert await codes(absent) == {("config_path", "PATH_NOT_FOUND")}
        numbers = {"max_epochs": 0, "batch_size": 257, "learning_rate": 2, "run_name": "../x"}
        fields = {(name, "BAD_VALUE") for name in numbers}
        assert await codes(submission(project, "centroid", **numbers)) == fields
        unknown = submission(project, "centroid", gpus=8)
        assert await codes(unknown) == {("gpus", "UNKNOWN_VALUE")}
    assert node.job_files() == []
