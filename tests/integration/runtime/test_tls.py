"""TLS for platforms: which certificates each client trusts."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from recurring.catalog.v1 import catalog_pb2
from recurring_client import Recurring

from cli.connect import Session, find_stack
from cli.errors import CommandError
from cli.output import Output
from deploy.embedded.addresses import SERVICES
from deploy.embedded.certificates import Authority
from deploy.embedded.program import ROOT
from tests.contract.deployment import PREFIX, client_of
from tests.integration.runtime.catalog_server import NAME, CatalogServer

REQUEST = catalog_pb2.GetProductRequest(name=NAME)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[CatalogServer]:
    """A server with a certificate of the authority in `ca.crt`."""
    async with CatalogServer(tmp_path, plaintext=False).running() as server:
        yield server


@pytest.fixture
def token_file(server: CatalogServer) -> Path:
    return server.keys.token_file("shop", merchant="acme", scope="platform")


@pytest.fixture
def authority_file(server: CatalogServer) -> Path:
    return server.keys.authority.certificate_file


@pytest.fixture
def credentials(authority_file: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(authority_file.read_bytes())


@pytest.fixture
def foreign_credentials(tmp_path: Path) -> grpc.ChannelCredentials:
    another = Authority(tmp_path / "another").certificate_file
    return grpc.ssl_channel_credentials(another.read_bytes())


@pytest.fixture
def environment(server: CatalogServer, token_file: Path, tmp_path: Path) -> dict[str, str]:
    """What the command is told of the server."""
    return {
        "RECURRING_HOME": str(tmp_path / "nothing-here"),
        "RECURRING_MERCHANT": "acme",
        "RECURRING_TOKEN_FILE": str(token_file),
        **targets(server.addresses.platforms),
    }


def targets(target: str) -> dict[str, str]:
    return {f"RECURRING_{service.upper()}_TARGET": target for service in SERVICES}


def run(environment: dict[str, str], *arguments: str) -> str:
    """What the command prints, errors too."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        env={"PATH": os.defpath, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


async def ask(environment: dict[str, str]) -> str:
    """The name of the product that the command gets; raises as it does."""
    async with Session(find_stack(environment), Output(as_json=True)) as session:
        product: catalog_pb2.Product = await session.catalog.GetProduct(REQUEST)
        return product.name


async def test_the_command_trusts_the_authority_that_the_environment_names(
    environment: dict[str, str], authority_file: Path
) -> None:
    assert await ask({**environment, "RECURRING_CA_FILE": str(authority_file)}) == NAME


async def test_the_command_trusts_the_authority_that_its_option_names(
    environment: dict[str, str], authority_file: Path
) -> None:
    answer = await asyncio.to_thread(
        run, environment, "products", "get", NAME, "--json", "--ca-file", str(authority_file)
    )
    assert NAME in answer


async def test_elsewhere_the_command_trusts_whom_the_system_trusts(
    server: CatalogServer,
    environment: dict[str, str],
    authority_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # This machine in a form that is not taken for it.
    elsewhere = environment | targets(f"ipv4:///{server.addresses.platforms}")
    with pytest.raises(grpc.aio.AioRpcError, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(elsewhere)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority_file))
    assert await ask(elsewhere) == NAME


async def test_the_command_says_that_a_file_has_no_authority(
    environment: dict[str, str], token_file: Path
) -> None:
    with pytest.raises(CommandError, match=f"{token_file} holds no certificates"):
        await ask({**environment, "RECURRING_CA_FILE": str(token_file)})


async def test_the_client_trusts_the_authority_of_its_credentials(
    server: CatalogServer,
    token_file: Path,
    credentials: grpc.ChannelCredentials,
    foreign_credentials: grpc.ChannelCredentials,
) -> None:
    catalog = {"catalog": server.addresses.platforms}
    async with Recurring(catalog, token=token_file, credentials=credentials) as client:
        assert (await client.catalog.GetProduct(REQUEST)).name == NAME
    async with Recurring(catalog, token=token_file, credentials=foreign_credentials) as client:
        with pytest.raises(grpc.aio.AioRpcError, match="handshake failed"):
            await client.catalog.GetProduct(REQUEST)


async def test_a_contract_is_tried_with_the_authority_of_its_file(
    server: CatalogServer, authority_file: Path
) -> None:
    [(_, bearer)] = server.token()
    given = {
        "TARGET": ",".join(f"{service}={server.addresses.platforms}" for service in SERVICES),
        "TOKEN": bearer.removeprefix("Bearer "),
        "CA_FILE": str(authority_file),
    }
    client = client_of({f"{PREFIX}{name}": value for name, value in given.items()})
    assert (await client.catalog.GetProduct(REQUEST)).name == NAME
    await client.close()
