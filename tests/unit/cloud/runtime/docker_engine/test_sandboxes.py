"""How instances come to an engine and go, by what is asked of it at the same time."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from provider.clock import SystemClock
from provider.cloud.runtime.base import FaultKind, SandboxSpec
from provider.cloud.runtime.docker_engine.engine import Made
from provider.cloud.runtime.docker_engine.half_started import HalfStarted
from provider.cloud.runtime.docker_engine.instance_store import InstanceStore
from provider.cloud.runtime.docker_engine.labels import encode_sandbox
from provider.cloud.runtime.docker_engine.naming import sandbox_name
from provider.cloud.runtime.docker_engine.sandboxes import Sandboxes
from provider.model.ids import PodUid, VSwitchId, ZoneId

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Network:
    """Stands for the zones' networks: all sandboxes share one."""

    def network_of(self, zone: ZoneId, vswitch: VSwitchId) -> str:
        return "one"


class NoCgroups:
    def parent(self, uid: PodUid) -> str:
        return ""

    def make(self, uid: PodUid, limits: object) -> None:
        return

    def remove(self, uid: PodUid) -> bool:
        return True

    def processes(self, uid: PodUid, container_id: str) -> list[int]:
        return []


class SlowEngine:
    """An engine whose acts take a few turns of the loop; it notes which were under way together.

    An act in `together` lasts until as many as it says there are under way at once.
    """

    def __init__(self) -> None:
        self.under_way: list[str] = []
        self.met: set[frozenset[str]] = set()
        self.together: dict[str, asyncio.Barrier] = {}

    async def make(self, name: str, config: object, kind: FaultKind) -> Made:
        return Made(name)

    async def start(self, name: str, kind: FaultKind) -> None:
        with self._noted("start"):
            await self._turns("start")

    async def remove(self, name: str) -> None:
        act = "remove member" if "-c_" in name else "remove sandbox"
        with self._noted(act):
            await self._turns(act)

    async def relist(self, **labels: str) -> list[dict[str, Any]]:
        """One sandbox and one container in it."""
        return [
            {"Id": "sandbox", "HostConfig": {"NetworkMode": "one"}},
            {"Id": "name-c_main", "HostConfig": {"NetworkMode": "container:sandbox"}},
        ]

    async def _turns(self, act: str) -> None:
        if act in self.together:
            async with asyncio.timeout(10):
                await self.together[act].wait()
        for _ in range(5):
            await SystemClock().sleep(0)

    @contextmanager
    def _noted(self, act: str) -> Iterator[None]:
        self.met |= {frozenset((act, other)) for other in self.under_way}
        self.under_way.append(act)
        yield
        self.under_way.remove(act)


def sandboxes(engine: Any, directory: Path, *, one_by_one: bool) -> Sandboxes:
    cgroups: Any = NoCgroups()
    networks: Any = Network()
    return Sandboxes(
        engine,
        "name",
        InstanceStore(directory, SystemClock()),
        cgroups,
        HalfStarted(engine, cgroups, SystemClock()),
        networks,
        SystemClock(),
        pause_image="pause",
        mac_of_endpoint=False,
        leaves_one_by_one=one_by_one,
    )


def spec(number: int) -> SandboxSpec:
    return SandboxSpec(
        uid=PodUid(f"u-{number}"),
        zone=ZoneId("zone-a"),
        vswitch=VSwitchId("vsw-0"),
        address=f"10.211.1.{number}",
        name="pod",
        namespace="default",
        hostname="pod",
    )


class Finding(SlowEngine):
    """An engine that has the sandbox already; with these labels."""

    def __init__(self, labels: dict[str, str]) -> None:
        super().__init__()
        self.labels: dict[str, str] | None = labels
        self.acts: list[str] = []

    async def make(self, name: str, config: Any, kind: FaultKind) -> Made:
        if self.labels is not None:
            return Made(name, {"State": {"Status": "running"}, "Config": {"Labels": self.labels}})
        self.acts.append(f"make {config['NetworkingConfig']['EndpointsConfig']['one']['IPAMConfig']['IPv4Address']}")
        return Made(name)

    async def remove(self, name: str) -> None:
        self.acts.append(f"remove {name}")
        self.labels = None

    async def start(self, name: str, kind: FaultKind) -> None:
        self.acts.append("start")


def without(labels: dict[str, str], part: str) -> dict[str, str]:
    return {key: value for key, value in labels.items() if not key.endswith(part)}


async def test_a_sandbox_that_is_where_it_is_to_be_is_found(tmp_path: Path) -> None:
    engine = Finding(encode_sandbox("name", spec(1)))
    await sandboxes(engine, tmp_path, one_by_one=True).create(spec(1))
    assert engine.acts == []


@pytest.mark.parametrize(
    "labels",
    [
        encode_sandbox("name", msgspec.structs.replace(spec(1), address="10.211.1.77")),
        encode_sandbox("name", msgspec.structs.replace(spec(1), vswitch=VSwitchId("vsw-1"))),
        without(encode_sandbox("name", spec(1)), "address"),
    ],
    ids=["address", "vswitch", "labels"],
)
async def test_a_sandbox_elsewhere_is_made_anew_with_all_that_is_in_it(tmp_path: Path, labels: dict[str, str]) -> None:
    engine = Finding(labels)
    async with asyncio.timeout(10):
        await sandboxes(engine, tmp_path, one_by_one=True).create(spec(1))
    name = sandbox_name("name", spec(1).uid)
    assert engine.acts == ["remove name-c_main", f"remove {name}", "make 10.211.1.1", "start"]
    assert (tmp_path / "instances" / "u-1" / "etc" / "hosts").read_text().count("10.211.1.1\t") == 1


HARMFUL = {frozenset(("remove sandbox",)), frozenset(("remove sandbox", "start"))}


async def test_a_sandbox_leaves_its_network_alone_where_the_engine_would_lock_up(tmp_path: Path) -> None:
    engine = SlowEngine()
    made = sandboxes(engine, tmp_path, one_by_one=True)
    await come_and_go(engine, made)
    assert not HARMFUL & engine.met


async def test_sandboxes_come_together_all_the_same(tmp_path: Path) -> None:
    engine = SlowEngine()
    made = sandboxes(engine, tmp_path, one_by_one=True)
    engine.together["start"] = asyncio.Barrier(3)  # a start waits for the others
    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(made.create(spec(number)))


async def test_sandboxes_go_together_where_the_engine_bears_it(tmp_path: Path) -> None:
    engine = SlowEngine()
    made = sandboxes(engine, tmp_path, one_by_one=False)
    engine.together["remove sandbox"] = asyncio.Barrier(2)
    await come_and_go(engine, made)
    assert HARMFUL & engine.met


async def come_and_go(engine: SlowEngine, made: Sandboxes) -> None:
    for number in range(1, 5):
        await made.create(spec(number))
    engine.met.clear()
    async with asyncio.TaskGroup() as group:
        for number in (1, 2):
            group.create_task(made.release(spec(number).uid))
        for number in (3, 4):
            group.create_task(made.remove(spec(number).uid))
        for number in (5, 6, 7):
            group.create_task(made.create(spec(number)))
