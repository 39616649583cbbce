"""The blocks that the cloud side chooses stand in the journal and are used again, whatever else changes."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from itertools import combinations
from random import Random  # noqa: TID251 (seeded)
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiodocker.exceptions import DockerError

from provider.clock import LoopClock
from provider.cloud.addresses.free_blocks import AddressClashError
from provider.cloud.instances.journal import Journal
from provider.cloud.runtime.base import RuntimeFault
from provider.cloud.runtime.docker_engine.block_claims import BlockClaims
from provider.cloud.runtime.docker_engine.labels import encode_cluster_network
from provider.cloud_side import open_cloud
from provider.config.schema import DockerConfig, ProviderConfig, RuntimeConfig, VSwitchConfig, ZoneConfig
from provider.docker_side import blocks_on_engine
from provider.kubelet_ports import HostPort
from provider.model.ids import ZoneId

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from provider.cloud.addresses.block_choice import Blocks
    from provider.cloud_parts import CloudSide

pytestmark = pytest.mark.looptime

NAME = "mine"


def config(*zones: str, runtime: str = "docker", joined: str = "") -> ProviderConfig:
    made = RuntimeConfig(kind=runtime, docker=DockerConfig(network=joined))  # type: ignore[arg-type]
    return ProviderConfig(name=NAME, zones=tuple(ZoneConfig(name=zone) for zone in zones), runtime=made)


class Networks:
    """The engine's networks, as aiodocker gives them; `away` answers fail first."""

    def __init__(self) -> None:
        self.there: list[dict[str, Any]] = []
        self.away: list[Exception] = []

    def add(self, name: str, cidr: str, labels: dict[str, str] | None = None) -> None:
        pool = {"Config": [{"Subnet": cidr}]}
        self.there.append({"Name": name, "Id": name.ljust(64, "0"), "IPAM": pool, "Labels": labels})

    async def list(self, **_: Any) -> list[dict[str, Any]]:
        return self.there

    async def get(self, name: str) -> Network:
        if self.away:
            raise self.away.pop(0)
        found = next((each for each in self.there if each["Name"] == name), None)
        if found is None:
            raise DockerError(404, f"network {name} not found")
        return Network(found)


class Network:
    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer

    async def show(self) -> dict[str, Any]:
        return self.answer


class Engine:
    def __init__(self) -> None:
        self.networks = Networks()

    async def blocks(self, state: Path, of: ProviderConfig, claims: Path | None = None) -> Blocks:
        """What a provider with this configuration uses that starts now."""
        others = BlockClaims(state, claims or state / "claims")
        with Journal(state / "journal.sqlite") as journal:
            return await blocks_on_engine(of, journal, self, LoopClock(), others)  # type: ignore[arg-type]


@pytest.fixture
def engine() -> Engine:
    return Engine()


def apart(blocks: Blocks) -> None:
    every = [IPv4Network(each) for each in (blocks.cluster, *blocks.zones.values()) if each]
    assert not any(one.overlaps(other) for one, other in combinations(every, 2)), blocks


async def test_what_was_chosen_is_chosen_again(engine: Engine, tmp_path: Path) -> None:
    first = await engine.blocks(tmp_path, config("zone-a", "zone-b"))
    assert first.cluster
    assert set(first.zones) == {"zone-a", "zone-b"}
    apart(first)
    assert await engine.blocks(tmp_path, config("zone-a", "zone-b")) == first
    # a lower block that is free now, and a zone that is gone for a while, change nothing
    assert await engine.blocks(tmp_path, config("zone-b")) == first
    assert await engine.blocks(tmp_path, config("zone-b", "zone-a")) == first


async def test_two_that_begin_at_once_choose_apart(engine: Engine, tmp_path: Path) -> None:
    """Neither has made its networks when the other chooses."""
    claims, one, other = (tmp_path / name for name in ("claims", "one", "other"))
    first = await engine.blocks(one, config("zone-a"), claims)
    second = await engine.blocks(other, config("zone-a", "zone-b"), claims)
    every = [IPv4Network(each) for each in (*first.all(), *second.all())]
    assert not any(a.overlaps(b) for a, b in combinations(every, 2))
    assert await engine.blocks(one, config("zone-a"), claims) == first
    shutil.rmtree(one)
    assert (await engine.blocks(tmp_path / "third", config("zone-a"), claims)).all() == first.all()


async def test_the_clusters_block_stays_while_its_network_is_there_and_after(engine: Engine, tmp_path: Path) -> None:
    first = await engine.blocks(tmp_path, config("zone-a"))
    engine.networks.add(f"{NAME}-cluster", first.cluster, encode_cluster_network(NAME))
    assert await engine.blocks(tmp_path, config("zone-a")) == first
    engine.networks.there.clear()  # somebody removed it: it is made again as it was, for the Nodes' addresses are in it
    assert await engine.blocks(tmp_path, config("zone-a")) == first


