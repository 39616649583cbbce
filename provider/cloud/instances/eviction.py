"""Whether an instance takes more local disk than it may (kubelet: eviction_manager.go localStorageEviction). Pure.

In the kubelet's order and words: each emptyDir against its sizeLimit, the whole against the sum of the containers'
limits, each app container and sidecar against its own. A memory-backed emptyDir is bounded by its tmpfs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.quantity import bytes_text
from provider.model.request import ContainerKind
from provider.model.volume import EmptyDirVolume

if TYPE_CHECKING:
    from provider.model.request import InstanceRequest
    from provider.model.usage import DiskUse

EVICTED = "Evicted"
GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL of an evicted instance (immediateEvictionGracePeriodSeconds)."""


def is_limited(request: InstanceRequest) -> bool:
    """Return whether anything of the instance has a limit that has to be looked after."""
    return bool(request.storage_limit or _volume_limits(request) or _container_limits(request))


def excess(request: InstanceRequest, use: DiskUse) -> str:
    """Return what is too much, "" if nothing is."""
    used = dict(use.volumes)
    for name, limit in _volume_limits(request):
        if used.get(name, 0) > limit:
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{bytes_text(limit)}". '
    if request.storage_limit and use.total > request.storage_limit:
        limited = bytes_text(request.storage_limit)
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {limited}. "
    written = dict(use.containers)
    for name, limit in _container_limits(request):
        if written.get(name, 0) > limit:
            return f'Container {name} exceeded its local ephemeral storage limit "{bytes_text(limit)}". '
    return ""


def _volume_limits(request: InstanceRequest) -> list[tuple[str, int]]:
    disks = [one for one in request.volumes if isinstance(one, EmptyDirVolume) and not one.memory]
    return [(one.name, one.size_limit) for one in disks if one.size_limit]


def _container_limits(request: InstanceRequest) -> list[tuple[str, int]]:
    lasting = [one for one in request.containers if one.kind is not ContainerKind.INIT]
    return [(one.name, one.storage_limit) for one in lasting if one.storage_limit]
