"""The demand of one node's pods, kept up with the watch: each pod is counted once for each state of it. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.model.demand import Demand
from provider.model.errors import Rejection
from provider.model.stock import Amounts
from provider.pods.record import readable
from provider.translate.instance_size import size_plan
from provider.translate.scheduler_count import counted, counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provider.model.profile import Profile

Json = dict[str, Any]


class _Counted(Struct, frozen=True):
    counted: Amounts
    bought: Amounts
    """what the cloud is asked for."""


class DemandBook:
    """What the pods of a node take. `changed` tells whether a pod's state changes what the scheduler counts."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._pods: dict[str, _Counted] = {}
        self._total = Amounts()

    def changed(self, uid: str, raw: Mapping[str, Any] | None) -> bool:
        """Take a pod's newest state, None for one that is gone."""
        before = self._pods.pop(uid, None)
        after = None
        if raw is not None and counts(raw):
            size = counted(raw)
            # A pod's size does not change while it lives: it is worked out once.
            after = _Counted(size, self._bought(raw) if before is None else before.bought)
            self._pods[uid] = after
        was, now = Amounts() if before is None else before.counted, Amounts() if after is None else after.counted
        if was == now:
            return False
        self._total = _add(_add(self._total, was, -1), now, 1)
        return True

    def demand(self, unasked: Iterable[str]) -> Demand:
        """Return the demand; `unasked` are the UIDs of pods that the cloud does not know yet, and will."""
        coming = Amounts()
        for uid in unasked:
            if (pod := self._pods.get(uid)) is not None:
                coming = _add(coming, pod.bought, 1)
        return Demand(self._total, coming)

    def _bought(self, raw: Mapping[str, Any]) -> Amounts:
        try:
            plan = size_plan(readable(dict(raw)), self._profile)
        except Rejection:
            return Amounts()  # it is refused for just that, and buys nothing
        size = plan.sizes[0]
        return Amounts(size.cpu, size.memory, plan.disk, 1)


def _add(one: Amounts, other: Amounts, sign: int) -> Amounts:
    return Amounts(
        one.cpu + sign * other.cpu,
        one.memory + sign * other.memory,
        one.ephemeral_storage + sign * other.ephemeral_storage,
        one.instances + sign * other.instances,
    )
