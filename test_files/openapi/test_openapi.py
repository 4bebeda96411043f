"""The REST interface does what its description says, whatever it is asked."""

import asyncio
import os
import re
import sys
from pathlib import Path

import httpx
import pytest

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
# The same calls every time.
SEED = 20260401
SECONDS = 60


@pytest.mark.timeout(SECONDS * 3)
async def test_generated_calls_are_answered_as_described(interface):
    report = Path(os.environ["TESTS_OUT"]) / "openapi"
    report.mkdir(parents=True, exist_ok=True)
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{interface.address}/openapi.json"),
        *("--header", f"Authorization: Bearer {interface.id_token}"),
        *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
        *("--max-time", str(SECONDS), "--max-examples", "100", "--request-timeout", "10"),
        *("--seed", str(SEED), "--generation-database", "none", "--continue-on-failure"),
        *("--report", "junit", "--report-junit-path", str(report / "schemathesis.xml")),
        *("--no-color", "--warnings", "off"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=report,
    )
    said = (await run.communicate())[0].decode()
    (report / "schemathesis.txt").write_text(said)
    assert run.returncode == 0, said
    # An empty description would be kept, too.
    tested = re.search(r"^\s*Tested: (\d+)$", said, re.MULTILINE)
    assert tested, said
    assert int(tested[1]) == await described_calls(interface), said


async def described_calls(interface) -> int:
    """How many calls there are; more than a dozen, or the description is not the broker's."""
    async with httpx.AsyncClient() as client:
        api = (await client.get(f"{interface.address}/openapi.json")).json()
    # The call that hands out the description is made before any test.
    calls = sum(len(methods) for path, methods in api["paths"].items() if path != "/openapi.json")
    assert calls > 12, api["paths"]
    return calls
