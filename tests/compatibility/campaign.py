"""Runs mutated pods on nodes, a few at a time, and takes each node's verdict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from provider.clock import SystemClock
from provider.cluster.manifests import wait_for
from provider.kube.client import KubeError
from tests.compatibility.cases import running
from tests.compatibility.mutation import Mutation, changed
from tests.compatibility.run import last_of
from tests.compatibility.verdicts import API, LATE, Verdict, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.kube.client import KubeApi

__all__ = ["taken"]

Json = dict[str, Any]

CLOCK = SystemClock()
IN_FLIGHT = 8
"""Pods at a time on each node."""
_RACES = ("cache: timed out waiting for the condition", 'failed to fetch token: pod "')
"""A kubelet that has just heard of a pod may not have its ConfigMaps and Secrets yet, and the API server that is asked for
a token may not have heard of the pod; both try again at once."""
_LONGEST_SECONDS = 45.0
_SETTLED_SECONDS = 2.0
_LOOK_SECONDS = 0.4
_SERVER_ERROR = 500
_CONFLICT = 409
_RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"


async def taken(
    api: KubeApi, mutations: Sequence[Mutation], node: str, namespace: str, tolerations: Sequence[Json]
) -> dict[str, Verdict]:
    """Run all mutations on a node in a namespace of its own, which is made and removed; return verdicts by name."""
    await _prepare(api, namespace)
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(mutation: Mutation) -> Verdict:
        async with gate:
            return await _verdict_of(api, mutation, node, namespace, tolerations)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = {each.name: group.create_task(one(each)) for each in mutations}
    finally:
        await api.delete(f"/api/v1/namespaces/{namespace}")
    return {name: task.result() for name, task in tasks.items()}


async def _prepare(api: KubeApi, name: str) -> None:
    def made(kind: str, **content: Any) -> Json:
        return {"apiVersion": "v1", "kind": kind, **content}

    own = f"/api/v1/namespaces/{name}"
    await api.create("/api/v1/namespaces", made("Namespace", metadata={"name": name}))
    await wait_for(api, f"{own}/serviceaccounts/default", lambda _: True, clock=CLOCK, seconds=30.0)
    present = {"metadata": {"name": "present"}}
    await api.create(f"{own}/secrets", made("Secret", **present, stringData={"key": "value"}))
    content = {"data": {"key": "value", "1-odd.key": "odd"}, "binaryData": {"binary": "/wA="}}
    await api.create(f"{own}/configmaps", made("ConfigMap", **present, **content))
    odd = made("RuntimeClass", metadata={"name": "odd"}, handler="nothing")
    try:
        await api.create(_RUNTIME_CLASSES, {**odd, "apiVersion": "node.k8s.io/v1"})
    except KubeError as error:
        if error.code != _CONFLICT:  # the other node's campaign has made it
            raise


async def _verdict_of(
    api: KubeApi, mutation: Mutation, node: str, namespace: str, tolerations: Sequence[Json]
) -> Verdict:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    body = changed(mutation)
    body["metadata"].setdefault("name", mutation.name)
    body["spec"].setdefault("tolerations", list(tolerations))
    body["spec"].setdefault("nodeName", node)
    path = f"{pods}/{body['metadata']['name']}"
    try:
        await api.create(pods, body)
    except KubeError as error:
        if error.code >= _SERVER_ERROR:
            raise
        return {API: error.reason}
    in_time = True
    if mutation.deletes:
        await wait_for(api, path, running, clock=CLOCK, seconds=_LONGEST_SECONDS)
        pod = await last_of(api, pods, body["metadata"]["name"])
        events = await _events(api, pod)
    else:
        pod, events, in_time = await _settled(api, path, mutation)
        await api.delete(path, grace_seconds=0)
    return verdict(pod, events) | ({} if in_time else {LATE: "true"})


async def _settled(api: KubeApi, path: str, mutation: Mutation) -> tuple[Json, list[Json], bool]:
    """Return the pod and its events when its moment has come and nothing has changed for a while; and if it came."""
    begun = since = CLOCK.now()
    version, said = "", 0
    while True:
        pod = await api.get(path)
        events = await _events(api, pod)
        warned = any(event["type"] == "Warning" for event in events)
        now, counted = CLOCK.now(), len(events)
        if (pod["metadata"]["resourceVersion"], counted) != (version, said):
            version, said, since = pod["metadata"]["resourceVersion"], counted, now
        quiet = mutation.restless or now - since >= _SETTLED_SECONDS
        if (quiet and mutation.has_come(pod, now - begun, warned=warned)) or now - begun > _LONGEST_SECONDS:
            return pod, events, now - begun <= _LONGEST_SECONDS
        await CLOCK.sleep(_LOOK_SECONDS)


async def _events(api: KubeApi, pod: Json) -> list[Json]:
    meta = pod["metadata"]
    selector = {"fieldSelector": f"involvedObject.uid={meta['uid']}"}
    found = (await api.list(f"/api/v1/namespaces/{meta['namespace']}/events", selector))["items"]
    return [each for each in found if not any(race in each["message"] for race in _RACES)]
