"""The addresses of one vSwitch: a bitset over the block. Pure; two microseconds a lease.

ECI's rule: the first and the last three addresses of a block are reserved, a mask is /16 to /29. So a /24 has 252
addresses for instances and a /29 has 4. The gateway stands at the third from last.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from provider.model.capacity import VSwitchStatus
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.model.capacity import VSwitch
    from provider.model.ids import PodUid

SHORTEST_PREFIX = 16
LONGEST_PREFIX = 29
_RESERVED_LOW = 1
_RESERVED_HIGH = 3


class AddressPool:
    """Who has which address. One address an owner; a search goes on from the last lease, so that an address rests."""

    def __init__(self, vswitch: VSwitch) -> None:
        """Take the whole block; ValueError for a CIDR that is no network, or whose mask is not /16 to /29."""
        network = IPv4Network(vswitch.cidr)
        if not SHORTEST_PREFIX <= network.prefixlen <= LONGEST_PREFIX:
            raise ValueError(f"vSwitch {vswitch.id}: mask of {vswitch.cidr} must be /16 to /29")
        self.vswitch = vswitch
        self._base = int(network.network_address)
        self._size = network.num_addresses
        self._low = _RESERVED_LOW
        self._high = self._size - _RESERVED_HIGH
        self._free = ((1 << self._high) - 1) & ~((1 << self._low) - 1)
        self._next = self._low
        self._owners: dict[PodUid, int] = {}

    @property
    def gateway(self) -> str:
        """The router's address in this block: the third from last."""
        return self._text(self._size - _RESERVED_HIGH)

    @property
    def usable(self) -> int:
        """Count of addresses that instances can have in all."""
        return self._high - self._low

    @property
    def used(self) -> int:
        """Count of addresses in use."""
        return len(self._owners)

    def status(self) -> VSwitchStatus:
        """Return the counts as the API describes them."""
        return VSwitchStatus(id=self.vswitch.id, cidr=self.vswitch.cidr, usable=self.usable, used=self.used)

    def leases(self) -> Mapping[PodUid, str]:
        """Return a copy of all leases."""
        return {owner: self._text(offset) for owner, offset in self._owners.items()}

    def lease(self, owner: PodUid) -> str:
        """Return the owner's address, a new one if it has none; IP_NOT_ENOUGH when the block is used up."""
        offset = self._owners.get(owner)
        if offset is None:
            offset = self._first_free()
            self._take(offset, owner)
            self._next = offset + 1
        return self._text(offset)

    def adopt(self, address: str, owner: PodUid) -> None:
        """Book an address that the owner already has (recovery). Again for the same pair: nothing happens.

        INVALID_PARAMETER for an address outside the usable part; INCORRECT_STATUS if another owner has it, or if the
        owner has another one.
        """
        offset = int(IPv4Address(address)) - self._base
        if not self._low <= offset < self._high:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"{address} is no usable address of {self.vswitch.cidr}")
        held = self._owners.get(owner)
        if held == offset:
            return
        if held is not None:
            raise CloudError(CloudCode.INCORRECT_STATUS, f"{owner} already has {self._text(held)}, not {address}")
        if not self._free >> offset & 1:
            raise CloudError(CloudCode.INCORRECT_STATUS, f"{address} is in use by another instance")
        self._take(offset, owner)

    def release(self, owner: PodUid) -> None:
        """Give the owner's address back; no error for one that has none."""
        offset = self._owners.pop(owner, None)
        if offset is not None:
            self._free |= 1 << offset

    def _first_free(self) -> int:
        above = self._free >> self._next << self._next
        candidates = above or self._free
        if not candidates:
            raise CloudError(
                CloudCode.IP_NOT_ENOUGH, f"vSwitch {self.vswitch.id} ({self.vswitch.cidr}) has no free address", 5
            )
        return (candidates & -candidates).bit_length() - 1

    def _take(self, offset: int, owner: PodUid) -> None:
        self._free &= ~(1 << offset)
        self._owners[owner] = offset

    def _text(self, offset: int) -> str:
        return str(IPv4Address(self._base + offset))
