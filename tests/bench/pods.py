"""A burst of pods through a real API server and scheduler, watched as a client sees it."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.bench.measure import Burst, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from provider.kube.client import KubeApi

Json = dict[str, Any]

PODS = "/api/v1/namespaces/default/pods"
_WATCH_SECONDS = 600
_CREATES_IN_FLIGHT = 16
_SELECTOR = "bench=zonelet"


def pod(name: str, node_selector: Mapping[str, str]) -> Json:
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
        "metadata": {"name": name, "labels": {"bench": "zonelet"}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": dict(node_selector),
            "tolerations": [{"operator": "Exists"}] if node_selector else [],
            "containers": [container],
        },
    }


@asynccontextmanager
async def running(api: KubeApi, name: str) -> AsyncIterator[str]:
    """Keep one pod running while the block runs; yields its UID."""
    version = (await api.list(PODS))["metadata"]["resourceVersion"]
    made = await api.create(PODS, pod(name, {}))
    await _all(api, [name], version, _runs)
    try:
        yield made["metadata"]["uid"]
    finally:
        version = (await api.list(PODS))["metadata"]["resourceVersion"]
        await api.delete(f"{PODS}/{name}")
        await _all(api, [name], version, _gone)


async def burst(api: KubeApi, names: Sequence[str], pid: int, node_selector: Mapping[str, str] | None = None) -> Burst:
    """Create the pods as fast as the API server takes them, wait until each is Running, then remove them.

    `pid` is the provider's, whose CPU and memory are noted when the last pod is Running.
    """
    version = (await api.list(PODS))["metadata"]["resourceVersion"]
    created: dict[str, float] = {}
    gate = asyncio.Semaphore(_CREATES_IN_FLIGHT)

    async def create(name: str) -> None:
        async with gate:
            created[name] = time.monotonic()
            await api.create(PODS, pod(name, node_selector or {}))

    async def remove(name: str) -> None:
        async with gate:
            await api.delete(f"{PODS}/{name}")

    before, begun = usage(pid), time.monotonic()
    async with asyncio.TaskGroup() as group:
        starts = group.create_task(_all(api, names, version, _runs))
        for name in names:
            group.create_task(create(name))
    peak = usage(pid)
    version, ran = starts.result()
    begun_removal = time.monotonic()
    async with asyncio.TaskGroup() as group:
        ends = group.create_task(_all(api, names, version, _gone))
        for name in names:
            group.create_task(remove(name))
    _, gone = ends.result()
    return Burst(
        latencies=[ran[name] - created[name] for name in names],
        window=max(ran.values()) - begun,
        removal=max(gone.values()) - begun_removal,
        cpu=peak.cpu - before.cpu,
        rss=peak.rss,
    )


def _runs(line: Json) -> bool:
    return bool(line["object"].get("status", {}).get("phase") == "Running")


def _gone(line: Json) -> bool:
    return bool(line["type"] == "DELETED")


async def _all(
    api: KubeApi, names: Sequence[str], version: str, fits: Callable[[Json], bool]
) -> tuple[str, dict[str, float]]:
    """Watch from `version` until a line that fits was seen of each name; return where it ended, and the times."""
    found: dict[str, float] = {}
    wanted = set(names)
    deadline = time.monotonic() + _WATCH_SECONDS
    while time.monotonic() < deadline:  # the server may end a watch at any time, of a slow reader above all
        query = {"labelSelector": _SELECTOR, "resourceVersion": version, "timeoutSeconds": str(_WATCH_SECONDS)}
        async with aclosing(api.watch(PODS, query, _WATCH_SECONDS)) as lines:
            async for line in lines:
                if line["type"] == "ERROR":
                    raise RuntimeError(f"the watch failed: {line['object']}")
                metadata = line["object"]["metadata"]
                version = metadata["resourceVersion"]
                if metadata["name"] in wanted and fits(line):
                    found.setdefault(metadata["name"], time.monotonic())
                if len(found) == len(names):
                    return version, found
    raise TimeoutError(f"only {len(found)} of {len(names)} pods came as far as they should")
