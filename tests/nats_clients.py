"""What tests need of a client of NATS beyond what it has."""

from nats.aio.client import Client


async def flush(client: Client) -> None:
    """Wait until the server has handled all that this client has sent.

    The client writes its ping past what another task has yet to write. The second one is behind it.
    """
    await client.flush()
    await client.flush()
