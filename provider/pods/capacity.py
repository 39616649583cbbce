"""The kubelet's own admission: does the pod fit beside those that the node has taken already? No I/O.

Upstream: pkg/kubelet/lifecycle/predicate.go, the scheduler's fitsRequest; the first resource that is short is named.
"""

from __future__ import annotations

from msgspec import Struct


class Sizes(Struct, frozen=True):
    """CPU in milli-cores, memory and storage in bytes; `pods` counts pods."""

    cpu: int = 0
    memory: int = 0
    ephemeral_storage: int = 0
    pods: int = 1


class Shortage(Struct, frozen=True):
    """Why a pod does not fit: reason and message of the kubelet's rejection."""

    reason: str
    message: str


class Occupancy:
    """Sizes of the pods that a node has taken and that have not ended, by UID."""

    def __init__(self) -> None:
        self._taken: dict[str, Sizes] = {}
        self._used = Sizes(pods=0)

    def take(self, uid: str, asked: Sizes, allocatable: Sizes | None) -> Shortage | None:
        """Count the pod in, once; a Shortage says that it does not fit. Without `allocatable` every pod fits."""
        if uid in self._taken:
            return None
        if allocatable is not None:
            shortage = self._shortage(asked, allocatable)
            if shortage is not None:
                return shortage
        self._taken[uid] = asked
        self._used = _sum(self._used, asked, 1)
        return None

    def release(self, uid: str) -> None:
        """Count the pod out; one that was never counted in is fine."""
        taken = self._taken.pop(uid, None)
        if taken is not None:
            self._used = _sum(self._used, taken, -1)

    @property
    def used(self) -> Sizes:
        """The sum of all that is taken."""
        return self._used

    def _shortage(self, asked: Sizes, allocatable: Sizes) -> Shortage | None:
        used = self._used
        for name, wanted, taken, capacity in (
            ("pods", asked.pods, used.pods, allocatable.pods),
            ("cpu", asked.cpu, used.cpu, allocatable.cpu),
            ("memory", asked.memory, used.memory, allocatable.memory),
            ("ephemeral-storage", asked.ephemeral_storage, used.ephemeral_storage, allocatable.ephemeral_storage),
        ):
            # A pod that asks for nothing of a resource fits even where it is overcommitted.
            if wanted > 0 and wanted > capacity - taken:
                message = (
                    f"Node didn't have enough resource: {name}, "
                    f"requested: {wanted}, used: {taken}, capacity: {capacity}"
                )
                return Shortage(f"OutOf{name}", message)
        return None


def _sum(one: Sizes, other: Sizes, sign: int) -> Sizes:
    return Sizes(
        one.cpu + sign * other.cpu,
        one.memory + sign * other.memory,
        one.ephemeral_storage + sign * other.ephemeral_storage,
        one.pods + sign * other.pods,
    )
