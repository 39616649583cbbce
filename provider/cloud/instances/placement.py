"""Who gets stock and an address, and who waits for it: the ledger and the pools of every zone, and a queue. Pure.

A vSwitch that is used up falls over to the next of the request's list (without a list: of the zone, in order). What
cannot be placed now waits, by priority and then by arrival, and is granted when something is released or stock comes;
nobody polls. Of several sizes the first that fits is sold. Whoever does not fit lets those pass that do
(docs/adr/0006): no stock stays unsold while somebody waits that it would do for.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from provider.cloud.addresses.pool import AddressPool
from provider.cloud.capacity.ledger import Size, StockLedger
from provider.cloud.capacity.stock import together
from provider.model.capacity import ZoneStatus
from provider.model.errors import CloudCode, CloudError
from provider.model.ids import PodUid, VSwitchId, ZoneId

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provider.model.capacity import Zone
    from provider.model.stock import StockChange


_Kind: TypeAlias = tuple[tuple[VSwitchId, ...], tuple[Size, ...], int]


class Grant(Struct, frozen=True):
    """An instance that may begin: its stock and its address are booked."""

    uid: PodUid
    vswitch: VSwitchId
    address: str
    size: Size
    """that was sold, of those that were asked for."""


class _Held(Struct, frozen=True):
    zone: ZoneId
    vswitch: VSwitchId
    address: str


class _Wish(Struct, frozen=True):
    uid: PodUid
    zone: ZoneId
    sizes: tuple[Size, ...]
    vswitches: tuple[VSwitchId, ...]
    priority: int
    order: int

    @property
    def kind(self) -> _Kind:
        """What those have in common of whom none can be placed when the first cannot."""
        return self.vswitches, self.sizes, self.priority


class _ZoneBooks:
    """One zone: what is sold, its pools, and a queue for each kind of wish."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.ledger = StockLedger(zone)
        self.pools = {vswitch.id: AddressPool(vswitch) for vswitch in zone.vswitches}
        self.queues: dict[_Kind, deque[_Wish]] = {}

    def candidates(self, vswitches: tuple[VSwitchId, ...]) -> list[AddressPool]:
        """Return the pools in the order to try; one that the config no longer has is left out."""
        return [self.pools[name] for name in vswitches or tuple(self.pools) if name in self.pools]


