"""Which pods that wait for stock are given to another zone, and which fail at once. Pure.

A pod cannot move: it is deleted while it is Pending, and its owner makes it anew, for the scheduler to bind where there
is stock. Only owners that do so at no cost: stock Argo re-creates a pod whose workflow node is Pending under the same
name, without counting an attempt; ReplicaSets and StatefulSets do. A Job counts the deletion as a failure, and a bare
pod would be gone: both wait. See docs/adr/0007.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from provider.model.errors import CloudCode
from provider.model.ids import PodUid, ZoneId
from provider.model.instance import InstancePhase
from provider.model.stock import Amounts
from provider.translate.wishes import wishes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provider.model.capacity import ZoneStatus
    from provider.model.instance import Instance
    from provider.model.pod import Pod
    from provider.model.profile import Profile

SHORTAGES = frozenset({CloudCode.NO_STOCK.value, CloudCode.IP_NOT_ENOUGH.value})
FAIL_FAST = "fail-fast"
_RECREATING = frozenset({("argoproj.io", "Workflow"), ("apps", "ReplicaSet"), ("apps", "StatefulSet")})


class Waiter(Struct, frozen=True, kw_only=True):
    """A pod that waits for stock. `others`: the zones that its spec allows besides its own."""

    uid: PodUid
    zone: ZoneId
    size: Amounts
    others: tuple[ZoneId, ...]
    priority: int = 0
    since: float = 0.0
    """when its instance was accepted."""


class Move(Struct, frozen=True):
    """A pod to be deleted, and the zone that has room for it."""

    waiter: Waiter
    to: ZoneId


def waits_for_stock(instance: Instance | None) -> bool:
    """Tell whether an instance waits in its zone's queue for stock or an address."""
    return (
        instance is not None
        and instance.phase is InstancePhase.SCHEDULING
        and instance.reason in SHORTAGES
        and instance.deletion_requested_at is None
    )


def is_recreated(raw: Mapping[str, Any]) -> bool:
    """Tell whether the pod's owner makes it anew, at no cost, when it is deleted while Pending."""
    owner = next((one for one in raw["metadata"].get("ownerReferences") or () if one.get("controller")), None)
    if owner is None:
        return False
    return (str(owner.get("apiVersion", "")).partition("/")[0], owner.get("kind")) in _RECREATING


def fails_fast(pod: Pod, profile: Profile) -> bool:
    """Tell whether the pod asks to fail rather than to wait, and has a restart policy with which a failure is final.

    A pod that is restarted would be made anew at once, for ever: it waits as by default.
    """
    return pod.spec.restart_policy == "Never" and wishes(pod.metadata, profile).values.get("failStrategy") == FAIL_FAST


def moves(waiters: Sequence[Waiter], zones: Sequence[ZoneStatus], claimed: Mapping[ZoneId, Amounts]) -> list[Move]:
    """Return who is to go where: by priority, then age, and never more than a zone can still sell.

    `claimed` is what earlier moves were given and may not have come yet. Who fits into its own zone stays.
    """
    left = {status.zone.id: _room(status, claimed.get(status.zone.id, Amounts())) for status in zones}
    own = {status.zone.id: _room(status, Amounts(), queue=False) for status in zones}
    found: list[Move] = []
    for waiter in sorted(waiters, key=lambda one: (-one.priority, one.since)):
        if waiter.zone not in own or _fits(waiter.size, own[waiter.zone]):
            continue
        to = next((zone for zone in waiter.others if zone in left and _fits(waiter.size, left[zone])), None)
        if to is not None:
            left[to] = added(left[to], waiter.size, -1)
            found.append(Move(waiter, to))
    return found


def added(one: Amounts, other: Amounts, sign: int = 1) -> Amounts:
    """Return the sum, or the difference."""
    return Amounts(
        one.cpu + sign * other.cpu,
        one.memory + sign * other.memory,
        one.ephemeral_storage + sign * other.ephemeral_storage,
        one.instances + sign * other.instances,
    )


_PLENTY = 1 << 62


def _room(status: ZoneStatus, claimed: Amounts, *, queue: bool = True) -> Amounts:
    if not status.stock:
        return Amounts()
    pool = status.stock[0]
    taken = added(claimed, pool.queued) if queue else claimed
    addresses = sum(each.usable - each.used for each in status.vswitches)
    sold = pool.sellable
    storage, cap = sold.ephemeral_storage, sold.instances
    there = Amounts(
        sold.cpu,
        sold.memory,
        _PLENTY if storage is None else storage,
        addresses if cap is None else min(cap, addresses),
    )
    # A pool of nothing, or a closed one, has no room for who asks for nothing either.
    return added(there, taken, -1) if sold.cpu and sold.memory else Amounts(instances=-1)


def _fits(size: Amounts, room: Amounts) -> bool:
    return (
        size.cpu <= room.cpu
        and size.memory <= room.memory
        and size.ephemeral_storage <= room.ephemeral_storage
        and room.instances >= 1
    )
