"""A broker whose certificate is of an authority that this machine does not know."""

import json
from pathlib import Path

import authority
import pytest

from programs import json_line, logged, program, run

DONE, USAGE, UNREACHABLE = 0, 2, 3


@pytest.fixture
async def server(tmp_path: Path):
    """The broker's address, and the authority of its certificate."""
    issued = authority.issue(tmp_path)
    async with program(
        "halyard-server",
        *("serve", "--listen", "127.0.0.1:0", "--stun-urls", "", "--log-format", "json"),
        *("--tls-cert", str(issued.certificate), "--tls-key", str(issued.key)),
        log="server-tls",
    ):
        address = (await logged("server-tls", r"serving .* at (https://[^\s\"]+)"))[1]
        yield address, str(issued.authority)


async def test_worker_and_command_line_believe_the_authority_that_is_named(server, tmp_path: Path):
    address, ca = server
    async with program(
        "halyard-worker", *("run", "--server", address, "--ca-file", ca, "--json"), log="worker-tls"
    ) as worker:
        said = await json_line(worker, "room")
        assert said["join_url"].startswith(address)
        home = {"XDG_STATE_HOME": str(tmp_path / "home")}
        by_flag = ("join", said["join_url"], "--json", "--ca-file", ca)
        joined = await run("halyard", *by_flag, environment=home)
        assert joined.status == DONE, joined.errors
        assert joined.objects[0]["access"] == "operator"
        by_variable = {**home, "HALYARD_CA_FILE": ca}
        doctor = await run("halyard", "doctor", said["join_url"], environment=by_variable)
        assert doctor.status == DONE, doctor.output + doctor.errors
        assert "peer connection" in doctor.output
        settings = tmp_path / "halyard.toml"
        settings.write_text(f"server = {json.dumps(address)}\nca_file = {json.dumps(ca)}\n")
        by_file = ("room", "create", "--json", "--config", str(settings))
        created = await run("halyard", *by_file, environment=home)
        assert created.status == DONE, created.errors


async def test_without_it_nobody_connects_and_is_told_what_to_do(server, tmp_path: Path):
    address, _ = server
    link = f"{address}/r/ab12#token"
    for name, arguments in (
        ("halyard", ("join", link)),
        ("halyard", ("doctor", "--server", address)),
        ("halyard-worker", ("run", "--server", address)),
    ):
        ended = await run(name, *arguments, environment={"XDG_STATE_HOME": str(tmp_path)})
        assert ended.status == UNREACHABLE, (arguments, ended)
        assert "--ca-file" in ended.output + ended.errors, (arguments, ended)


async def test_a_file_that_is_no_authority_stops_the_start(server, tmp_path: Path):
    address, _ = server
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate\n")
    for name, arguments in (
        ("halyard", ("join", f"{address}/r/ab12#token")),
        ("halyard-worker", ("run", "--server", address)),
    ):
        ended = await run(name, *arguments, "--ca-file", str(nothing))
        assert ended.status == USAGE, (name, ended)
        assert "nothing.pem" in ended.errors and "PEM" in ended.errors, (name, ended)
