"""What no library sends: frames of HTTP/2 by hand (RFC 9113), and headers as in HPACK (RFC 7541)."""

import asyncio
import contextlib
import ssl
import struct
from pathlib import Path
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING, CONTINUATION = 1, 4, 6, 9
END_STREAM, END_HEADERS, ACKNOWLEDGED = 1, 4, 1
# A call without a message.
WHOLE_CALL = END_STREAM | END_HEADERS
FRAME_MAX_BYTES = 16_384
# `:method: POST` and `:scheme: https` by their places in the static table.
METHOD_AND_SCHEME = b"\x83\x87"
# `accept-encoding: gzip, deflate` by its place: a byte on the wire, and a whole header in memory.
ONE_BYTE_HEADER = b"\x90"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it goes over the wire."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def header(name: str, value: str) -> bytes:
    """A header spelt out, which no table keeps; both parts shorter than 127 bytes."""
    return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def beginning(method: str) -> bytes:
    """The headers that every call of gRPC has."""
    return (
        METHOD_AND_SCHEME
        + header(":path", method)
        + header(":authority", "gateway")
        + header("content-type", "application/grpc")
        + header("te", "trailers")
    )


class Connection:
    """A connection on which anything can be sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, address: str, authority: Path) -> Self:
        """Connect over TLS, and say what a client of HTTP/2 says first."""
        context = ssl.create_default_context(cafile=authority)
        context.set_alpn_protocols(["h2"])
        host, _, port = address.partition(":")
        connection = cls(*await asyncio.open_connection(host, int(port), ssl=context))
        await connection.send(PREFACE + frame(SETTINGS, 0, 0))
        return connection

    async def send(self, data: bytes) -> bool:
        """Whether the other side still takes it."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError:
            return False
        return True

    async def settle(self) -> None:
        """Wait until the other side has read everything: it answers a ping in its turn."""
        marker = b"all read"
        await self.send(frame(PING, 0, 0, marker))
        await self._reader.readuntil(frame(PING, ACKNOWLEDGED, 0, marker))

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
