"""Whatever happens in whatever order: once it is calm the Node is whole, and another's was never written to."""

from __future__ import annotations

from random import Random  # noqa: TID251 (seeded: a failing run can be repeated)
from typing import TYPE_CHECKING, Any

import pytest

from provider.kube.client import KubeError
from provider.model.capacity import BackendHealth
from provider.model.errors import CloudCode, CloudError
from tests.support.node_world import ENGINE, LEASE, PATH, PROVIDER_ID, NodeWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.kube_fake import Call

pytestmark = pytest.mark.looptime

Json = dict[str, Any]
OURS = {"key": "virtual-kubelet.io/provider", "value": "zonelet", "effect": "NoSchedule"}
THEIRS = "aws:///eu-west-1a/i-0abc"
STEPS = 40


class Storm:
    """Events of one seed. `trespasses`: writes to another's Node that was known, and changes that one has got."""

    def __init__(self, world: NodeWorld, seed: int) -> None:
        self.world = world
        self.random = Random(seed)
        self.trespasses: list[str] = []
        world.api.hook = self._look

    def _look(self, call: Call) -> None:
        held, known = self.world.api.held(PATH), self.world.agent.node
        if held is None or known is None or call.verb not in ("patch", "delete") or not call.path.startswith(PATH):
            return
        if held["spec"].get("providerID") == THEIRS and known["metadata"]["uid"] == held["metadata"]["uid"]:
            self.trespasses.append(f"{call.verb} {call.path}")

    def _compare(self) -> None:
        held = self.world.api.held(PATH)
        if held is not None and held["spec"].get("providerID") == THEIRS:
            held["metadata"].pop("annotations", None)  # the storm's own
            if held["metadata"]["labels"] != {"owner": "them"} or held["spec"].keys() != {"providerID"}:
                self.trespasses.append(f"changed: {held}")
            if "status" in held:
                self.trespasses.append(f"reported: {held['status']}")

    async def blow(self) -> None:
        for _ in range(STEPS):
            self._compare()
            self.random.choice(self._events())()
            if self.random.random() < 0.1:
                await self.world.kill()
                await self.world.start()
            await self.world.clock.sleep(self.random.choice((0, 0, 0.01, 0.5, 3, 11, 45)))

    def _events(self) -> list[Callable[[], None]]:
        return [
            self.remove,
            self.replace,
            self.usurp,
            self.edit,
            self.refuse,
            self.lose,
            self.health,
            self.cloud,
            self.size,
        ]

    def remove(self) -> None:
        if self.world.api.held(PATH) is not None:
            self.world.api.remove(PATH)

    def replace(self) -> None:
        self.remove()
        self.world.api.put(PATH, {"spec": {"providerID": PROVIDER_ID}})

    def usurp(self) -> None:
        self.remove()
        self.world.api.put(PATH, {"metadata": {"labels": {"owner": "them"}}, "spec": {"providerID": THEIRS}})

    def edit(self) -> None:
        if self.world.api.held(PATH) is not None:
            number = str(self.random.random())
            self.world.edit(lambda node: node["metadata"].setdefault("annotations", {}).update(note=number))

    def refuse(self) -> None:
        verb = self.random.choice(("get", "create", "patch", "list", "watch"))
        error = self.random.choice(
            [
                KubeError(0, "ServerDisconnectedError", ""),
                KubeError(409, "Conflict", ""),
                KubeError(410, "Expired", ""),
                KubeError(429, "TooManyRequests", "", 2),
                KubeError(500, "InternalError", ""),
            ]
        )
        self.world.api.fail(verb, "/nodes", error, self.random.randint(1, 4))

    def lose(self) -> None:
        verb = self.random.choice(("create", "patch"))
        self.world.api.lose(verb, self.random.choice(("/nodes", "/leases", "/events")), self.random.randint(1, 3))

    def health(self) -> None:
        healthy = self.random.random() < 0.5
        self.world.cloud.state = BackendHealth(healthy=healthy, reason="" if healthy else "EngineDown", engine=ENGINE)

    def cloud(self) -> None:
        away = CloudError(CloudCode.UNAVAILABLE, "connection lost", 1)
        self.world.cloud.error = self.random.choice([None, away])
        self.world.cloud.silent = self.random.random() < 0.1

    def size(self) -> None:
        self.world.cloud.cpu = self.random.randint(1, 64) * 1_000
        self.world.agent.zone_changed()

    async def calm(self) -> None:
        """Nothing fails any more, and another's Node is taken away."""
        self._compare()
        self.world.api.calm()
        self.world.cloud.error, self.world.cloud.silent = None, False
        self.world.cloud.state = BackendHealth(healthy=True, engine=ENGINE)
        held = self.world.api.held(PATH)
        if held is not None and held["spec"].get("providerID") == THEIRS:
            self.remove()
        await self.world.settle(120)


@pytest.mark.parametrize("seed", range(60))
async def test_the_node_is_whole_after_every_storm(seed: int) -> None:
    world = NodeWorld()
    storm = Storm(world, seed)
    await world.start()
    await storm.blow()
    await storm.calm()
    node = world.node()
    assert storm.trespasses == []
    assert node["spec"]["providerID"] == PROVIDER_ID
    assert node["spec"]["taints"] == [OURS]
    assert node["metadata"]["labels"]["kubernetes.io/role"] == "agent"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "zone-a"
    assert (world.ready()["status"], world.ready()["reason"]) == ("True", "KubeletReady")
    assert node["status"]["allocatable"]["cpu"] == str(world.cloud.cpu // 1000)
    lease = world.api.held(LEASE)
    assert lease is not None
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]
    assert (world.agent.owned.is_set(), world.agent.taken.is_set()) == (True, False)
    assert world.seen[-1]["metadata"]["uid"] == node["metadata"]["uid"]
    assert (world.node_api.refused, world.provider_api.refused) == ([], [])
    writes = len(world.api.writes())
    await world.settle(100)
    rest = [call.body for call in world.api.writes()[writes:] if call.path != LEASE]
    assert len(rest) <= 1  # nothing is written while nothing happens, but the lease and a heartbeat now and then
    assert all(body is not None and body["status"].keys() == {"conditions"} for body in rest)
    await world.kill()
