"""Which address on the cluster's network each zone's router holds: the node's InternalIP. Pure.

An address stays a zone's own: who calls remembers it (on the router's and the networks' labels).
"""

from __future__ import annotations

import ipaddress
from itertools import chain
from typing import TYPE_CHECKING

from provider.cloud.runtime.base import FaultKind, RuntimeFault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from provider.model.ids import ZoneId


def node_addresses(
    cidr: str, zones: Sequence[ZoneId], remembered: Mapping[ZoneId, str], taken: Collection[str], *, own: bool
) -> dict[ZoneId, str]:
    """Return an address for each zone: the remembered one where it still lies in the network and nobody has taken it.

    New ones come from the low end of a network of our own (the engine hands out its upper half by itself), and from
    seven eighths of somebody else's downwards: far from what the engine hands out there, and below the top, where
    load balancers of kind clusters like to be. RuntimeFault CONFIG when the network is full.
    """
    network = ipaddress.IPv4Network(cidr)
    chosen: dict[ZoneId, str] = {}
    used = set(taken)
    for zone in zones:
        address = remembered.get(zone)
        if address is not None and address not in used and ipaddress.IPv4Address(address) in network:
            chosen[zone] = address
            used.add(address)
    free = (address for address in _candidates(network, own=own) if address not in used)
    for zone in zones:
        if zone not in chosen:
            address = next(free, None)
            if address is None:
                raise RuntimeFault(
                    FaultKind.CONFIG, f"the cluster's network {cidr} has no free address for zone {zone}"
                )
            chosen[zone] = address
    return chosen


def _candidates(network: ipaddress.IPv4Network, *, own: bool) -> Iterator[str]:
    """Yield the addresses in the order they are tried; the first one is the engine's own (the network's gateway)."""
    usable = range(2, network.num_addresses - 1)
    middle = network.num_addresses * 7 // 8
    order = usable if own else chain(range(middle - 1, 1, -1), range(middle, network.num_addresses - 1))
    return (str(network[index]) for index in order)
