"""Packages of the original's clients, word for word: sent, trained or tracked, and sent back."""

import asyncio
import io
import json
import zipfile
from pathlib import Path

import pytest
import sleap
from existing_client import ANSWER_SECONDS, ExistingClient, Received, joined

SHELL = "#!/bin/bash\nsleap-nn train --config-name centroid.yaml; touch /tmp/halyard-was-here\n"
ELSEWHERE = "sleap-nn train --config-name ../../x.yaml\n"


@pytest.fixture
async def node(tmp_path: Path):
    async with sleap.node(tmp_path) as node:
        yield node


async def next_file(client: ExistingClient) -> Received:
    return await asyncio.wait_for(client.files.get(), ANSWER_SECONDS)


def words(said: list[str], begin: str) -> list[str]:
    return [text for text in said if text.startswith(begin)]


async def test_two_models_are_trained_in_sequence_and_come_back(node: sleap.Node):
    async with joined(node.link) as client:
        worker = await client.find_trainer(node.said["room_id"])
        await client.connect(video=False, worker=worker)
        models = ("centroid", "centered_instance")
        client.send_package(sleap.training_package(*models), "demo_pkg.zip", gui="True")
        said = await client.until("TRAINING_JOBS_DONE")
        assert words(said, "TRAIN") == [
            "TRAIN_JOB_START::centroid",
            "TRAIN_JOB_END::centroid",
            "TRAIN_JOB_START::centered_instance",
            "TRAIN_JOB_END::centered_instance",
            "TRAINING_JOBS_DONE",
        ]
        # The progress of both models: the original loses that of the second.
        second = said.index("TRAIN_JOB_START::centered_instance")
        for part, model in ((said[:second], models[0]), (said[second:], models[1])):
            reports = [json.loads(text[17:]) for text in words(part, "PROGRESS_REPORT::")]
            assert reports[0]["event"] == "train_begin"
            ends = [report["epoch"] for report in reports if report["event"] == "epoch_end"]
            assert ends == [0, 1, 2]
            assert f"training {model}\n" in part
            assert "a warning of the trainer\n" in part
            assert any(text.startswith("\rEpoch") for text in part)

        file = await next_file(client)
        assert (file.name, file.hint) == ("trained_demo_pkg.zip", "models")
        assert file.bytes == file.size
        with zipfile.ZipFile(io.BytesIO(bytes(file.content))) as archive:
            names = ("best.ckpt", "training_config.yaml")
            expected = {f"{model}/{name}" for model in models for name in names}
            assert set(archive.namelist()) == expected
            assert json.loads(archive.read("centroid/best.ckpt"))["epochs"] == 3


async def test_without_a_window_lines_alone_are_told(node: sleap.Node):
    async with joined(node.link) as client:
        await client.connect(video=False)
        client.send_package(sleap.training_package("centroid"), "demo_pkg.zip")
        said = await client.until("TRAINING_JOBS_DONE")
        assert not words(said, "PROGRESS_REPORT::")
        assert (await next_file(client)).name == "trained_demo_pkg.zip"


async def test_a_model_that_fails_is_said_and_the_next_is_not_begun(node: sleap.Node):
    async with joined(node.link) as client:
        await client.connect(video=False)
        package = sleap.training_package("centroid", "centered_instance", fail_with=3)
        client.send_package(package, "demo_pkg.zip")
        said = await client.until("TRAINING_JOBS_DONE")
        assert words(said, "TRAIN_") == [
            "TRAIN_JOB_START::centroid",
            "TRAIN_JOB_ERROR::centroid::3",
        ]
        assert any(text.startswith("halyard: centered_instance cancelled") for text in said)


async def test_the_windows_stop_ends_one_model_early_and_goes_on_with_the_next(node: sleap.Node):
    async with joined(node.link) as client:
        await client.connect(video=False)
        package = sleap.training_package("centroid", "centered_instance", epochs=1000, pause=0.02)
        client.send_package(package, "demo_pkg.zip", gui="true")
        for model in ("centroid", "centered_instance"):
            await client.until(f"TRAIN_JOB_START::{model}")
            await client.until('PROGRESS_REPORT::{"what": "", "event": "epoch_end"')
            client.channel.send('ZMQ_CTRL::{"command": "stop"}')
            await client.until(f"TRAIN_JOB_END::{model}")
        await client.until("TRAINING_JOBS_DONE")
        assert (await next_file(client)).name == "trained_demo_pkg.zip"


async def test_the_windows_learning_rate_is_told_on_to_the_trainer(node: sleap.Node):
    async with joined(node.link) as client:
        await client.connect(video=False)
        set_rate = 'ZMQ_CTRL::{"command": "set_lr", "lr": %s}'
        client.channel.send(set_rate % 0.001)
        await client.until("halyard: there is no job of yours here")
        package = sleap.training_package("centroid", epochs=10000, pause=0.02)
        client.send_package(package, "demo_pkg.zip", gui="true")
        # Now it listens.
        await client.until("PROGRESS_REPORT::")
        client.channel.send(set_rate % 7)
        await client.until("halyard: set_lr needs an lr from 1e-10 to 1")
        client.channel.send(set_rate % 0.001)
        await client.until("the learning rate is 0.001")
        client.channel.send('ZMQ_CTRL::{"command": "cancel"}')
        await client.until("TRAIN_JOB_ERROR::centroid::")


