"""Both sides of the provider together, in storms of whatever may go wrong between them; hours in no time.

Real: the node's controllers, the feed, the whole cloud side with its journal. Simulated: API server, containers, time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import aclosing
from random import Random  # noqa: TID251 (seeded: a failing run can be repeated)
from typing import TYPE_CHECKING, Any

import pytest

from provider.clock import LoopClock
from provider.cloud.instances.journal import Journal
from provider.cloud.local import LocalBackend
from provider.cloud.runtime.simulated import SimulatedRuntime
from provider.kube.client import KubeError
from provider.model.instance import InstanceChanged, Synced
from provider.pods.capacity import Sizes
from provider.pods.controller import PodController
from provider.pods.executor import NodeContext
from provider.pods.feed import InstanceFeed
from provider.rpc.health_check import check_health
from provider.translate.request import Placement
from tests.support.cloud_worlds import ZONE
from tests.support.kube_fake import FakeKubeApi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from provider.cloud.backend import ElasticBackend
    from provider.cloud.runtime.base import RunSpec, SeenContainer
    from tests.support.kube_fake import Call

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
NODE = "node-a"
PODS = "/api/v1/namespaces/n/pods"
CONFIG_MAPS = "/api/v1/namespaces/n/configmaps"
STEPS = 60
ORDER = {"Pending": 0, "Running": 1, "Succeeded": 2, "Failed": 2}


class Runtime(SimulatedRuntime):
    """Keeps what was asked for, and when each attempt has begun: more than one time is a container that ran twice."""

    def __init__(self) -> None:
        super().__init__(LoopClock(), start_seconds=0.3)
        self.starts: Counter[tuple[str, str, int]] = Counter()
        self.begun: dict[tuple[str, str, int], set[float]] = defaultdict(set)

    async def start_container(self, spec: RunSpec) -> SeenContainer:
        attempt = (spec.uid, spec.container.name, spec.attempt)
        self.starts[attempt] += 1
        seen = await super().start_container(spec)
        if seen.started_at is not None:
            self.begun[attempt].add(seen.started_at)
        return seen


class Storm:
    """One seed. `pods` has what was asked of each pod that was not deleted: uid, and whether it ends by itself."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.random = Random(seed)
        self.clock = LoopClock()
        self.api = FakeKubeApi(self.clock)
        self.api.hook = self._look
        self.runtime = Runtime()
        self.backend: Any = None
        self.pods: dict[str, tuple[str, bool]] = {}
        self.phases: dict[str, list[str]] = {}
        self.missing: set[str] = set()
        self._directory = directory
        self._count = 0
        self._journal: Journal | None = None
        self._serving: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, *, anew: bool = True) -> None:
        """Begin the cloud side, and the other one on it. Containers and journal are what they were.

        Not `anew`: in the same process, as when a bug has ended it.
        """
        if anew:
            self._journal = Journal(self._directory / "journal.sqlite")
            self.backend = LocalBackend(
                [ZONE], self.runtime, self._journal, clock=self.clock, random=self.random, grpc=check_health
            )
        ready = asyncio.Event()
        self._serving = asyncio.get_running_loop().create_task(self.backend.run(ready))
        async with asyncio.timeout(60):
            await ready.wait()
        await self.start()

    async def close(self, *, anew: bool = True) -> None:
        """End both sides at once, in the middle of whatever they do."""
        await self.kill()
        assert self._serving is not None
        assert self._journal is not None
        self._serving.cancel()
        await asyncio.wait({self._serving})
        assert self._serving.cancelled(), self._serving.exception()
        if anew:
            self._journal.close()

    def _look(self, call: Call) -> None:
        if call.verb == "patch" and call.body is not None and (phase := call.body.get("status", {}).get("phase")):
            self.phases.setdefault(call.body["metadata"]["uid"], []).append(phase)

    async def start(self) -> None:
        """Begin the provider's Kubernetes side anew."""
        context = NodeContext(
            name=NODE,
            placement=Placement(zone=ZONE.id),
            services=lambda: (),
            host_ip=lambda: "192.0.2.1",
            allocatable=lambda: Sizes(cpu=4_000, memory=4 << 30, ephemeral_storage=1 << 40, pods=200),
        )
        controller = PodController(context, self.api, self.backend, clock=self.clock, random=self.random)
        feed = InstanceFeed(self.backend, {ZONE.id: controller}, clock=self.clock, random=self.random)

        async def life() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(controller.run())
                group.create_task(feed.run())

        self._task = asyncio.get_running_loop().create_task(life())

    async def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.result()

    async def blow(self) -> None:
        for _ in range(STEPS):
            for _ in range(self.random.randint(1, 3)):
                await self.random.choice(self._events())()
            await self.clock.sleep(self.random.choice((0, 0, 0.01, 0.2, 0.6, 2, 7, 35)))

    def _events(self) -> list[Callable[[], Any]]:
        often = [self.create, self.create, self.create]
        others = [self.delete, self.force, self.vanish, self.arrive]
        weather = [self.forget, self.refuse, self.lose, self.restart, self.crash]
        return [*often, *others, *weather]

    async def create(self) -> None:
        self._count += 1
        name = f"p{self._count}"
        ends = self.random.random() < 0.7
        hints = {"simulate.zonelet.dev/duration": f"{self.random.uniform(0.1, 20):.1f}"} if ends else {}
        container: Json = {"name": "c", "image": "i"}
        if self.random.random() < 0.3:
            self.missing.add(name)
            container["envFrom"] = [{"configMapRef": {"name": name}}]
        init = [{"name": "first", "image": "i"}] if self.random.random() < 0.3 else []
        body = {
            "metadata": {"name": name, "annotations": hints},
            "spec": {"nodeName": NODE, "restartPolicy": "Never", "containers": [container], "initContainers": init},
        }
        made = await self._by_another(self.api.create(PODS, body))
        self.pods[name] = (made["metadata"]["uid"], ends)

    async def _by_another(self, call: Awaitable[Json]) -> Json:
        """Await a call of somebody else's, which does not fail."""
        failures, self.api._failures = self.api._failures, []
        losses, self.api._losses = self.api._losses, []
        answer = await call
        self.api._failures += failures
        self.api._losses += losses
        return answer

    async def _gone(self, name: str, grace: int | None) -> None:
        self.pods.pop(name)
        self.missing.discard(name)
        await self._by_another(self.api.delete(f"{PODS}/{name}", grace_seconds=grace))

    async def delete(self) -> None:
        if self.pods:
            await self._gone(self.random.choice(sorted(self.pods)), None)

    async def force(self) -> None:
        if self.pods:
            await self._gone(self.random.choice(sorted(self.pods)), 0)

    async def vanish(self) -> None:
        """A pod goes while nobody watches."""
        if self.pods:
            name = self.random.choice(sorted(self.pods))
            self.pods.pop(name)
            self.missing.discard(name)
            self.api.vanish(f"{PODS}/{name}")
            self.api.drop_history()

    async def forget(self) -> None:
        self.api.drop_history()

    async def refuse(self) -> None:
        verb, part = self.random.choice(
            [("patch", "/status"), ("get", "/configmaps"), ("delete", "/pods"), ("list", "/pods"), ("watch", "/pods")]
        )
        error = self.random.choice(
            [
                KubeError(0, "ServerDisconnectedError", ""),
                KubeError(429, "TooManyRequests", "", 3),
                KubeError(500, "InternalError", ""),
                KubeError(504, "Timeout", ""),
            ]
        )
        self.api.fail(verb, part, error, self.random.randint(1, 5))

    async def lose(self) -> None:
        verb, part = self.random.choice([("patch", "/status"), ("delete", "/pods"), ("create", "/events")])
        self.api.lose(verb, part, self.random.randint(1, 4))

    async def crash(self) -> None:
        anew = self.random.random() < 0.7
        await self.close(anew=anew)
        await self.clock.sleep(self.random.choice((0, 0.1, 4)))
        await self.open(anew=anew)

    async def restart(self) -> None:
        await self.kill()
        await self.clock.sleep(self.random.choice((0, 0.1, 4)))
        await self.start()

    async def arrive(self) -> None:
        if self.missing:
            name = self.random.choice(sorted(self.missing))
            self.missing.discard(name)
            await self._by_another(self.api.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": {"K": "v"}}))

    async def calm(self) -> None:
        """Nothing fails any more, what was missing is there, and what would run for ever is deleted."""
        self.api.calm()
        while self.missing:
            await self.arrive()
        for name, (_, ends) in sorted(self.pods.items()):
            if not ends:
                await self._gone(name, None)
        await self.clock.sleep(400)

    def left(self) -> dict[str, str]:
        """The pods that the API server has: name, phase."""
        return {key[3]: item["status"]["phase"] for key, item in self.api._objects.items() if key[1] == "pods"}


async def known(backend: ElasticBackend) -> set[str]:
    """The instances that a new watch tells of."""
    found: set[str] = set()
    async with aclosing(backend.watch()) as changes:
        async for change in changes:
            if isinstance(change, Synced):
                return found
            if isinstance(change, InstanceChanged):
                found.add(change.instance.uid)
    raise AssertionError("the watch has ended before it told all")


@pytest.mark.parametrize("seed", range(30))
async def test_every_pod_comes_to_its_end_once_and_nothing_is_left(seed: int, tmp_path: Path) -> None:
    storm = Storm(seed, tmp_path)
    runtime = storm.runtime
    await storm.open()
    await storm.blow()
    await storm.calm()
    assert storm.left() == dict.fromkeys(storm.pods, "Succeeded")
    assert {attempt for _, _, attempt in runtime.starts} <= {0}
    assert all(len(times) == 1 for times in runtime.begun.values())
    for uid, _ in storm.pods.values():
        assert (uid, "c", 0) in runtime.begun
    for uid, phases in storm.phases.items():
        assert phases == sorted(phases, key=ORDER.__getitem__), (uid, phases)
    survivors = {uid for uid, _ in storm.pods.values()}
    assert await known(storm.backend) <= survivors
    assert set(runtime._instances) <= survivors
    (zone,) = await storm.backend.describe_zones()
    assert (zone.cpu_used, zone.waiting, sum(each.used for each in zone.vswitches)) == (0, 0, 0)
    writes = len(storm.api.writes())
    await storm.clock.sleep(600)
    assert storm.api.writes()[writes:] == []
    await storm.close()
