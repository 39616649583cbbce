"""Runs every case on a stock and on a virtual node, and takes their statuses."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provider.clock import SystemClock
from provider.cluster.manifests import wait_for
from provider.kube.client import KubeError
from tests.compatibility.compare import Difference, differences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.kube.client import KubeApi
    from tests.compatibility.cases import Case

Json = dict[str, Any]

CLOCK = SystemClock()
IN_FLIGHT = 6
"""Cases at a time on each node: more would wait for the processors, not for what they are about."""
_MOMENT_SECONDS = 75.0
_SETTLED_SECONDS = 2.5
_GONE_SECONDS = 40.0
_NOT_FOUND = 404


@dataclass(frozen=True)
class Result:
    """A case with what both nodes told; `late` are the nodes that did not come to the moment in time."""

    case: Case
    stock: Json
    virtual: Json
    late: tuple[str, ...]

    @property
    def differences(self) -> list[Difference]:
        """Where they differ."""
        return differences(self.stock, self.virtual)


async def run_cases(api: KubeApi, cases: Sequence[Case], stock: str, virtual: str, toleration: Json) -> list[Result]:
    """Run all cases on both nodes, named so, at the same time; each node has a namespace of its own."""
    async with asyncio.TaskGroup() as group:
        sides = [
            group.create_task(_side(api, cases, node, namespace, toleration))
            for node, namespace in ((stock, "on-stock"), (virtual, "on-virtual"))
        ]
    left, right = (side.result() for side in sides)
    return [
        Result(
            case,
            left[case.name][0],
            right[case.name][0],
            tuple(node for node, side in ((stock, left), (virtual, right)) if not side[case.name][1]),
        )
        for case in cases
    ]


async def _side(
    api: KubeApi, cases: Sequence[Case], node: str, namespace: str, toleration: Json
) -> dict[str, tuple[Json, bool]]:
    await _make_namespace(api, namespace)
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(case: Case) -> tuple[Json, bool]:
        async with gate:
            return await _take(api, case, node, namespace, toleration)

    async with asyncio.TaskGroup() as group:
        tasks = {case.name: group.create_task(one(case)) for case in cases}
    return {name: task.result() for name, task in tasks.items()}


async def _make_namespace(api: KubeApi, name: str) -> None:
    await api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await wait_for(api, f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True, clock=CLOCK, seconds=30.0)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "present"}, "stringData": {"key": "value"}}
    await api.create(f"/api/v1/namespaces/{name}/secrets", secret)


async def _take(api: KubeApi, case: Case, node: str, namespace: str, toleration: Json) -> tuple[Json, bool]:
    """Return the pod at the case's moment, and whether that came in time; the pod is deleted then."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    place = {"nodeName": node} if case.bound else {"nodeSelector": {"kubernetes.io/hostname": node}}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": case.name, "annotations": dict(case.annotations)},
        "spec": {**place, "tolerations": [toleration], **case.spec},
    }
    await api.create(pods, body)
    path = f"{pods}/{case.name}"
    in_time = True
    try:
        await wait_for(api, path, case.until, clock=CLOCK, seconds=_MOMENT_SECONDS)
    except TimeoutError:
        in_time = False
    if case.deletes:
        return await last_of(api, pods, case.name), in_time
    taken = await (_settled(api, path) if case.settles else api.get(path))
    await api.delete(path, grace_seconds=0)
    return taken, in_time


async def _settled(api: KubeApi, path: str) -> Json:
    """Return the pod when its status has not changed for a while: an end is told in more than one step."""
    seen, since = await api.get(path), CLOCK.now()
    while CLOCK.now() - since < _SETTLED_SECONDS:
        await CLOCK.sleep(0.4)
        now = await api.get(path)
        if now["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            seen, since = now, CLOCK.now()
    return seen


async def last_of(api: KubeApi, pods: str, name: str) -> Json:
    """Delete the pod; return what the API server had of it when it went."""
    query = {"fieldSelector": f"metadata.name={name}"}
    listed = await api.list(pods, query)
    (seen,) = listed["items"]
    query |= {"resourceVersion": listed["metadata"]["resourceVersion"]}
    async with asyncio.timeout(_GONE_SECONDS):
        await api.delete(f"{pods}/{name}")
        async with aclosing(api.watch(pods, query, _GONE_SECONDS)) as lines:
            async for line in lines:
                if line["type"] == "ERROR":
                    raise KubeError(int(line["object"].get("code", 0)), "WatchFailed", str(line["object"]))
                seen = line["object"]
                if line["type"] == "DELETED":
                    break
    return seen
