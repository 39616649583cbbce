"""The size that a pod asks for: upstream's PodRequests (k8s.io/component-helpers/resource, KEP-753 for sidecars)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.errors import Rejection
from provider.model.quantity import QuantityError, milli, whole

if TYPE_CHECKING:
    from provider.model.pod import Container, PodSpec, Resources

SUPPORTED = ("cpu", "memory", "ephemeral-storage")

Sizes = dict[str, int]
"""By resource name: `cpu` in milli-cores, the others in bytes."""


def sizes(quantities: dict[str, str | int | float] | None, path: str) -> Sizes:
    """Return quantities as integers. Raises Rejection for a resource that is not sold (GPUs, huge pages)."""
    found: Sizes = {}
    for name, quantity in (quantities or {}).items():
        try:
            amount = milli(quantity) if name == "cpu" else whole(quantity)
        except QuantityError as error:
            raise Rejection("UnsupportedPodSpec", f"{path}.{name}: {error}", field=f"{path}.{name}") from error
        if name not in SUPPORTED and amount:
            message = f"{path}.{name}: resource {name} is not supported by this node"
            raise Rejection("UnsupportedPodSpec", message, field=f"{path}.{name}")
        found[name] = amount
    return found


def requests_and_limits(resources: Resources | None, path: str) -> tuple[Sizes, Sizes]:
    """Return a container's requests and limits; a limit without a request is the request too (API defaulting)."""
    if resources is None:
        return {}, {}
    limits = sizes(resources.limits, f"{path}.resources.limits")
    return limits | sizes(resources.requests, f"{path}.resources.requests"), limits


def pod_requests(spec: PodSpec) -> Sizes:
    """Return max(apps + sidecars, each init container + the sidecars started before it) + overhead, per resource."""
    return _sum(_aggregated(spec, limits=False), sizes(spec.overhead, "spec.overhead"))


def pod_limits(spec: PodSpec) -> Sizes:
    """Return the same of limits; the overhead counts only where there is a limit (upstream's PodLimits)."""
    limits = _aggregated(spec, limits=True)
    overhead = sizes(spec.overhead, "spec.overhead")
    return {name: amount + (overhead.get(name, 0) if amount else 0) for name, amount in limits.items()}


def _aggregated(spec: PodSpec, *, limits: bool) -> Sizes:
    total: Sizes = {}
    for index, container in enumerate(spec.containers):
        total = _sum(total, _either(container.resources, f"spec.containers[{index}]", limits=limits))
    sidecars: Sizes = {}
    peak: Sizes = {}
    for index, container in enumerate(spec.init_containers or ()):
        asked = requests_and_limits(container.resources, f"spec.initContainers[{index}]")[limits]
        if is_sidecar(container):
            sidecars = _sum(sidecars, asked)
            asked = sidecars
        else:
            asked = _sum(sidecars, asked)
        peak = _max(peak, asked)
    return _max(_sum(total, sidecars), peak)


def _either(resources: Resources | None, path: str, *, limits: bool) -> Sizes:
    requested, limited = requests_and_limits(resources, path)
    return limited if limits else requested


def is_sidecar(container: Container) -> bool:
    """Return whether an init container is a native sidecar (KEP-753)."""
    return container.restart_policy == "Always"


def qos_class(spec: PodSpec) -> str:
    """Return Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos); only cpu and memory count."""
    asked_any = False
    guaranteed = True
    for path, containers in (("containers", spec.containers), ("initContainers", spec.init_containers or ())):
        for index, container in enumerate(containers):
            requests, limits = requests_and_limits(container.resources, f"spec.{path}[{index}]")
            for name in ("cpu", "memory"):
                asked, limit = requests.get(name, 0), limits.get(name, 0)
                asked_any = asked_any or bool(asked or limit)
                guaranteed = guaranteed and limit > 0 and asked == limit
    if not asked_any:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _sum(one: Sizes, other: Sizes) -> Sizes:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


def _max(one: Sizes, other: Sizes) -> Sizes:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}
