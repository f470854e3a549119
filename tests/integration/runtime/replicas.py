"""Several replicas of a service behind one name, as in a cluster, and calls that never pause."""

import asyncio
import signal
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import grpc

from deploy.embedded.keys import Keys
from deploy.embedded.ports import HOST, free_ports
from tests.integration.runtime.pubsub import until
from tests.integration.runtime.test_start import SERVING, Process

NAME = "catalog.recurring.test"
CALLERS = 8


class Names(asyncio.DatagramProtocol):
    """A name server, in the place of a cluster's: one name, with the address of every replica."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    async def listen(self) -> int:
        """Listen; returns the port."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(HOST, 0))
        self._transport = transport
        return int(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # RFC 1035: the header, and one question, which ends with its type and class.
        end = data.index(b"\0", 12) + 5
        kind = struct.unpack(">H", data[end - 4 : end - 2])[0]
        addresses = self.addresses if kind == 1 else []
        answers = b"".join(
            # The name is the question's own; type A, class IN, of which nothing is to be kept.
            struct.pack(">HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(address)
            for address in addresses
        )
        header = data[:2] + struct.pack(">HHHHH", 0x8580, 1, len(addresses), 0, 0)
        assert self._transport is not None
        self._transport.sendto(header + data[12:end] + answers, addr)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class Replicas:
    """Catalogs on one port of addresses of their own, as pods have them."""

    def __init__(
        self,
        folder: Path,
        nats_url: str,
        database_url: str,
        names: Names,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`settings` are beside, or instead of, those that every replica has."""
        self._folder, self._nats_url, self._database_url = folder, nats_url, database_url
        self._settings = settings
        self._names = names
        self.keys = Keys(folder / "keys")
        # For the other services, and for platforms where they come by TLS.
        self.port, self.platforms_port = free_ports(2)
        self.processes: list[Process] = []

    async def start(self) -> Process:
        """Start one more, and let it be found once it serves."""
        number = len(self.processes) + 1
        folder = self._folder / str(number)
        folder.mkdir()
        process = Process(folder, self._nats_url)
        tls = self.keys.authority.ensure(folder / "tls", "catalog", (NAME,))
        address = f"127.0.0.{number}"
        process.settings |= {
            "PEER_ADDRESS": f"{address}:{self.port}",
            "TLS_FOLDER": str(tls),
            "STOP_DELAY_SECONDS": "1",
            "DRAIN_SECONDS": "5",
            **self._settings,
        }
        if process.settings["GRPC_PLAINTEXT"] == "false":
            process.settings["GRPC_ADDRESS"] = f"{address}:{self.platforms_port}"
            process.settings["AUTH_JWKS_FILE"] = str(self.keys.jwks_file)
        process.write_secret("database_url", self._database_url)
        self.processes.append(process)
        process.start()
        await process.until_health(SERVING)
        self._names.addresses.append(address)
        return process

    def end(self, process: Process, how: signal.Signals) -> None:
        """End one, and let it be found no more."""
        assert process.process is not None
        process.process.send_signal(how)
        self._names.addresses.remove(f"127.0.0.{self.processes.index(process) + 1}")

    def close(self) -> None:
        for process in self.processes:
            if process.process is not None:
                with suppress(ProcessLookupError):
                    process.process.kill()
                process.process.wait()


class Traffic:
    """Calls without a pause, and how they ended."""

    def __init__(self, call: Callable[[], Awaitable[Any]]) -> None:
        self._call_once = call
        self.answered = 0
        self.failed: list[str] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._call()) for _ in range(CALLERS)]
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _call(self) -> None:
        while True:
            try:
                await self._call_once()
                self.answered += 1
            except grpc.aio.AioRpcError as error:
                self.failed.append(f"{error.code().name}: {error.details()}")

    async def until_more(self, count: int) -> None:
        """Wait until so many more calls were answered."""
        wanted = self.answered + count

        async def so() -> bool:
            assert self.failed == [], self.failed[:3]
            return self.answered >= wanted

        await until(so, 30)
