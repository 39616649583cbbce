"""Where a node's port opens, which number the Node announces, and when it must be opened anew."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest

from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.kubelet_ports import HostPort, ZonePort
from provider.model.ids import ZoneId


async def answers(port: HostPort, listener: socket.socket) -> bool:
    """Whether a connection to the announced address arrives at this socket."""
    loop = asyncio.get_running_loop()
    with socket.socket() as caller:
        caller.setblocking(False)
        await loop.sock_connect(caller, (str(port.address), port.reserve()))
        async with asyncio.timeout(5):
            accepted, _ = await loop.sock_accept(listener)
        with accepted:
            return accepted.getpeername() == caller.getsockname()


async def test_the_announced_number_is_held_before_anybody_listens() -> None:
    port = HostPort()
    number = port.reserve()
    assert port.reserve() == number
    with pytest.raises(OSError, match="in use") as caught:
        socket.create_server((str(port.address), number))
    assert caught.value.errno == errno.EADDRINUSE
    with await port.listen() as listener:
        assert listener.getsockname() == (port.address, number)
        assert await answers(port, listener)


async def test_two_nodes_of_a_host_have_two_numbers() -> None:
    first, second = HostPort(), HostPort()
    with await first.listen(), await second.listen():
        assert first.reserve() != second.reserve()
        assert first.address == second.address


async def test_the_number_stays_when_the_port_is_opened_again() -> None:
    port = HostPort()
    number = port.reserve()
    (await port.listen()).close()
    with await port.listen() as listener:
        assert listener.getsockname()[1] == port.reserve() == number
        assert await answers(port, listener)
        with pytest.raises(OSError, match="in use"):  # while it is served; the caller tells, and tries again
            await port.listen()
    (await port.listen()).close()


@pytest.mark.looptime
async def test_a_host_stays_where_it_is() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10 * 86_400):
            await HostPort().moved()


class Networks:
    """A zone's router that a test makes anew."""

    def __init__(self) -> None:
        self.number = 1
        self.fault: RuntimeFault | None = None
        self.asked: list[tuple[str, int]] = []
        self.news = asyncio.Event()

    def generation(self, zone: ZoneId) -> int:
        return self.number

    async def listen(self, zone: ZoneId, port: int) -> Any:
        self.asked.append((zone, port))
        if self.fault is not None:
            raise self.fault
        self.number += 1  # the router is made anew at this moment
        return object()

    async def changed(self, zone: ZoneId, generation: int) -> None:
        while self.number == generation:
            await self.news.wait()


async def test_a_zones_port_has_the_clouds_address_and_the_configured_number() -> None:
    networks = Networks()
    port = ZonePort(networks, ZoneId("zone-a"), 10250)  # type: ignore[arg-type]
    assert (port.address, port.reserve()) == (None, 10250)
    await port.listen()
    assert networks.asked == [("zone-a", 10250)]


async def test_a_router_that_is_made_while_the_port_opens_is_not_missed() -> None:
    port = ZonePort(Networks(), ZoneId("zone-a"), 10250)  # type: ignore[arg-type]
    await port.listen()
    async with asyncio.timeout(5):
        await port.moved()


async def test_a_zone_without_a_network_is_an_error_of_the_port() -> None:
    networks = Networks()
    networks.fault = RuntimeFault(FaultKind.UNAVAILABLE, "zone zone-a has no router now")
    with pytest.raises(OSError, match="has no router now") as caught:
        await ZonePort(networks, ZoneId("zone-a"), 10250).listen()  # type: ignore[arg-type]
    assert caught.value.errno == errno.EADDRNOTAVAIL