async def test_a_track_package_brings_its_predictions_back(node: sleap.Node):
    script = (
        "#!/bin/bash\n# Auto-generated inference script for sleap-nn track\n\n"
        "sleap-nn track \\\n  --data_path data.slp \\\n  --only_suggested_frames \\\n"
        "  --model_paths models/centroid \\\n  --model_paths models/instance \\\n"
        "  -o data.predictions.slp\n"
    )
    model = json.dumps({"model": "m", "slope": 1, "offset": 0})
    files = {"track-script.sh": script, "data.slp": sleap.labels()}
    models = {f"models/{name}/best.ckpt": model for name in ("centroid", "instance")}
    async with joined(node.link) as client:
        await client.connect(video=False)
        # The original's client zips without a folder, and sends "false" where it means no.
        package = sleap.package("", files | models)
        client.send_package(package, "track_package.zip", kind="track", gui="false")
        said = await client.until("INFERENCE_JOBS_DONE")
        assert words(said, "INFERENCE_") == [
            "INFERENCE_START",
            "INFERENCE_JOB_START::inference",
            "INFERENCE_JOB_END::inference",
            "INFERENCE_JOBS_DONE",
        ]
        assert "TRACK_LOG:tracking" in said
        file = await next_file(client)
        assert (file.name, file.hint) == ("data.predictions.slp", "models")
        predictions = json.loads(bytes(file.content))
        assert predictions["suggested"] and predictions["models"] == ["m", "m"]


async def test_what_cannot_be_done_is_refused_in_words_and_runs_nothing(node: sleap.Node):
    marker = Path("/tmp/halyard-was-here")
    marker.unlink(missing_ok=True)
    outside = sleap.package("", {"../../evil.txt": "x", "train-script.sh": "x"})
    async with joined(node.link) as client:
        await client.connect(video=False)
        for content, name, reason in (
            (sleap.training_package("centroid", script=SHELL), "demo_pkg.zip", "needs a shell"),
            (sleap.training_package(script="rm -rf /\n"), "demo_pkg.zip", "no line of training"),
            (sleap.package("x", {"a.txt": "a"}), "x.zip", "there is no train-script.sh"),
            (sleap.training_package(script=ELSEWHERE), "demo_pkg.zip", "config"),
            (outside, "outside.zip", ""),
            (b"no archive at all", "demo_pkg.zip", ""),
        ):
            client.send_package(content, name)
            said = await client.until("TRAIN_JOB_ERROR::")
            assert said[-1] == f"TRAIN_JOB_ERROR::{name.removesuffix('.zip')}::1"
            (refusal,) = words(said, "halyard: the package is refused")
            assert reason in refusal, refusal
        client.send_package(sleap.package("", {"a.txt": "a"}), "x.zip", kind="track")
        assert await client.next_text() == "INFERENCE_START"
        assert (await client.next_text()).startswith("INFERENCE_ERROR::the package is refused")
    assert not marker.exists()
    assert not list(node.home.rglob("evil.txt"))
    assert node.job_files() == []


async def test_frames_in_the_wrong_order_leave_nothing(node: sleap.Node):
    package = sleap.training_package("centroid")
    async with joined(node.link) as client:
        await client.connect(video=False)
        say = client.channel.send
        for name, frames in (
            ("bytes before what they are", [b"1234"]),
            ("an end without a begin", ["END_OF_FILE"]),
            (
                "an early end",
                [f"FILE_META::a.zip:{len(package)}:False", package[:100], "END_OF_FILE"],
            ),
            ("more than announced", ["FILE_META::a.zip:10:False", package[:100], "END_OF_FILE"]),
            (
                "more than any disk",
                ["FILE_META::a.zip:99999999999999999:False", b"1", "END_OF_FILE"],
            ),
            ("a name that leads out", ["FILE_META::../../a.zip:4:False", b"1234", "END_OF_FILE"]),
        ):
            say("PACKAGE_TYPE::train")
            for frame in frames:
                say(frame)
            # Something that is always answered, to know that everything before was looked at.
            said = await client_until_error(client)
            assert all("TRAIN_JOB_START" not in text for text in said), (name, said)
        client.send_package(package, "demo_pkg.zip")
        await client.until("TRAINING_JOBS_DONE")
    assert not list(node.home.rglob("*.part"))


async def client_until_error(client: ExistingClient) -> list[str]:
    client.channel.send("JOB_STOP")
    return await client.until("halyard: there is no job")


async def test_a_viewer_runs_nothing(node: sleap.Node):
    async with joined(node.viewer_link) as client:
        await client.connect(video=False)
        client.channel.send("PACKAGE_TYPE::train")
        assert "operator's token" in await client.next_text()
        client.send_package(sleap.training_package("centroid"), "demo_pkg.zip")
        said = await client.until("halyard: the file was refused")
        assert "viewers may not send files" in said[-1]
        answer = await client.ask('JOB_SUBMIT::1::{"type":"train","config_path":"x.yaml"}')
        assert answer.startswith("JOB_REJECTED::1::") and "NOT_ALLOWED" in answer
    assert not (node.files / "packages").exists()
