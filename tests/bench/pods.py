"""A burst of pods through a real API server and scheduler, watched as a client sees it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from tests.bench.measure import Burst

if TYPE_CHECKING:
    from provider.kube.client import KubeApi

NAMESPACE = "default"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
_WATCH_SECONDS = 600
_CREATES_IN_FLIGHT = 16


def pod(name: str, **annotations: str) -> dict[str, Any]:
    """Return a pod of one container that runs until it is removed."""
    container = {
        "name": "main",
        "image": "busybox:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"bench": "zonelet"}, "annotations": annotations},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


async def burst(api: KubeApi, names: list[str]) -> Burst:
    """Create the pods as fast as the API server takes them, wait until each is Running, then remove them."""
    listed = await api.list(PODS)
    created: dict[str, float] = {}
    running: dict[str, float] = {}
    gate = asyncio.Semaphore(_CREATES_IN_FLIGHT)
    begun = time.monotonic()  # noqa: TID251 - a stopwatch

    async def create(name: str) -> None:
        async with gate:
            created[name] = time.monotonic()  # noqa: TID251 - a stopwatch
            await api.create(PODS, pod(name))

    async def until(kind: str, version: str, found: dict[str, float]) -> str:
        query = {"labelSelector": "bench=zonelet", "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        async for line in api.watch(PODS, query, _WATCH_SECONDS):
            item = line["object"]
            version = item["metadata"]["resourceVersion"]
            matches = line["type"] == "DELETED" if kind == "gone" else item.get("status", {}).get("phase") == "Running"
            if matches:
                found.setdefault(item["metadata"]["name"], time.monotonic())  # noqa: TID251 - a stopwatch
            if len(found) == len(names):
                return version
        raise TimeoutError(f"{len(found)} of {len(names)} pods are {kind} after {_WATCH_SECONDS} s")

    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(until("Running", listed["metadata"]["resourceVersion"], running))
        for name in names:
            group.create_task(create(name))
    window = max(running.values()) - begun
    begun_removal = time.monotonic()  # noqa: TID251 - a stopwatch
    gone: dict[str, float] = {}

    async def remove(name: str) -> None:
        async with gate:
            await api.delete(f"{PODS}/{name}")

    async with asyncio.TaskGroup() as group:
        group.create_task(until("gone", watcher.result(), gone))
        for name in names:
            group.create_task(remove(name))
    removal = max(gone.values()) - begun_removal
    return Burst([running[name] - created[name] for name in names], window, removal)
