"""What the tests of this folder ask of a world, again and again."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from provider.cloud.backend import LogOptions
from provider.model.request import ContainerSpec
from tests.support.cloud_worlds import container_status

if TYPE_CHECKING:
    from provider.model.ids import PodUid
    from provider.model.instance import ContainerStatus, Instance
    from tests.support.cloud_worlds import BackendWorld


def busybox(script: str, name: str = "main", **fields: object) -> ContainerSpec:
    return ContainerSpec(name=name, image="busybox", command=("/bin/sh", "-c", script), **fields)  # type: ignore[arg-type]


def main(instance: Instance) -> ContainerStatus:
    return container_status(instance, "main")


def told(world: BackendWorld, uid: PodUid) -> list[tuple[str, str]]:
    return [(one.reason, one.message) for one in world.notices(uid)]


async def output(world: BackendWorld, uid: PodUid, container: str = "main") -> bytes:
    async with aclosing(world.backend.logs(uid, container, LogOptions())) as pieces:
        return b"".join([piece async for piece in pieces])