async def test_a_further_zone_stays_clear_of_the_clusters_network(engine: Engine, tmp_path: Path) -> None:
    first = await engine.blocks(tmp_path, config("zone-a"))
    engine.networks.add(f"{NAME}-cluster", first.cluster, encode_cluster_network(NAME))
    more = await engine.blocks(tmp_path, config("zone-a", "zone-b", "zone-c"))
    assert (more.cluster, more.zones[ZoneId("zone-a")]) == (first.cluster, first.zones[ZoneId("zone-a")])
    apart(more)


async def test_the_network_of_zonelet_up_is_kept_clear_of_too(engine: Engine, tmp_path: Path) -> None:
    free = (await engine.blocks(tmp_path, config("zone-a"))).cluster
    engine.networks.add(f"{NAME}-cluster", free, encode_cluster_network(NAME))  # made before this journal was
    other = tmp_path / "other"
    other.mkdir()
    blocks = await engine.blocks(other, config("zone-a"))
    assert blocks.cluster == free
    apart(blocks)


async def test_a_joined_network_needs_no_block_of_ours_and_is_kept_clear_of(engine: Engine, tmp_path: Path) -> None:
    free = (await engine.blocks(tmp_path, config("zone-a"))).zones[ZoneId("zone-a")]
    other = tmp_path / "other"
    other.mkdir()
    engine.networks.add("kind", free)
    blocks = await engine.blocks(other, config("zone-a", joined="kind"))
    assert blocks.cluster == ""
    assert not IPv4Network(blocks.zones[ZoneId("zone-a")]).overlaps(IPv4Network(free))


async def test_a_choice_that_clashes_now_is_refused_with_the_owner(engine: Engine, tmp_path: Path) -> None:
    first = await engine.blocks(tmp_path, config("zone-a"))
    engine.networks.add("theirs", first.zones[ZoneId("zone-a")])
    with pytest.raises(AddressClashError, match=r"zone zone-a, clashes with .* of Docker network theirs"):
        await engine.blocks(tmp_path, config("zone-a"))
    engine.networks.there.clear()
    assert await engine.blocks(tmp_path, config("zone-a")) == first


async def test_an_engine_that_is_away_is_waited_for(engine: Engine, tmp_path: Path) -> None:
    engine.networks.away = [ConnectionRefusedError("refused"), TimeoutError()]
    before = asyncio.get_running_loop().time()
    with structlog.testing.capture_logs() as logs:
        blocks = await engine.blocks(tmp_path, config("zone-a"))
    assert blocks.zones
    assert asyncio.get_running_loop().time() - before == pytest.approx(10)
    assert [each["event"] for each in logs] == ["engine.away", "engine.away"]


async def test_an_engine_whose_answer_is_of_no_use_is_told(engine: Engine, tmp_path: Path) -> None:
    engine.networks.add(f"{NAME}-cluster", "fc00::/64", encode_cluster_network(NAME))
    with pytest.raises(RuntimeFault, match="no IPv4"):
        await engine.blocks(tmp_path, config("zone-a"))


@asynccontextmanager
async def running(cloud: CloudSide) -> AsyncIterator[None]:
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        life = group.create_task(cloud.run(ready))
        await ready.wait()
        yield
        life.cancel()


async def test_a_simulated_cloud_keeps_its_zones_over_a_restart(tmp_path: Path) -> None:
    async def addresses(of: ProviderConfig) -> dict[str, list[str]]:
        async with open_cloud(of, tmp_path, "", LoopClock(), Random(1)) as cloud:
            assert all(isinstance(port, HostPort) for port in cloud.ports.values())
            async with running(cloud):
                zones = await cloud.backend.describe_zones()
            return {each.zone.id: [vswitch.cidr for vswitch in each.zone.vswitches] for each in zones}

    first = await addresses(config("zone-a", "zone-b", runtime="simulated"))
    assert await addresses(config("zone-b", "zone-a", runtime="simulated")) == first
    named = ProviderConfig(
        name=NAME,
        zones=(ZoneConfig(name="zone-a", v_switches=(VSwitchConfig(id="vsw", cidr="10.214.0.0/24"),)),),
        runtime=RuntimeConfig(kind="simulated"),
    )
    assert await addresses(named) == {"zone-a": ["10.214.0.0/24"]}


async def test_a_cloud_elsewhere_serves_already(tmp_path: Path) -> None:
    async with open_cloud(config("zone-a"), tmp_path, "127.0.0.1:1", LoopClock(), Random(1)) as cloud:
        ready = asyncio.Event()
        await cloud.run(ready)
        assert ready.is_set()
        assert set(cloud.ports) == {"zone-a"}
    assert not (tmp_path / "journal.sqlite").exists()  # what the cloud knows is elsewhere
