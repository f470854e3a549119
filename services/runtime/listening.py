"""Sockets that listen at `host:port`, where `[::]` takes IPv4 and IPv6, as in gRPC."""

import socket

EVERY_ADDRESS = "::"


def listen(address: str) -> socket.socket:
    """Listen at an address. Raises OSError if it is taken.

    `[::]` takes IPv4 alone on a machine without IPv6.
    """
    name, _, port = address.rpartition(":")
    host = name.removeprefix("[").removesuffix("]")
    if host == EVERY_ADDRESS and socket.has_dualstack_ipv6():
        return socket.create_server((host, int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
    if host in ("", EVERY_ADDRESS):
        return socket.create_server(("", int(port)))
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, int(port)), family=family)
