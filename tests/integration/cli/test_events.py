"""What the command says where the broker gives it no events."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.connect import Stack
from cli.errors import CommandError
from cli.events import SeenEvent, subscribe
from deploy.embedded.nats import EmbeddedNats
from deploy.embedded.ports import HOST, free_ports

# A user who may read what another one publishes, and nothing else.
RESTRICTED = """
authorization: {
  users: [{user: shop, password: secret, permissions: {subscribe: ["_INBOX.>"]}}]
}
"""


class RestrictedNats(EmbeddedNats):
    """A server that lets nobody read events."""

    def prepare(self) -> None:
        """Write the configuration, with the one user."""
        super().prepare()
        with (self.folder / "nats.conf").open("a") as configuration:
            configuration.write(RESTRICTED)


@pytest.fixture(scope="module")
def port(servers_folder: Path) -> Iterator[int]:
    [port] = free_ports(1)
    folder = servers_folder / "restricted-nats"
    server = RestrictedNats(folder, port, folder.with_suffix(".log"))
    try:
        server.start()
        yield port
    finally:
        server.destroy()


async def refusal(url: str) -> str:
    """What the command says instead of events."""

    async def see(_: SeenEvent) -> None:
        """There are none."""

    stack = Stack({}, "", "demo", url, "", {}, "")
    with pytest.raises(CommandError) as refused:
        await subscribe(stack, see)
    return str(refused.value)


async def test_who_may_not_read_events_learns_which_permission_is_missing(port: int) -> None:
    said = await refusal(f"nats://shop:secret@{HOST}:{port}")
    assert 'permissions violation for subscription to "recurring.>"' in said.lower()
    assert "secret" not in said


async def test_who_has_a_wrong_password_learns_that(port: int) -> None:
    said = await refusal(f"nats://shop:wrong@{HOST}:{port}")
    assert "authorization" in said.lower()
    assert "wrong" not in said


async def test_where_no_broker_answers_the_command_says_so() -> None:
    [free_port] = free_ports(1)
    said = await refusal(f"nats://{HOST}:{free_port}")
    assert f"{HOST}:{free_port}" in said
    assert "refused" in said.lower() or "connect call failed" in said.lower()
