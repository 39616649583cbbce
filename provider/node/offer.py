"""What a node offers the scheduler where the cloud has stock: allocatable = what is counted + what can still be sold.

kube-scheduler fits a pod into allocatable minus the requests of the bound pods that have not ended; so what it can bind
is just what the zone can still sell, whatever the pods' requests are and whatever size the cloud makes of them. Pods of
Argo ask for nearly nothing: `pods` is what holds them back, and only a rise of `pods` wakes them (upstream
pkg/scheduler/framework/plugins/noderesources/fit.go, isSchedulableAfterNodeChange).

Net of the zone's own queue and of pods that are bound and not asked for yet: those have a claim already. When no zone
can sell an instance the gate opens: pods bind and wait in a queue, where their status says why. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.model.quantity import cpu_text
from provider.model.stock import Amounts, Sellable, StockStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.model.capacity import ZoneStatus
    from provider.model.demand import Demand
    from provider.model.size import InstanceSize

NOTHING = Amounts()
_MANY = 1_000_000
"""slots of a zone that caps nothing: more than any node has pods."""


def offer(
    demand: Demand, status: ZoneStatus, zones: Sequence[ZoneStatus], default: InstanceSize
) -> dict[str, str] | None:
    """Return node.status.allocatable; None where the cloud does not tell its stock.

    `default` is the size of a pod that asks for nothing: `pods` has room for as many of them as can be sold.
    """
    if not status.stock:
        return None
    counted, pool = demand.counted, status.stock[0]
    if all(slots(each, NOTHING, default) == 0 for each in zones):
        free = _of_open_gate(status)
    else:
        free = _free(pool.sellable, pool.queued, demand.coming, slots(status, demand.coming, default))
    return {
        "cpu": cpu_text(counted.cpu + free.cpu),
        "memory": _ki(counted.memory + free.memory),
        "ephemeral-storage": _ki(counted.ephemeral_storage + free.ephemeral_storage),
        "pods": str(counted.instances + free.instances),
    }


def slots(status: ZoneStatus, coming: Amounts, default: InstanceSize) -> int:
    """Return how many default instances a zone can sell beside those who wait: stock, the cap, and free addresses."""
    pool = status.stock[0] if status.stock else None
    if pool is None:
        return 0
    left, queued = pool.sellable, pool.queued
    taken = queued.instances + coming.instances
    room = [sum(each.usable - each.used for each in status.vswitches) - taken]
    if left.instances is not None:
        room.append(left.instances - taken)
    for there, waiting, bound, each in (
        (left.cpu, queued.cpu, coming.cpu, default.cpu),
        (left.memory, queued.memory, coming.memory, default.memory),
    ):
        rest = there - waiting - bound
        # Without a size of its own an instance of nothing still needs a pool that is not sold out.
        room.append(rest // each if each else _MANY if rest > 0 else 0)
    return max(0, min(room))


def _free(left: Sellable, queued: Amounts, coming: Amounts, pods: int) -> Amounts:
    storage = left.ephemeral_storage or 0
    return Amounts(
        max(0, left.cpu - queued.cpu - coming.cpu),
        max(0, left.memory - queued.memory - coming.memory),
        max(0, storage - queued.ephemeral_storage - coming.ephemeral_storage),
        pods,
    )


def _of_open_gate(status: ZoneStatus) -> Amounts:
    """Return room for whoever comes: as much as the zone has in all."""
    pool: StockStatus = status.stock[0]
    whole = pool.configured
    return Amounts(whole.cpu, whole.memory, whole.ephemeral_storage, sum(each.usable for each in status.vswitches))


def _ki(amount: int) -> str:
    return f"{amount // 1024}Ki"
