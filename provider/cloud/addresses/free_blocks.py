"""Chooses address blocks for vSwitches that stay clear of everything the machine and the cluster already use. Pure.

The caller gathers what is in use (host routes, Docker networks, the cluster's pod and service ranges); one address is
never given out whoever asks: 100.100.100.200, the cloud's metadata service, which programs inside pods may call.
"""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BLOCK_MASK = 22
"""Mask of a zone's block when the configuration names none: 1,020 usable addresses."""

POOLS: tuple[str, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Where blocks are looked for, in this order: the private ranges of RFC 1918."""


class Occupied(NamedTuple):
    """A network in use, and by what, as people know it: `interface eth0`, `Docker network bridge`, `cluster pods`."""

    network: IPv4Network
    owner: str


METADATA = Occupied(IPv4Network("100.100.100.200/32"), "the cloud's metadata service")


class AddressClashError(Exception):
    """Configured blocks lie in networks that are in use (one line each), or there are not enough free blocks."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


def occupied(networks: Iterable[tuple[str, str]]) -> tuple[Occupied, ...]:
    """Return (CIDR, owner) pairs as Occupied. IPv6 and default routes are left out: they hold no block.

    A default route is 0.0.0.0/0, or the two halves (0.0.0.0/1, 128.0.0.0/1) that VPN clients set in its place.
    ValueError for what is no CIDR.
    """
    parsed = [(ipaddress.ip_network(cidr, strict=False), owner) for cidr, owner in networks]
    return tuple(Occupied(net, owner) for net, owner in parsed if isinstance(net, IPv4Network) and net.prefixlen > 1)


def refuse_clashes(configured: Iterable[str], used: Iterable[Occupied]) -> None:
    """Raise AddressClashError with a line for each configured CIDR and each network in use that it overlaps."""
    everything = (METADATA, *used)
    mistakes = [
        f"{cidr} clashes with {other.network} of {other.owner}"
        for cidr in configured
        for other in everything
        if IPv4Network(cidr).overlaps(other.network)
    ]
    if mistakes:
        raise AddressClashError(mistakes)


def choose_blocks(count: int, configured: Iterable[str], used: Iterable[Occupied]) -> tuple[str, ...]:
    """Return the first `count` /22 blocks clear of `configured` CIDRs and of all that is in use.

    The same input gives the same blocks. AddressClashError when the private ranges do not hold that many.
    """
    taken = [METADATA.network, *(IPv4Network(cidr) for cidr in configured), *(other.network for other in used)]
    free = _free(taken)
    chosen = tuple(str(block) for _, block in zip(range(count), free, strict=False))
    if len(chosen) < count:
        raise AddressClashError(
            [f"{count} free /{BLOCK_MASK} blocks are needed, {' and '.join(POOLS)} hold {len(chosen)}"]
        )
    return chosen


def _free(taken: Sequence[IPv4Network]) -> Iterator[IPv4Network]:
    """Yield free blocks in order. Ranges in use are merged and walked once, so a used /8 costs one step."""
    ranges = sorted((int(net.network_address), int(net.broadcast_address)) for net in taken)
    size = 1 << (32 - BLOCK_MASK)
    for pool in map(IPv4Network, POOLS):
        at, end = int(pool.network_address), int(pool.broadcast_address)
        for first, last in [*ranges, (end + 1, end + 1)]:
            while at + size <= min(first, end + 1):
                yield IPv4Network((at, BLOCK_MASK))
                at += size
            if last >= at:
                at = -(-(last + 1) // size) * size
