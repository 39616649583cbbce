"""Where a node's kubelet port is opened: in its zone's network, or on this host where zones have none of their own.

Both say the address that the Node shows as its InternalIP, give the listening socket, and tell when it is dead.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import TYPE_CHECKING, Protocol

from provider.cloud.runtime.base import RuntimeFault

if TYPE_CHECKING:
    from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks
    from provider.model.ids import ZoneId


class KubeletPort(Protocol):
    """One node's port."""

    @property
    def address(self) -> str | None:
        """The node's InternalIP where the cloud has none for it; None: the cloud's."""
        ...

    def reserve(self) -> int:
        """Return the TCP port that the Node announces."""
        ...

    async def listen(self) -> socket.socket:
        """Return a listening socket; OSError when the port is in use, or the zone has no network now."""
        ...

    async def moved(self) -> None:
        """Return once the socket of the latest `listen` does not serve any more and another must be asked for."""
        ...


class ZonePort:
    """In the network namespace of the zone's router, at the zone's own address (ADR 0002)."""

    def __init__(self, networks: ZoneNetworks, zone: ZoneId, number: int) -> None:
        self._networks = networks
        self._zone = zone
        self._number = number
        self._generation = 0

    @property
    def address(self) -> str | None:
        """See KubeletPort: the zone's own."""
        return None

    def reserve(self) -> int:
        """See KubeletPort."""
        return self._number

    async def listen(self) -> socket.socket:
        """See KubeletPort."""
        self._generation = self._networks.generation(self._zone)
        try:
            return await self._networks.listen(self._zone, self._number)
        except RuntimeFault as fault:
            raise OSError(errno.EADDRNOTAVAIL, fault.message) from fault

    async def moved(self) -> None:
        """See KubeletPort: the router was made anew."""
        await self._networks.changed(self._zone, self._generation)


class HostPort:
    """On this host, at the address it has towards others and a port of the kernel's choice, one for each node."""

    def __init__(self) -> None:
        self._address = _host_address()
        self._reserved: socket.socket | None = None
        self._number = 0

    @property
    def address(self) -> str | None:
        """See KubeletPort."""
        return self._address

    def reserve(self) -> int:
        """See KubeletPort: the socket of the first `listen` is opened here."""
        if not self._number:
            self._reserved = self._open()
            self._number = self._reserved.getsockname()[1]
        return self._number

    async def listen(self) -> socket.socket:
        """See KubeletPort; always the reserved number, so that the Node stays true."""
        self.reserve()
        kept, self._reserved = self._reserved, None
        return kept or self._open()

    async def moved(self) -> None:
        """See KubeletPort: this host stays."""
        await asyncio.Event().wait()

    def _open(self) -> socket.socket:
        made = socket.create_server((self._address, self._number))
        made.setblocking(False)
        return made


def _host_address() -> str:
    """Return the address that this host has towards others; no packet is sent. The loopback when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
