"""Which addresses of the internet requests to platforms may go to. Pure.

Sources: the registries of special-purpose addresses of IANA (RFC 6890 and what followed it). They are
listed here, since those of Python's `ipaddress` differ between its versions.
"""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

Address = IPv4Address | IPv6Address

PORT_MAX = 65535
_HTTPS, _HTTP = "https", "http"
_SPECIAL_V4 = tuple(
    map(
        ip_network,
        (
            # This network, private networks, carrier-grade NAT, loopback, link-local (with the metadata
            # of clouds), protocol assignments, documentation, 6to4 relays, benchmarks, multicast,
            # reserved.
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
# Only these are given out for the internet; of them, what carries or hides another address is not
# taken: protocol assignments with Teredo, documentation, 6to4.
_GLOBAL_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    # IPv4 within IPv6 (mapped, compatible, NAT64) is outside of what is given out.
    return address in _GLOBAL_V6 and not any(address in network for network in _SPECIAL_V6)


def read_url(url: str, test_hosts: Collection[str]) -> SplitResult | None:
    """An address that webhooks may be sent to, as far as its text says; None if it is none.

    Test hosts may be addressed without TLS.
    """
    if not url.isascii() or not url.isprintable() or any(c in url for c in " \\#"):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname
    if not host or port == 0 or "@" in parts.netloc:
        return None
    is_allowed = parts.scheme == _HTTPS or (parts.scheme == _HTTP and host in test_hosts)
    return parts if is_allowed else None


def names_private(host: str) -> bool:
    """Whether the text of a host says by itself that it is not of the public internet.

    What its name leads to, whoever sends finds out.
    """
    try:
        return not is_public(ip_address(host))
    except ValueError:
        pass
    name = host.rstrip(".").lower()
    # A number or a name without a dot is of this machine or its network, in one of many spellings.
    return (
        "." not in name
        or name.rpartition(".")[2].isdigit()
        or name.rpartition(".")[2].startswith("0x")
        or name.endswith((".localhost", ".local", ".internal", ".localdomain", ".arpa"))
    )
