"""What people send by mistake and in bad faith: hostile packages, odd values, two hands at once."""

import asyncio
import io
import json
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import gpu_node
import pytest
from gpu_node import (
    DATA,
    DONE,
    FAILED,
    SOON,
    Node,
    events_until,
    following,
    is_epoch_end,
    is_over,
    processes_in,
    sets,
    submit,
)

MIB = 1024 * 1024
USAGE = 2
ELSEWHERE = "/tmp/halyard-was-here"


def tarred(*entries: tarfile.TarInfo, mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("fine.txt"))
        for entry in entries:
            content = io.BytesIO(bytes(entry.size)) if entry.isreg() else None
            archive.addfile(entry, content)
    return made.getvalue()


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fine.txt", "fine")
        for name, content in entries:
            archive.writestr(name, content)
    return made.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, to: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, to, size
    return made


def zip_link(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, 0o120777 << 16
    return made


HOSTILE = {
    "no archive": ("set.zip", lambda: b"hello", "it is no archive; accepted are .zip, .tar"),
    "cut off": ("set.zip", lambda: zipped(("a", os.urandom(4096)))[:2000], "damaged or cut off"),
    "a zip that leads up": ("set.zip", lambda: zipped(("../out", b"x")), "could leave the folder"),
    "a tar that leads up": ("set.tar", lambda: tarred(entry("a/../../out")), "could leave"),
    "an absolute zip": (
        "set.zip",
        lambda: zipped((ELSEWHERE, b"x")),
        "the file name is absolute",
    ),
    "an absolute tar": (
        "set.tar",
        lambda: tarred(entry(ELSEWHERE)),
        "the file name is absolute",
    ),
    "a link in a zip": ("set.zip", lambda: zipped((zip_link("out"), b"/etc")), "is a link"),
    "a link in a tar": (
        "set.tar.gz",
        lambda: tarred(entry("out", tarfile.SYMTYPE, "/etc"), entry("out/x"), mode="w:gz"),
        "is a link",
    ),
    "a second name": (
        "set.tar",
        lambda: tarred(entry("out", tarfile.LNKTYPE, "/x")),
        "a second name of",
    ),
    "a device": ("set.tar", lambda: tarred(entry("out", tarfile.CHRTYPE)), "device"),
    "two of one name": ("set.tar", lambda: tarred(entry("a"), entry("a")), "two entries"),
    "a bomb in a zip": (
        "set.zip",
        lambda: zipped(("zeros", bytes(80 * MIB))),
        "that is no archive of real files",
    ),
    "a bomb in a tar": (
        "set.tgz",
        lambda: tarred(entry("zeros", size=80 * MIB), mode="w:gz"),
        "that is no archive of real files",
    ),
}


async def test_a_hostile_package_is_refused_in_words_and_leaves_nothing(node: Node, tmp_path: Path):
    outside = [tmp_path / "out", node.files / "out", Path(ELSEWHERE)]
    async with node.worker() as (_, room):
        for case, (name, make, words) in HOSTILE.items():
            package = tmp_path / name
            package.write_bytes(make())
            ended = await room.halyard("train", room.operator, str(package), "--unpack")
            assert ended.status == FAILED, (case, ended)
            assert words in ended.errors and "set" in ended.errors, (case, ended.errors)
            left = [path for path in node.files.rglob("*") if path.name != "packages"]
            assert left == [], case
            assert not any(path.exists() for path in outside), case
        # The worker is none the worse for it, and of a good one only what it held stays.
        good = tmp_path / "good.zip"
        with zipfile.ZipFile(good, "w") as archive:
            for path in DATA.iterdir():
                archive.write(path, path.name)
        ended = await room.halyard(
            *("train", room.operator, str(good), "--unpack"), *sets(epochs=2)
        )
        assert ended.status == DONE, ended.errors
        assert [path.name for path in (node.files / "packages").iterdir()] == ["good"]
    assert len(os.listdir(node.home / "jobs")) == 2, "the lock and the one good job"


async def test_a_value_that_does_not_fit_is_refused_before_the_package_is_sent(node: Node):
    async with node.worker() as (_, room):
        asked = ("train", room.operator, str(DATA), "--template", "train")
        ended = await room.halyard(*asked, *sets(epochs=0))
        assert ended.status == USAGE, ended
        assert "steps[0].epochs: " in ended.errors and "from 1 to" in ended.errors, ended.errors
        assert "package" not in ended.errors, "that it is not there yet is no fault"
        assert list(node.files.iterdir()) == [], "nothing was sent and nothing was run"


# A job that says what it was given, word by word.
ECHO = """
[[job]]
name = "echo"
run = ["PYTHON", "-c", "import json, sys; print(json.dumps(sys.argv[1:]))",
       "{words:text=400}", "--count={count:int=1..9?1}", ["--share", "{share:float=0..1}"],
       ["--file", "{file:path}"]]
gpus = 0
"""


@pytest.fixture
async def echo(tmp_path: Path):
    node = gpu_node.prepare(tmp_path, ECHO.replace("PYTHON", sys.executable))
    async with node.broker():
        yield node


async def test_no_shell_reads_a_value_and_what_does_not_fit_is_refused(echo: Node, tmp_path: Path):
    marker = tmp_path / "was-here"
    async with echo.worker() as (_, room):

        async def asked(*values: str):
            words = [word for value in values for word in ("--set", value)]
            return await room.halyard(
                "train", room.operator, "--template", "echo", "--json", *words
            )

        for text in (
            f"; touch {marker}",
            f"$(touch {marker})",
            f"`touch {marker}`",
            f"x | tee {marker} && touch {marker} & # >{marker}",
            "'; \"; \\; $HOME ${PATH} ~ * ? [a] {count} {folder} %s",
        ):
            ended = await asked(f"words={text}", "count=3")
            assert ended.status == DONE, ended.errors
            lines = [line["text"] for line in ended.objects if line.get("kind") == "line"]
            assert [json.loads(line) for line in lines] == [[text, "--count=3"]]
        assert not marker.exists()

        for values, words in (
            (("words=--version",), "must not begin with -"),
            (("words=two\nlines",), "at most 400 characters"),
            (("words=" + "x" * 401,), "at most 400 characters"),
            (("count=1",), "a value is needed"),
            (("words=x", "count=many"), "a whole number from 1 to 9"),
            (("words=x", "count=1.5"), "a whole number from 1 to 9"),
            (("words=x", "count=10"), "a whole number from 1 to 9"),
            (("words=x", "count=1;id"), "a whole number from 1 to 9"),
            (("words=x", "share=NaN"), "a number from 0 to 1"),
            (("words=x", "share=-0.1"), "a number from 0 to 1"),
            (("words=x", "file=../worker.toml"), "could leave the folder"),
            (("words=x", "file=/etc/passwd"), "absolute"),
            (("words=x", "file=nothing"), "nothing is there"),
        ):
            ended = await asked(*values)
            assert ended.status == 2, (values, ended)
            assert words in ended.output, (values, ended.output)
    assert len([name for name in os.listdir(echo.home / "jobs") if name != "lock"]) == 5


async def test_two_who_cancel_at_once_are_both_answered_and_it_ends_once(node: Node):
    async with node.worker() as (_, room):
        job = await submit(room, epochs=10000, pause=0.02, helpers=2)
        async with following(room, job) as process:
            await events_until(process, is_epoch_end)
            both = await asyncio.gather(
                *(room.halyard("cancel", room.operator, job, "--json") for _ in range(2)),
                room.halyard("stop", room.operator, job, "--json"),
            )
            after = await events_until(process, is_over)
            assert await asyncio.wait_for(process.wait(), SOON) == FAILED
        # Whoever was not quick enough found it over, and was told how it ended.
        for ended in both:
            if ended.status != DONE:
                assert ended.status == FAILED and "the job is cancelled" in ended.output, ended
        assert any(ended.status == DONE for ended in both)
        states = [event["state"] for event in after if event["kind"] == "state"]
        assert states.count("cancelled") == 1 and states[-1] == "cancelled", states
        assert processes_in(node.files / "jobs" / job) == []
        # Who comes too late is told so, and changes nothing.
        late = await room.halyard("cancel", room.operator, job)
        assert "cancelled" in late.output + late.errors, late


async def test_a_trainer_that_ends_without_a_word_is_told_by_its_exit_code(node: Node):
    async with node.worker() as (_, room):
        ended = await room.halyard(
            *("train", room.operator, str(DATA), "--json"),
            *sets(epochs=3, trouble="mute", helpers=1),
        )
        assert ended.status == FAILED, ended.output
        (end,) = (line for line in ended.objects if line.get("kind") == "state" and is_over(line))
        assert (end["state"], end["exit_code"]) == ("failed", 3), end
        assert not any(line.get("kind") in {"line", "progress"} for line in ended.objects)
        assert processes_in(node.files / "jobs" / end["job"]) == [], "its helper is ended too"
