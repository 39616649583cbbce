"""The zones' network on a real engine: who reaches whom, with which address, and what survives what."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from provider.clock import SystemClock
from provider.cloud.runtime.base import FaultKind, RuntimeFault
from provider.cloud.runtime.docker_engine.engine import Engine
from provider.cloud.runtime.docker_engine.zone_networks import ZoneNetworks, remove_networks
from provider.cluster.blocks import host_address, make_cluster_network
from provider.cluster.installation import Installation
from provider.cluster.steps import SetupError
from provider.model.capacity import Redirect
from tests.integration.docker_engine.zones import (
    A0,
    A1,
    CLUSTER,
    HOST,
    SECONDS,
    ZONE_A,
    ZONE_B,
    ZONES,
    Engines,
    Pod,
    answer,
    engines,
    say,
    served_in,
    tells_who_asks,
    zone,
)

pytestmark = pytest.mark.integration

SERVICE = "10.96.0.1"
PORT = 7443


@pytest.fixture
async def engine() -> AsyncIterator[Engines]:
    async with engines() as made:
        yield made


@dataclass
class Pods:
    """Two pods of one vSwitch, one of the same zone's other vSwitch, one of another zone."""

    a0: Pod
    a0_too: Pod
    a1: Pod
    b0: Pod

    def all(self) -> tuple[Pod, ...]:
        return self.a0, self.a0_too, self.a1, self.b0


async def pods_of(engine: Engines, networks: ZoneNetworks) -> Pods:
    switches = [(each.id, switch.id) for each in ZONES for switch in each.vswitches]
    a0, a1, b0 = (networks.network_of(*each) for each in switches)
    return Pods(
        await engine.pod(a0, "10.211.204.9"),
        await engine.pod(a0, "10.211.204.10"),
        await engine.pod(a1, "10.211.205.9"),
        await engine.pod(b0, "10.211.206.1"),
    )


