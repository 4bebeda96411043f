"""A broker, and a worker with the SLEAP templates that ship, whose `sleap-nn` is a small one."""

import io
import json
import os
import signal
import sys
import zipfile
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from programs import REPOSITORY, json_line, logged, program

TRAINING = REPOSITORY / "test_files" / "training"
TEMPLATES = REPOSITORY / "worker" / "templates" / "sleap.toml"


@dataclass
class Node:
    """Where it runs."""

    said: dict
    server: str
    home: Path

    @property
    def link(self) -> str:
        return self.said["join_url"]

    @property
    def viewer_link(self) -> str:
        return self.said["viewer_url"]

    @property
    def files(self) -> Path:
        return self.home / "files"

    def job_files(self) -> list[str]:
        """Everything that jobs made, without the jobs' own folders."""
        made = (path for path in self.files.glob("jobs/**/*") if path.is_file())
        return sorted("/".join(path.relative_to(self.files).parts[2:]) for path in made)


@asynccontextmanager
async def broker(home: Path):
    """A broker by itself; its address."""
    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--data-dir", str(home / "server")),
        *("--log-format", "json"),
        log="sleap-server",
    ):
        yield (await logged("sleap-server", r"serving .* at (http://[^\s\"]+)"))[1]


@asynccontextmanager
async def node(home: Path, *arguments: str):
    (home / "files").mkdir()
    (home / "bin").mkdir()
    trainer = home / "bin" / "sleap-nn"
    trainer.write_text(
        f'#!/bin/sh\nexec {sys.executable} {TRAINING / "sleap_nn.py"} "$@"\n', encoding="utf-8"
    )
    trainer.chmod(0o755)
    own = f"files = {str(home / 'files')!r}\njobs_dir = {str(home / 'jobs')!r}\nvideo = 'none'\n"
    config = home / "worker.toml"
    config.write_text(own + TEMPLATES.read_text(encoding="utf-8"), encoding="utf-8")
    async with (
        broker(home) as server,
        program(
            "halyard-worker",
            *("run", "--server", server, "--config", str(config), "--json", *arguments),
            log="sleap-worker",
            environment={"PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
        ) as worker,
    ):
        try:
            yield Node(await json_line(worker, "room"), server, home)
        finally:
            end_jobs(home / "jobs")


def end_jobs(jobs: Path) -> None:
    """Jobs outlive their worker; they must not outlive a test that failed."""
    for process in jobs.glob("*/process.json"):
        if not (process.parent / "exit.json").exists():
            with suppress(ProcessLookupError):
                os.kill(json.loads(process.read_text())["keeper"], signal.SIGTERM)


def config(model: str, *, epochs: int = 3, labels: str = "labels.slp", **test) -> str:
    """A training configuration as YAML."""
    return yaml.safe_dump(
        {
            "model": model,
            "data_config": {"train_labels_path": [labels]},
            "trainer_config": {"max_epochs": epochs},
            "test": test,
        }
    )


def labels() -> bytes:
    return (TRAINING / "data" / "points.csv").read_bytes()


def package(name: str, files: dict[str, str | bytes]) -> bytes:
    """A zip with these files in a folder of its own name, as SLEAP exports it."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for path, content in files.items():
            made.writestr(f"{name}/{path}" if name else path, content)
    return archive.getvalue()


def training_package(*models: str, script: str | None = None, **test) -> bytes:
    """A package that trains these models one after another."""
    lines = [f"sleap-nn train --config-name {model}.yaml --config-dir ." for model in models]
    return package(
        "demo_pkg",
        {
            "train-script.sh": script or "#!/bin/bash\n" + "\n".join(lines) + "\n",
            "labels.slp": labels(),
            **{f"{model}.yaml": config(model, **test) for model in models},
        },
    )
