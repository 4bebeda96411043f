"""A worker whose broker has its identities in Cognito (moto) lives longer than its first token."""

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import httpx

from programs import START_SECONDS, json_line, logged, program

AWS = {
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@asynccontextmanager
async def moto():
    """AWS on a free port."""
    process = await asyncio.create_subprocess_exec(
        *("moto_server", "-H", "127.0.0.1", "-p", "0"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            while line := (await process.stderr.readline()).decode():
                if found := re.search(r"Running on (http://\S+)", line):
                    break
        assert found, "moto does not start"
        draining = asyncio.create_task(process.stderr.read())
        yield found[1]
        draining.cancel()
    finally:
        process.kill()
        await process.wait()


def make_pool(url: str):
    """A pool and a client as docs/aws.md describes them."""
    cognito = boto3.client(
        "cognito-idp",
        endpoint_url=url,
        region_name=AWS["AWS_REGION"],
        aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
    )
    users = {"AllowAdminCreateUserOnly": True}
    pool = cognito.create_user_pool(PoolName="halyard", AdminCreateUserConfig=users)
    pool_id = pool["UserPool"]["Id"]
    client = cognito.create_user_pool_client(
        UserPoolId=pool_id,
        ClientName="broker",
        GenerateSecret=False,
        ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    )
    return cognito, pool_id, client["UserPoolClient"]["ClientId"]


async def renewed(state: Path, old: str) -> dict:
    """What the worker wrote down once its token is another."""
    async with asyncio.timeout(START_SECONDS):
        while (held := json.loads(state.read_text()))["identity"]["id_token"] == old:
            await asyncio.sleep(0.05)
    return held


async def test_a_worker_renews_its_token_at_cognito_and_keeps_its_room(tmp_path: Path):
    state, data = tmp_path / "worker.json", tmp_path / "server"
    data.mkdir()
    async with moto() as url:
        cognito, pool, client = await asyncio.to_thread(make_pool, url)
        endpoints = {
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": url,
            "AWS_ENDPOINT_URL_DYNAMODB": url,
        }
        async with program(
            "halyard-server",
            *("serve", "--listen", "127.0.0.1:0", "--data-dir", str(data), "--stun-urls", ""),
            *("--identity", "cognito", "--cognito-user-pool-id", pool),
            *("--cognito-app-client-id", client, "--log-format", "json"),
            *("--cognito-jwks-url", f"{url}/{pool}/.well-known/jwks.json"),
            log="server-cognito",
            environment={**AWS, **endpoints},
        ):
            address = (await logged("server-cognito", r"serving .* at (http://[^\s\"]+)"))[1]
            run = ("run", "--server", address, "--state-file", str(state), "--json")
            async with program("halyard-worker", *run, log="worker-cognito") as worker:
                room = await json_line(worker, "room")
            first = json.loads(state.read_text())
            # As if half of the token's life were over.
            left = first["identity"]["expires_at"] - int(time.time())
            first["identity"]["lifetime"] = 2 * left + 60
            state.write_text(json.dumps(first))
            async with program("halyard-worker", *run, log="worker-cognito") as worker:
                again = await json_line(worker, "room")
                assert again["join_url"] == room["join_url"]
                second = await renewed(state, first["identity"]["id_token"])
                owner = {"Authorization": f"Bearer {second['identity']['id_token']}"}
                async with httpx.AsyncClient() as http:
                    shown = await http.get(f"{address}/rooms/{room['room_id']}", headers=owner)
                assert shown.status_code == httpx.codes.OK, shown.text
                (peer,) = shown.json()["peers"]
                assert (peer["role"], peer["access"]) == ("worker", "admin")
            assert second["ours"]
            assert second["identity"]["username"] == first["identity"]["username"]
            users = await asyncio.to_thread(cognito.list_users, UserPoolId=pool)
            names = [user["Username"] for user in users["Users"]]
            assert names == [first["identity"]["username"]]