class Placement:
    """All zones of one installation."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = {zone.id: _ZoneBooks(zone) for zone in zones}
        self._waiting: dict[PodUid, _Wish] = {}
        self._placed: dict[PodUid, _Held] = {}
        self._order = 0

    def check(self, zone: ZoneId, sizes: Sequence[Size], vswitches: Sequence[VSwitchId]) -> None:
        """Refuse what can never be placed: ZONE_NOT_ON_SALE, INVALID_PARAMETER, NO_STOCK without retry."""
        books = self._zones.get(zone)
        if books is None:
            known = ", ".join(self._zones) or "none"
            raise CloudError(CloudCode.ZONE_NOT_ON_SALE, f"zone {zone} is not on sale; there are: {known}")
        foreign = [name for name in vswitches if name not in books.pools]
        if foreign:
            text = f"vSwitch {', '.join(foreign)} does not belong to zone {zone}, which has {', '.join(books.pools)}"
            raise CloudError(CloudCode.INVALID_PARAMETER, text)
        for size in sizes:
            if min(size.cpu, size.memory, size.storage) < 0:
                raise CloudError(CloudCode.INVALID_PARAMETER, f"size must not be negative: {size}")
        if not any(books.ledger.can_ever_sell(size) for size in sizes):
            size = sizes[0]
            text = (
                f"zone {zone} can never sell {size.cpu}m CPU and {size.memory} bytes of memory"
                f"{f' and {size.storage} of ephemeral storage' if size.storage else ''}: "
                f"it has {books.zone.cpu}m and {books.zone.memory} in all"
            )
            raise CloudError(CloudCode.NO_STOCK, text)

    def ask(
        self, uid: PodUid, zone: ZoneId, sizes: tuple[Size, ...], vswitches: tuple[VSwitchId, ...], priority: int = 0
    ) -> Grant | None:
        """Return what the UID has already; else join the zone's queue, which `next_grant` serves. Again: the same.

        `sizes`: any of them will do, the first that fits is sold.
        It has something already when the row that told of its grant was not written, or when a sandbox was found.
        """
        held = self._placed.get(uid)
        if held is not None:
            ledger = self._zones[held.zone].ledger
            sold = ledger.sold_to(uid)
            size = sold if sold in sizes else sizes[0]
            ledger.adopt(uid, size)
            return Grant(uid, held.vswitch, held.address, size)
        if uid in self._waiting:
            return None
        self._order += 1
        wish = _Wish(uid, zone, sizes, vswitches, priority, self._order)
        self._waiting[uid] = wish
        books = self._zones.get(zone)
        if books is not None:
            books.queues.setdefault(wish.kind, deque()).append(wish)
        return None

    def next_grant(self, zone: ZoneId) -> Grant | None:
        """Place the first of the queue that can be; None when nobody can be placed now."""
        books = self._zones[zone]
        for wish in self._heads(books):
            size = next((one for one in wish.sizes if books.ledger.fits(one)), None)
            if size is None:
                continue
            for pool in books.candidates(wish.vswitches):
                if pool.used < pool.usable:
                    books.ledger.reserve(wish.uid, size)
                    books.queues[wish.kind].popleft()
                    del self._waiting[wish.uid]
                    held = _Held(zone, pool.vswitch.id, pool.lease(wish.uid))
                    self._placed[wish.uid] = held
                    return Grant(wish.uid, held.vswitch, held.address, size)
        return None

    def _heads(self, books: _ZoneBooks) -> Iterator[_Wish]:
        """Yield the first of each queue by priority, then age; those who left are dropped on the way."""
        heads: list[tuple[int, int, _Wish]] = []
        for kind, queue in list(books.queues.items()):
            while queue and self._waiting.get(queue[0].uid) is not queue[0]:
                queue.popleft()
            if queue:
                heads.append((-queue[0].priority, queue[0].order, queue[0]))
            else:
                del books.queues[kind]
        heapq.heapify(heads)
        while heads:
            yield heapq.heappop(heads)[2]

    def waiting(self, zone: ZoneId) -> list[PodUid]:
        """Return who waits in a zone, the oldest first."""
        return [uid for uid, wish in self._waiting.items() if wish.zone == zone]

    def is_waiting(self, uid: PodUid) -> bool:
        """Tell whether an instance waits for its place."""
        return uid in self._waiting

    def is_waited_for(self, zone: ZoneId) -> bool:
        """Tell whether anybody waits in a zone."""
        books = self._zones.get(zone)  # a zone that the config no longer has may still be waited for
        return books is not None and any(True for _ in self._heads(books))

    def refusal(self, uid: PodUid) -> CloudError:
        """Return why a waiting instance is not placed yet."""
        wish = self._waiting[uid]
        books = self._zones.get(wish.zone)
        if books is None:
            return CloudError(CloudCode.ZONE_NOT_ON_SALE, f"zone {wish.zone} is no longer on sale")
        if not any(books.ledger.fits(size) for size in wish.sizes):
            return CloudError(CloudCode.NO_STOCK, books.ledger.shortage(wish.sizes[0]))
        pools = books.candidates(wish.vswitches)
        if all(pool.used >= pool.usable for pool in pools):
            names = ", ".join(f"{pool.vswitch.id} ({pool.vswitch.cidr})" for pool in pools) or "none"
            text = f"no free address in zone {wish.zone}; vSwitches tried: {names}"
            return CloudError(CloudCode.IP_NOT_ENOUGH, text)
        return CloudError(CloudCode.NO_STOCK, f"zone {wish.zone} serves instances that came earlier first")

    def adopt(self, uid: PodUid, zone: ZoneId, size: Size, vswitch: VSwitchId, address: str) -> str:
        """Book what an instance already has (recovery); return what of it could not be booked, and why."""
        books = self._zones.get(zone)
        if books is None:
            return f"zone {zone} is no longer configured"
        books.ledger.adopt(uid, size)
        self._placed[uid] = _Held(zone, vswitch, address)
        return self._adopt_address(books, uid, vswitch, address)

    def hold(self, uid: PodUid, zone: ZoneId, vswitch: VSwitchId, address: str) -> str:
        """Keep the address of a sandbox without a row for its UID; return why not, if not."""
        books = self._zones.get(zone)
        if books is None:
            return f"zone {zone} is not configured"
        if uid in self._waiting:
            return "the instance waits for a place already"
        problem = self._adopt_address(books, uid, vswitch, address)
        if not problem:
            self._placed[uid] = _Held(zone, vswitch, address)
        return problem

    def suits(self, uid: PodUid, zone: ZoneId, vswitches: Sequence[VSwitchId]) -> bool:
        """Tell whether what the UID has is what it would ask for."""
        held = self._placed.get(uid)
        return held is not None and held.zone == zone and (not vswitches or held.vswitch in vswitches)

    def _adopt_address(self, books: _ZoneBooks, uid: PodUid, vswitch: VSwitchId, address: str) -> str:
        pool = books.pools.get(vswitch)
        if pool is None:
            return f"vSwitch {vswitch} is no longer configured in zone {books.zone.id}"
        try:
            pool.adopt(address, uid)
        except CloudError as error:
            return error.message
        return ""

    def release(self, uid: PodUid) -> ZoneId | None:
        """Take back stock and address, or the place in the queue; return the zone that has room now, if one has."""
        if self._waiting.pop(uid, None) is not None:
            return None
        held = self._placed.pop(uid, None)
        if held is None:
            return None
        books = self._zones[held.zone]
        books.ledger.release(uid)
        pool = books.pools.get(held.vswitch)
        if pool is not None:
            pool.release(uid)
        return held.zone

    def status(self, zone: ZoneId, node_address: str | None) -> ZoneStatus:
        """Return what is sold of a zone."""
        books = self._zones[zone]
        return ZoneStatus(
            zone=books.zone,
            cpu_used=books.ledger.cpu_used,
            memory_used=books.ledger.memory_used,
            instances=books.ledger.instances,
            waiting=len(self.waiting(zone)),
            vswitches=tuple(pool.status() for pool in books.pools.values()),
            node_address=node_address,
            stock=(books.ledger.status(together(one.sizes[0] for one in self._waiting.values() if one.zone == zone)),),
        )

    def change_stock(self, zone: ZoneId, override: StockChange | None) -> None:
        """Let an operator's word hold for the zone's pool, None: the configuration's. What is sold stays sold."""
        self._zones[zone].ledger.change(override)
