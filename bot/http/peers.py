"""Who sends a request: the connection's own address, or the one that a trusted proxy names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Peers:
    """Knows the proxies that are `trusted`; the word of any other peer counts for nothing."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = trusted

    def is_trusted(self, peer: str) -> bool:
        """Return whether the address is that of a trusted proxy."""
        address = _address(peer)
        return address is not None and self._holds(address)

    def sender(self, peer: str, forwarded_for: Iterable[str]) -> str:
        """Return who sent what came from `peer`, by its X-Forwarded-For headers where it is trusted.

        Each proxy appends the address that it got the request from, so that the right-most one that is no trusted
        proxy is the last that anyone trusted has seen. Where all are trusted it is the left-most.
        """
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        while hops and self.is_trusted(peer):
            if (address := _address(hops.pop())) is None:
                break  # a word of a proxy's own, like "unknown"
            peer = str(address)
        return peer

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    """Return the address, also of `host:port` and `[host]:port`, and of an IPv4 peer at an IPv6 socket."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
