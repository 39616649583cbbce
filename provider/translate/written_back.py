"""The annotations by which a cloud tells, on the pod itself, what it has made of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.size import GIB, InstanceSize
from provider.translate.instance_size import size_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from provider.model.instance import Instance
    from provider.model.pod import Pod
    from provider.model.profile import Profile


def written_back(pod: Pod, instance: Instance, profile: Profile) -> dict[str, str]:
    """Return the annotations of a pod whose instance has its place; empty before that.

    A key that is the user's as well (eci-vswitch) is left as he wrote it. Raises Rejection for a pod that the profile
    would refuse.
    """
    keys = [key for key in profile.keys if key.writes]
    if not keys or instance.placed_at is None:
        return {}
    given = pod.metadata.annotations or {}
    if any(key.writes == "instanceId" and given.get(key.key) == instance.id for key in keys):
        return {}  # all were written at once
    size = _bought(pod, instance, profile)
    texts = {
        "instanceId": str(instance.id),
        "zone": str(instance.zone),
        "vSwitch": str(instance.vswitch or ""),
    }
    for what, written in _SIZES.items():
        texts[what] = written(size)
    wanted = {key.key: texts[key.writes] for key in keys if key.written or key.key not in given}
    return {key: text for key, text in wanted.items() if text}


def _bought(pod: Pod, instance: Instance, profile: Profile) -> InstanceSize:
    """Return the size that the instance has, with the type by which it was asked for."""
    has = InstanceSize(instance.cpu, instance.memory)
    sizes = size_plan(pod, profile).sizes
    return next((one for one in sizes if (one.cpu, one.memory) == (has.cpu, has.memory)), has)


def _pod_spec(size: InstanceSize) -> str:
    return f"{size.cpu / 1000:g}-{size.memory / GIB:g}Gi"


def _provisioned(size: InstanceSize) -> str:
    return f"{size.cpu / 1000:g}vCPU {size.memory / GIB:g}GB"


_SIZES: dict[str, Callable[[InstanceSize], str]] = {
    "spec": lambda size: size.name,
    "podSpec": _pod_spec,
    "provisioned": _provisioned,
}
