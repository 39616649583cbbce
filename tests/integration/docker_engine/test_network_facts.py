"""What is in use, and the doctor's words, on a real engine with zones."""

from unittest import mock

import pytest

from provider.cloud.runtime.docker_engine.used_blocks import used_blocks
from provider.cluster.doctor_finding import State
from provider.cluster.network_facts import network_facts
from tests.integration.docker_engine.zones import A0, A1, B0, CLUSTER, ZONE_A, ZONES, engines

pytestmark = pytest.mark.integration


async def test_own_networks_are_not_in_use_and_others_are() -> None:
    async with engines() as engine:
        await engine.networks().ensure(ZONES)
        mine = {str(each.network) for each in await used_blocks(engine.client, engine.installation)}
        theirs = {str(each.network): each.owner for each in await used_blocks(engine.client, "somebody-else")}
        assert not mine & {A0, A1, B0, CLUSTER}
        assert theirs.keys() >= {A0, A1, B0, CLUSTER, "127.0.0.0/8"}
        assert theirs[CLUSTER] == f"Docker network {engine.installation}-cluster"


async def test_the_doctor_sees_routers_and_their_ways() -> None:
    async with engines() as engine:
        networks = engine.networks()
        await networks.ensure(ZONES)
        container = engine.client.containers.container(await engine.gateway(ZONE_A))
        await container.kill()
        await container.wait()
        findings = await network_facts(engine.client, engine.installation, [A0, A1, B0])
        assert {each.check: (each.state, each.found) for each in findings} == {
            "ip_forward": (State.OK, "1"),
            "neighbour table": (State.OK, mock.ANY),
            "way out": (State.OK, "network bridge"),
            "host-to-pod path": (State.OK, "this host has no route to pods"),
            "router of zone-a": (State.MISSING, "it is exited"),
            "router of zone-b": (State.OK, "answers at 10.211.200.3"),
        }