async def test_every_pod_reaches_every_pod_with_its_own_address(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pods = await pods_of(engine, networks)
    async with AsyncExitStack() as stack:
        for pod in pods.all():
            await stack.enter_async_context(served_in(pod, PORT))
        for pod in pods.all():
            for other in pods.all():
                assert await pod.ask(other.address, PORT) == pod.address
        for each in ZONES:
            for pod in pods.all():
                connected = await networks.connect(each.id, pod.address, PORT, SECONDS)
                assert connected.gettimeout() == 0
                gateway = {"10.211.204": "10.211.204.253", "10.211.205": "10.211.205.253", "10.211.206": "10.211.206.5"}
                near = gateway[pod.address.rpartition(".")[0]]
                in_zone = (each.id == ZONE_B) == (pod is pods.b0)
                assert await answer(connected) == (near if in_zone else networks.node_address(each.id))


async def test_a_connection_that_nobody_takes(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pod = await engine.pod(networks.network_of(ZONE_B, ZONES[1].vswitches[0].id), "10.211.206.1")
    with pytest.raises(ConnectionRefusedError):
        await networks.connect(ZONE_A, pod.address, PORT, SECONDS)
    with pytest.raises(OSError, match=r"timed out|No route to host|^$"):
        await networks.connect(ZONE_A, "10.211.206.2", PORT, 0.2)


async def test_the_way_out_is_translated(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pods = await pods_of(engine, networks)
    outsider = await engine.outsider()
    router = await engine.client.containers.container(await engine.gateway(ZONE_A)).show()
    out = router["NetworkSettings"]["Networks"]["bridge"]
    async with served_in(outsider, PORT):
        assert await pods.a0.ask(outsider.address, PORT) == out["IPAddress"]
        assert await pods.a1.ask(outsider.address, PORT) == out["IPAddress"]
    async with tells_who_asks(socket.create_server((out["Gateway"], 0))) as port:
        assert await pods.a0.ask(out["Gateway"], port) == out["IPAddress"]
    async with tells_who_asks(socket.create_server((HOST, 0))) as port:
        assert await pods.a0.ask(HOST, port) == networks.node_address(ZONE_A)
        assert await pods.b0.ask(HOST, port) == networks.node_address(ZONE_B)


async def test_redirects(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pods = await pods_of(engine, networks)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(tells_who_asks(socket.create_server((HOST, 0))))
        for pod in pods.all():
            await stack.enter_async_context(served_in(pod, PORT))
        in_zone_a = Redirect("10.96.0.2", 80, ((pods.a0.address, PORT),))
        await networks.set_redirects(
            [Redirect(SERVICE, 443, ((HOST, api),)), in_zone_a, Redirect("10.96.0.3", 80, ())],
        )
        for pod in pods.all():
            router = networks.node_address(ZONE_B if pod is pods.b0 else ZONE_A)
            assert await pod.ask(SERVICE, 443) == router
            with pytest.raises(ConnectionRefusedError):
                await pod.ask("10.96.0.3", 80)
        assert (
            await pods.a0.ask("10.96.0.2", 80) == "10.211.204.253"
        )  # itself: the reply has to come back by the router
        assert await pods.a0_too.ask("10.96.0.2", 80) == "10.211.204.253"  # the same vSwitch: the same
        assert await pods.a1.ask("10.96.0.2", 80) == pods.a1.address
        assert await pods.b0.ask("10.96.0.2", 80) == pods.b0.address
        kept = await pods.a1.connect(SERVICE, 443)
        assert await say(kept) == networks.node_address(ZONE_A)
        both = Redirect(SERVICE, 443, ((HOST, api), (pods.b0.address, PORT)))
        await networks.set_redirects([both])
        seen = {await pods.a1.ask(SERVICE, 443) for _ in range(4)}
        assert seen == {networks.node_address(ZONE_A), pods.a1.address}
        await engine.networks().ensure(ZONES)  # a new process, which knows no redirects yet, leaves them alone
        assert await say(kept) == networks.node_address(ZONE_A)
        assert {await pods.a1.ask(SERVICE, 443) for _ in range(4)} == seen
        await networks.set_redirects([in_zone_a])
        assert await answer(kept) == networks.node_address(ZONE_A)
        with pytest.raises(ValueError, match="no port"):
            await networks.set_redirects([Redirect(SERVICE, 0, ())])


async def test_the_kubelet_port(engine: Engines) -> None:
    networks = engine.networks()
    with pytest.raises(RuntimeFault, match="not made yet"):
        await networks.listen(ZONE_A, 10250)
    await networks.ensure(ZONES)
    address = networks.node_address(ZONE_A)
    assert address == "10.211.200.2"
    pods = await pods_of(engine, networks)
    async with tells_who_asks(await networks.listen(ZONE_A, 10250)):
        with pytest.raises(OSError, match="in use"):
            await networks.listen(ZONE_A, 10250)
        host = await asyncio.to_thread(socket.create_connection, (address, 10250), SECONDS)
        host.setblocking(False)
        assert await answer(host) == HOST
        assert await pods.a1.ask(address, 10250) == pods.a1.address
        assert await pods.b0.ask(address, 10250) == networks.node_address(ZONE_B)


async def test_a_router_that_is_killed_is_made_anew(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pods = await pods_of(engine, networks)
    address = networks.node_address(ZONE_A)
    assert address is not None
    generation = networks.generation(ZONE_A)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(tells_who_asks(socket.create_server((HOST, 0))))
        await stack.enter_async_context(served_in(pods.b0, PORT))
        await networks.set_redirects([Redirect(SERVICE, 443, ((HOST, api),))])
        watching = await stack.enter_async_context(asyncio.TaskGroup())
        task = watching.create_task(networks.watch())
        for end in ("kill", "rm"):
            container = engine.client.containers.container(await engine.gateway(ZONE_A))
            await (container.kill() if end == "kill" else container.delete(force=True))
            async with asyncio.timeout(20):
                generation = await networks.changed(ZONE_A, generation)
            assert networks.node_address(ZONE_A) == address
            assert await pods.a0.ask(pods.b0.address, PORT) == pods.a0.address
            assert await pods.a0.ask(SERVICE, 443) == address
            async with tells_who_asks(await networks.listen(ZONE_A, 10250)):
                assert await pods.b0.ask(address, 10250) == networks.node_address(ZONE_B)
        assert networks.generation(ZONE_B) == 1
        assert networks.problems() == {}
        task.cancel()


async def test_a_dead_router_is_told_and_looked_after(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    container = engine.client.containers.container(await engine.gateway(ZONE_A))
    await container.kill()
    await container.wait()
    with pytest.raises(RuntimeFault, match="made anew") as caught:
        await networks.listen(ZONE_A, 10250)
    assert caught.value.kind is FaultKind.UNAVAILABLE
    with pytest.raises(RuntimeFault, match="made anew"):
        await networks.connect(ZONE_A, HOST, 1, SECONDS)
    await networks.repair()
    (await networks.listen(ZONE_A, 10250)).close()


async def test_another_process_finds_everything_and_its_addresses(engine: Engines) -> None:
    first = engine.networks()
    await first.ensure([ZONES[1], ZONES[0]])  # not in the order of the next time
    routers = [await engine.gateway(each.id) for each in ZONES]
    second = engine.networks()
    await second.ensure(ZONES)
    addresses = [first.node_address(each.id) for each in ZONES]
    assert [second.node_address(each.id) for each in ZONES] == addresses == ["10.211.200.3", "10.211.200.2"]
    assert [await engine.gateway(each.id) for each in ZONES] == routers
    for router in routers:
        await engine.client.containers.container(router).delete(force=True)
    third = engine.networks()
    await third.ensure(ZONES)
    assert [third.node_address(each.id) for each in ZONES] == addresses


async def test_a_router_that_lost_a_network_or_a_rule(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pods = await pods_of(engine, networks)
    name = networks.network_of(ZONE_A, ZONES[0].vswitches[1].id)
    network = await engine.client.networks.get(name)
    await network.disconnect({"Container": await engine.gateway(ZONE_A), "Force": True})
    await networks.repair()
    assert networks.generation(ZONE_A) == 2
    async with served_in(pods.a1, PORT):
        assert await pods.b0.ask(pods.a1.address, PORT) == pods.b0.address
        router = engine.client.containers.container(await engine.gateway(ZONE_A))
        run = await router.exec(
            ["sh", "-c", f"ip route del {pods.b0.address.rpartition('.')[0]}.0/29; nft flush ruleset"]
        )
        async with run.start() as stream:
            assert await stream.read_out() is None
        await networks.ensure(ZONES)
        assert networks.generation(ZONE_A) == 2
        assert await pods.b0.ask(pods.a1.address, PORT) == pods.b0.address


async def test_zones_come_and_go(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pod = await engine.pod(networks.network_of(ZONE_A, ZONES[0].vswitches[1].id), "10.211.205.9")
    left = await engine.left()
    await networks.ensure([zone("zone-a", A0), zone("zone-c", "10.211.207.0/24")])
    names = await engine.left()
    assert f"/{engine.installation}-gateway_zone-b" in left
    assert f"/{engine.installation}-gateway_zone-b" not in names
    assert f"{engine.installation}-vsw_zone-b_vsw-zone-b-0" not in names
    assert f"{engine.installation}-vsw_zone-a_vsw-zone-a-1" in names  # a pod is in it
    assert networks.node_address(ZONE_B) is None
    await engine.client.containers.container(engine.containers.pop()).delete(force=True)
    await networks.ensure([zone("zone-a", A0, A1), zone("zone-c", "10.211.207.0/24")])
    pod = await engine.pod(networks.network_of(ZONE_A, ZONES[0].vswitches[1].id), "10.211.205.9")
    async with served_in(pod, PORT):
        connected = await networks.connect(zone("zone-c").id, pod.address, PORT, SECONDS)
        assert await answer(connected) == networks.node_address(zone("zone-c").id)


async def test_one_zone_that_cannot_be_made_does_not_keep_the_others(engine: Engines) -> None:
    networks = engine.networks()
    with pytest.raises(RuntimeFault, match=r"overlap|Pool") as caught:
        await networks.ensure([zone("zone-a", A0), zone("zone-b", A0)])
    assert caught.value.kind is FaultKind.CONFIG
    assert len(networks.problems()) == 1
    whole = ZONE_A if ZONE_B in networks.problems() else ZONE_B
    assert networks.generation(whole) == 1
    with pytest.raises(RuntimeFault, match=r"overlap|Pool"):
        await networks.listen(next(iter(networks.problems())), 10250)


async def test_somebody_elses_network_is_joined(engine: Engines) -> None:
    """As kind makes its own: without a subnet of its user's choice, so the engine takes no address from us."""
    network = await engine.client.networks.create({"Name": f"{engine.installation}-kind", "Driver": "bridge"})
    async with engines() as other:
        try:
            networks = engine.networks(None, f"{engine.installation}-kind")
            await networks.ensure(ZONES)
            more = other.networks(None, f"{engine.installation}-kind")
            await more.ensure([zone("zone-a", "10.211.208.0/24")])
            addresses = {networks.node_address(ZONE_A), networks.node_address(ZONE_B), more.node_address(ZONE_A)}
            assert len(addresses) == 3
            pods = await pods_of(engine, networks)
            node = await engine.pod_on(f"{engine.installation}-kind")
            async with served_in(pods.b0, PORT), served_in(node, 6443):
                await networks.set_redirects([Redirect(SERVICE, 443, ((node.address, 6443),))])
                assert await pods.a0.ask(pods.b0.address, PORT) == pods.a0.address
                assert await pods.a0.ask(SERVICE, 443) == networks.node_address(ZONE_A)
            address = networks.node_address(ZONE_A)
            assert address is not None
            async with tells_who_asks(await networks.listen(ZONE_A, 10250)):
                assert await node.ask(address, 10250) == node.address
            again = engine.networks(None, f"{engine.installation}-kind")
            await engine.client.containers.container(await engine.gateway(ZONE_A)).delete(force=True)
            await again.ensure(ZONES)
            assert again.node_address(ZONE_A) == address
            await remove_networks(engine.client, engine.installation)
            assert engine.installation + "-kind" in [row["Name"] for row in await engine.client.networks.list()]
        finally:
            for name in engine.containers:
                await engine.client.containers.container(name).delete(force=True)
            engine.containers.clear()
            await remove_networks(engine.client, engine.installation)
            await remove_networks(other.client, other.installation)
            await network.delete()


async def test_a_network_to_join_that_is_not_there(engine: Engines) -> None:
    with pytest.raises(RuntimeFault, match="no Docker network none-such; start the cluster") as caught:
        await engine.networks(None, "none-such").ensure(ZONES)
    assert caught.value.kind is FaultKind.CONFIG


async def test_an_own_network_that_is_there_needs_no_block_and_keeps_its_own(engine: Engines) -> None:
    with pytest.raises(RuntimeFault, match=r"-cluster; start the installation \(zonelet up\)"):
        await engine.networks(None).ensure(ZONES)
    await engine.networks().ensure(ZONES)
    again = engine.networks(None)
    await again.ensure(ZONES)
    assert again.node_address(ZONE_A) == "10.211.200.2"
    with pytest.raises(RuntimeFault, match=r"block \['10\.211\.200\.0/24'\], the config says"):
        await engine.networks("10.211.201.0/24").ensure(ZONES)


async def test_the_network_that_up_makes_is_the_one_that_zones_meet_on(engine: Engines, tmp_path: Path) -> None:
    up = Installation(engine.installation, tmp_path, SystemClock())
    await make_cluster_network(engine.client, up, CLUSTER)
    await engine.networks(None).ensure(ZONES)
    await engine.networks(CLUSTER).ensure(ZONES)
    await make_cluster_network(engine.client, up, CLUSTER)
    name = f"{engine.installation}-cluster"
    (network,) = await engine.client.networks.list(filters={"name": [name]})
    assert network["IPAM"]["Config"] == [{"Subnet": CLUSTER, "IPRange": "10.211.200.128/25", "Gateway": HOST}]
    assert network["Options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
    assert await host_address(engine.client, name) == HOST
    with pytest.raises(SetupError, match=f"network {name} cannot be made"):
        await make_cluster_network(engine.client, up, "10.211.201.0/24")


async def test_what_a_crash_left_half_made(engine: Engines) -> None:
    """A router that was created and not joined to its networks, and one that was never told its rules."""
    networks = engine.networks()
    await networks.ensure(ZONES)
    pods = await pods_of(engine, networks)
    bodies = [await engine.client.containers.container(await engine.gateway(each.id)).show() for each in ZONES]
    for each in ZONES:
        await engine.client.containers.container(await engine.gateway(each.id)).delete(force=True)
    for zone_body, started in zip(bodies, (False, True), strict=True):
        config = zone_body["Config"] | {"HostConfig": zone_body["HostConfig"]}
        made = await engine.client.containers.create(config, name=zone_body["Name"].removeprefix("/"))
        if started:
            await made.start()
    after = engine.networks()
    await after.ensure(ZONES)
    assert [after.node_address(each.id) for each in ZONES] == [networks.node_address(each.id) for each in ZONES]
    async with served_in(pods.b0, PORT):
        assert await pods.a1.ask(pods.b0.address, PORT) == pods.a1.address


async def test_down_leaves_what_others_made(engine: Engines) -> None:
    networks = engine.networks()
    await networks.ensure(ZONES)
    pod = await engine.pod(networks.network_of(ZONE_A, ZONES[0].vswitches[0].id), "10.211.204.9")
    await remove_networks(engine.client, engine.installation)
    await remove_networks(engine.client, engine.installation)
    assert await engine.left() == []
    shown = await engine.client.containers.container(engine.containers[0]).show()
    assert (shown["State"]["Running"], shown["NetworkSettings"]["Networks"]) == (True, {})
    assert pod.pid == shown["State"]["Pid"]


async def test_a_name_that_is_taken(engine: Engines) -> None:
    name = f"{engine.installation}-cluster"
    network = await engine.client.networks.create({"Name": name, "Driver": "bridge"})
    try:
        with pytest.raises(RuntimeFault, match="somebody else") as caught:
            await engine.networks().ensure(ZONES)
        assert caught.value.kind is FaultKind.CONFIG
        assert await Engine(engine.client, engine.installation).relist() == []
    finally:
        await network.delete()
