"""The addresses that a webhook may have: a guard against calls to our own network (SSRF).

A name is resolved once for each try, every address of it is checked, and the connection goes to a checked address. So
a name that changes between the check and the connection changes nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.display import names

LONGEST = 2000
#: The ports of a public receiver.
PORTS = frozenset({443, 8443})
#: The most addresses of one name that are tried.
MOST_TRIED = 3

#: The cure of a refusal that the setting would not make.
CURE = " (WEBHOOKS_PRIVATE=1 allows http, other ports and private networks)"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: No public host has an address in these, by the registries of special addresses (RFC 6890 and later).
_SPECIAL_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
            "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
#: All of the public IPv6 is here. So mapped addresses, NAT64, unique-local, link-local and multicast are not public.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
#: Tunnels to IPv4 addresses (6to4, Teredo), documentation, and protocols.
_SPECIAL_V6 = tuple(
    map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
#: The networks that a self-hosted Wardroom may allow: its own host and private ones, never link-local ones.
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7"),
    )
)


class Refused(ValueError):
    """The address may not be called. The text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a checked URL. `path` has the query too."""

    is_secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_secure else 80) else f"{host}:{self.port}"


def parse(url: str, *, private: bool) -> Target:
    """Return the parts of a receiver's URL. `private` allows http and any port. Raises Refused."""
    if not 0 < len(url) <= LONGEST or not url.isascii() or not names.is_visible(url) or set(url) & set(' "<>\\^`{|}'):
        raise Refused(f"must be a URL of at most {LONGEST} plain characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("must be a URL") from None
    is_secure = parts.scheme == "https"
    port = port if port is not None else (443 if is_secure else 80)
    host = (parts.hostname or "").rstrip(".")
    allowed = range(1, 65536) if private else PORTS
    cure = CURE if parts.scheme == "http" else ""
    faults = {
        f"must begin with https://{cure}": not is_secure and not (private and parts.scheme == "http"),
        "must name a host": not host,
        "must not hold a user or a password": "@" in parts.netloc,
        "must not hold a fragment": "#" in url,
        "must not hold an escape or a zone in its host": "%" in parts.netloc,
        f"must have one of the ports {', '.join(map(str, sorted(PORTS)))}{CURE}": port not in allowed,
    }
    if why := next((why for why, is_so in faults.items() if is_so), None):
        raise Refused(why)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if (literal := _literal(host)) is not None:
        check(literal, private=private)
    elif (last := host.rpartition(".")[2]).isdigit() or last.startswith("0x"):
        # A resolver reads 127.1, 2130706433 and 0x7f000001 as addresses.
        raise Refused("must write an address in the usual form")
    return Target(is_secure, host, port, path)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check(address: Address, *, private: bool) -> None:
    """Raise Refused for an address that is not public. `private` allows this host and private networks too."""
    is_private = any(address in network for network in _PRIVATE if network.version == address.version)
    if private and is_private:
        return
    if isinstance(address, ipaddress.IPv4Address):
        is_public = not any(address in network for network in _SPECIAL_V4)
    else:
        special = address.scope_id is not None or any(address in network for network in _SPECIAL_V6)
        is_public = address in _PUBLIC_V6 and not special
    if not is_public:
        raise Refused(f"leads to an address that is not public{CURE if is_private else ''}")


async def resolve(target: Target, *, private: bool) -> list[str]:
    """Return the addresses of a host, all of them checked. Raises Refused, and OSError for an unknown name."""
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(
        None, lambda: socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    )
    addresses = list(dict.fromkeys(str(place[0]) for _, _, _, _, place in found))
    for text in addresses:
        address = _literal(text)
        if address is None:
            raise Refused("leads to an address that cannot be read")
        check(address, private=private)
    if not addresses:
        raise OSError("the name has no address")
    return addresses[:MOST_TRIED]
