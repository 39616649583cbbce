"""Who is evicted for the local disk it takes, and what is said: the kubelet's order and words."""

from __future__ import annotations

from typing import Any

import pytest

from provider.cloud.instances.eviction import excess, is_limited
from provider.model.ids import PodUid, ZoneId
from provider.model.request import ContainerKind, ContainerSpec, InstanceRequest
from provider.model.usage import DiskUse
from provider.model.volume import EmptyDirVolume

MIB = 2**20
VOLUME = EmptyDirVolume("v", size_limit=10 * MIB)
MEMORY = EmptyDirVolume("m", memory=True, size_limit=MIB)


def request(*containers: ContainerSpec, **fields: Any) -> InstanceRequest:
    return InstanceRequest(
        uid=PodUid("u"), zone=ZoneId("z"), name="p", namespace="n", containers=containers or (app(),), **fields
    )


def app(limit: int | None = None, name: str = "c", kind: ContainerKind = ContainerKind.APP) -> ContainerSpec:
    return ContainerSpec(name=name, image="i", kind=kind, storage_limit=limit)


def use(*, v: int = 0, c: int = 0, total: int = 0) -> DiskUse:
    return DiskUse(PodUid("u"), (("v", v),), (("c", c),), total)


@pytest.mark.parametrize(
    ("one", "limited"),
    [
        (request(), False),
        (request(volumes=(EmptyDirVolume("v"), MEMORY)), False),
        (request(app(MIB, kind=ContainerKind.INIT)), False),
        (request(volumes=(VOLUME,)), True),
        (request(app(MIB)), True),
        (request(app(MIB, kind=ContainerKind.SIDECAR)), True),
        (request(storage_limit=MIB), True),
    ],
)
def test_only_what_has_a_limit_is_looked_after(one: InstanceRequest, *, limited: bool) -> None:
    assert is_limited(one) is limited


def test_a_limit_is_reached_before_it_is_exceeded() -> None:
    one = request(app(MIB), volumes=(VOLUME,), storage_limit=20 * MIB)
    assert excess(one, use(v=10 * MIB, c=MIB, total=20 * MIB)) == ""


def test_the_words() -> None:
    one = request(app(MIB), volumes=(VOLUME,), storage_limit=20 * MIB)
    assert excess(one, use(v=10 * MIB + 1, c=2 * MIB, total=30 * MIB)) == (
        'Usage of EmptyDir volume "v" exceeds the limit "10Mi". '
    )
    assert excess(one, use(c=2 * MIB, total=20 * MIB + 1)) == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. "
    )
    assert excess(one, use(c=MIB + 1)) == 'Container c exceeded its local ephemeral storage limit "1Mi". '
