"""Pods that end by themselves, alone and in bursts, watched as a client sees them; for any kind of node."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.bench.measure import usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from provider.kube.client import KubeApi

Json = dict[str, Any]

PODS = "/api/v1/namespaces/default/pods"
_LABEL = "peers"
_CREATES_IN_FLIGHT = 16
_SECONDS = 300.0
_ENDED = ("Succeeded", "Failed")
_TICKS = 100.0
"""of /proc/stat a second (USER_HZ, the same on every architecture)"""


@dataclass(frozen=True)
class Side:
    """One kind of node: how pods come to it, and the processes whose CPU is noted."""

    name: str
    placement: Mapping[str, Any]
    pids: Sequence[int]


@dataclass(frozen=True)
class Shape:
    """A kind of pod; `ends`: whether it does so by itself."""

    name: str
    spec: Mapping[str, Any]
    ends: bool = True


@dataclass
class Taken:
    """Figures of a burst, in seconds: each pod's creation to Running and to its end, the window, CPU of the processes.

    `machine`: CPU seconds of everything on the machine in the window; `removal`: from the first deletion to the last
    pod's going.
    """

    running: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    window: float = 0.0
    removal: float = 0.0
    cpu: float = 0.0
    machine: float = 0.0

    @property
    def rate(self) -> float:
        """Pods a second over the window."""
        return len(self.running) / self.window

    @property
    def p50(self) -> float:
        """Median to Running."""
        return median(self.running)

    @property
    def cpu_per_pod(self) -> float:
        """Milliseconds of the processes for each pod."""
        return 1000 * self.cpu / len(self.running)

    @property
    def machine_per_pod(self) -> float:
        """Milliseconds of the whole machine for each pod."""
        return 1000 * self.machine / len(self.running)


def _container(name: str, script: str, *mounts: str) -> Json:
    return {
        "name": name,
        "image": "busybox:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": each, "mountPath": f"/{each}"} for each in mounts],
    }


JOB = Shape("one-container jobs", {"containers": [_container("main", "echo done")]})
ARGO = Shape(
    "Argo-shaped pods (init, main, wait)",
    {
        "initContainers": [_container("init", "echo staged > /shared/staged", "shared")],
        "containers": [
            _container("wait", "until test -e /shared/done; do sleep 0.1; done", "shared"),
            _container("main", "cat /shared/staged; touch /shared/done", "shared"),
        ],
        "volumes": [{"name": "shared", "emptyDir": {}}],
    },
)
RUNNING = Shape("running pods", {"containers": [_container("main", "exec sleep 3600")]}, ends=False)


def body(name: str, shape: Shape, side: Side) -> Json:
    """Return the pod."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"bench": _LABEL}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **shape.spec, **side.placement},
    }


async def burst(api: KubeApi, side: Side, shape: Shape, names: Sequence[str]) -> Taken:
    """Create the pods as fast as they are taken, wait until each has ended (or runs, if it does not end), remove all."""
    created: dict[str, float] = {}
    ran: dict[str, float] = {}
    over: dict[str, float] = {}
    gate = asyncio.Semaphore(_CREATES_IN_FLIGHT)

    async def create(name: str) -> None:
        async with gate:
            created[name] = time.monotonic()
            await api.create(PODS, body(name, shape, side))

    def seen(line: Json) -> bool:
        name, phase = line["object"]["metadata"]["name"], line["object"].get("status", {}).get("phase")
        if phase == "Failed":
            raise RuntimeError(f"{name} failed: {line['object']['status']}")
        if phase in {"Running", *_ENDED}:
            ran.setdefault(name, time.monotonic())
        if phase in _ENDED:
            over.setdefault(name, time.monotonic())
        return len(over if shape.ends else ran) == len(names)

    version = (await api.list(PODS))["metadata"]["resourceVersion"]
    cpu, machine, begun = _cpu(side), machine_seconds(), time.monotonic()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(api, version, seen))
        for name in names:
            group.create_task(create(name))
    taken = Taken(
        running=[ran[name] - created[name] for name in names],
        ended=[over[name] - created[name] for name in names if name in over],
        window=time.monotonic() - begun,
        cpu=_cpu(side) - cpu,
        machine=machine_seconds() - machine,
    )
    taken.removal = await remove(api, names, watching.result())
    return taken


async def remove(api: KubeApi, names: Sequence[str], version: str) -> float:
    """Delete the pods; return how long it took until the API server had none of them."""
    gone: set[str] = set()
    gate = asyncio.Semaphore(_CREATES_IN_FLIGHT)

    async def remove_one(name: str) -> None:
        async with gate:
            await api.delete(f"{PODS}/{name}")

    def seen(line: Json) -> bool:
        if line["type"] == "DELETED":
            gone.add(line["object"]["metadata"]["name"])
        return gone >= set(names)

    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        group.create_task(_watch(api, version, seen))
        for name in names:
            group.create_task(remove_one(name))
    return time.monotonic() - begun


async def _watch(api: KubeApi, version: str, seen: Callable[[Json], bool]) -> str:
    """Tell `seen` every line until it says that it is enough; return where that was."""
    async with asyncio.timeout(_SECONDS):
        async for line in _lines(api, version):
            if seen(line):
                return str(line["object"]["metadata"]["resourceVersion"])
    raise RuntimeError("a watch without an end has ended")


async def _lines(api: KubeApi, version: str) -> AsyncIterator[Json]:
    while True:  # the server may end a watch at any time
        query = {"labelSelector": f"bench={_LABEL}", "resourceVersion": version}
        async with aclosing(api.watch(PODS, query, _SECONDS)) as lines:
            async for line in lines:
                if line["type"] == "ERROR":
                    raise RuntimeError(f"the watch failed: {line['object']}")
                version = line["object"]["metadata"]["resourceVersion"]
                yield line


def _cpu(side: Side) -> float:
    return sum(usage(pid).cpu for pid in side.pids)


def machine_seconds() -> float:
    """Return the seconds that all processors together were not idle (proc(5), /proc/stat)."""
    fields = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS
