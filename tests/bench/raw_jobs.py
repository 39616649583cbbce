"""The other peer: raw calls of the Engine API that run the same jobs, with containers, mounts and network of zonelet's.

A pod of the shape that zonelet runs, held open by its last container, is the template: its containers' bodies are taken
from the engine, its directory below `instances` is copied for each raw pod. Only the calls are inside the window, from
the first to the last container's end; sandboxes are removed later, as zonelet's are by themselves.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiodocker.exceptions import DockerError

from provider.cluster.manifests import wait_for
from tests.bench.jobs import PODS, Shape, Side, Taken, body, machine_seconds
from tests.bench.raw_docker import Template
from tests.support.names import own_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from aiodocker import Docker

    from provider.cluster.installation import Installation
    from provider.kube.client import KubeApi

Json = dict[str, Any]

_NAME = own_name("bench-job")
_HOLD = "sleep 3600"
_SECONDS = 60.0


class JobTemplate:
    """What the raw pods of one shape are made from: its stages, each a tuple of containers that start together."""

    def __init__(self, shape: Shape, uid: str, instances: Path, found: Mapping[str, Json]) -> None:
        self._uid = uid
        self._instances = instances
        self._template = {name: Template(found[""], one) for name, one in found.items() if name}
        init = [one["name"] for one in shape.spec.get("initContainers") or ()]
        self.stages = [*([name] for name in init), [one["name"] for one in shape.spec["containers"]]]
        self._commands = {
            one["name"]: one["command"]
            for one in (*(shape.spec.get("initContainers") or ()), *shape.spec["containers"])
        }
        self.address = next(iter(self._template.values())).address

    def prepare(self, index: int) -> None:
        """Make the directories of a raw pod, empty of what the template's containers wrote."""
        shutil.copytree(self._instances / self._uid, self._instances / self._own(index), symlinks=True)

    def clean(self, index: int) -> None:
        """Remove them."""
        shutil.rmtree(self._instances / self._own(index), ignore_errors=True)

    def sandbox(self, index: int, address: str) -> Json:
        """Return the body of a raw pod's sandbox."""
        return self._owned(next(iter(self._template.values())).sandbox(address), index)

    def container(self, index: int, name: str, sandbox: str) -> Json:
        """Return the body of a raw pod's container, with the shape's own command."""
        made = self._owned(self._template[name].container(sandbox), index)
        return {**made, "Entrypoint": self._commands[name], "Cmd": []}

    def _own(self, index: int) -> str:
        return f"{_NAME}-{index}"

    def _owned(self, made: Json, index: int) -> Json:
        """Return the body with a raw pod's own directory; the cgroup above stays the template's."""
        parent = made["HostConfig"]["CgroupParent"]
        owned: Json = json.loads(json.dumps(made).replace(self._uid, self._own(index)))
        owned["HostConfig"]["CgroupParent"] = parent
        return owned


async def take_template(
    client: Docker, api: KubeApi, installation: Installation, side: Side, shape: Shape
) -> tuple[JobTemplate, str]:
    """Run one pod of the shape that does not end; return what it is made of, and its name."""
    name = f"template-{shape.name.partition(' ')[0].lower()}"
    held = replace(shape, spec={**shape.spec, "containers": [_held(one) for one in shape.spec["containers"]]})
    made = await api.create(PODS, body(name, held, side))

    def runs(pod: Json) -> bool:
        states = [each["state"] for each in pod["status"].get("containerStatuses") or ()]
        return bool(states) and all("running" in each for each in states)

    await wait_for(api, f"{PODS}/{name}", runs, clock=installation.clock, seconds=_SECONDS)
    uid = made["metadata"]["uid"]
    listed = await client.containers.list(all=True, filters={"label": [f"dev.zonelet.uid={uid}"]})
    shown = [await each.show() for each in listed]
    found = {each["Config"]["Labels"].get("dev.zonelet.container", ""): each for each in shown}
    return JobTemplate(shape, uid, installation.state / "instances", found), name


async def burst(client: Docker, template: JobTemplate, addresses: Sequence[str], in_flight: int) -> Taken:
    """Run one job for each address, at most `in_flight` being started at a time, until all have ended; remove them."""
    starting, leaving = asyncio.Semaphore(in_flight), asyncio.Lock()
    taken = Taken()
    for index in range(len(addresses)):
        template.prepare(index)
    begun, machine = time.monotonic(), machine_seconds()

    async def run(index: int, address: str) -> None:
        sandbox = f"{_NAME}-{index}-sandbox"
        async with starting:
            first = await client.containers.create(template.sandbox(index, address), name=sandbox)
            await first.start()
        for stage in template.stages:
            async with starting:
                started = [await _start(client, template, index, name, sandbox) for name in stage]
            if stage is template.stages[-1]:
                taken.running.append(time.monotonic() - begun)
            for container in started:
                await container.wait()
        taken.ended.append(time.monotonic() - begun)

    async def remove(index: int) -> None:
        async with starting:
            for name in (each for stage in template.stages for each in stage):
                with suppress(DockerError):  # it may not have come so far
                    await client.containers.container(f"{_NAME}-{index}-{name}").delete(force=True, v=True)
            async with leaving:  # engines before 23.0 lock up otherwise: see provider's network_turns
                with suppress(DockerError):
                    await client.containers.container(f"{_NAME}-{index}-sandbox").delete(force=True, v=True)
        template.clean(index)

    try:
        async with asyncio.TaskGroup() as group:
            for index, address in enumerate(addresses):
                group.create_task(run(index, address))
        taken.window, taken.machine = time.monotonic() - begun, machine_seconds() - machine
    finally:
        begun_removal = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for index in range(len(addresses)):
                group.create_task(remove(index))
        taken.removal = time.monotonic() - begun_removal
    return taken


async def _start(client: Docker, template: JobTemplate, index: int, name: str, sandbox: str) -> Any:
    container = await client.containers.create(template.container(index, name, sandbox), name=f"{_NAME}-{index}-{name}")
    await container.start()
    return container


def _held(container: Json) -> Json:
    return {**container, "command": ["sh", "-c", _HOLD]}
