"""What one zone has sold, and to whom. Pure; CPU in milli-cores, memory in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.model.capacity import Zone
    from provider.model.ids import PodUid


class Size(Struct, frozen=True):
    """An instance's emulated size: milli-cores, bytes."""

    cpu: int
    memory: int


class StockLedger:
    """Reservations of one zone. Sold never exceeds the pool, except by `adopt`: what already runs is not denied."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._sold: dict[PodUid, Size] = {}
        self._cpu = 0
        self._memory = 0

    @property
    def cpu_used(self) -> int:
        """Milli-cores sold."""
        return self._cpu

    @property
    def memory_used(self) -> int:
        """Bytes sold."""
        return self._memory

    @property
    def instances(self) -> int:
        """Count of reservations."""
        return len(self._sold)

    def reservations(self) -> Mapping[PodUid, Size]:
        """Return a copy of all reservations."""
        return dict(self._sold)

    def can_ever_sell(self, size: Size) -> bool:
        """Tell whether the size fits the empty zone: if not, waiting for stock is pointless."""
        return size.cpu <= self.zone.cpu and size.memory <= self.zone.memory and self.zone.instances != 0

    def reserve(self, uid: PodUid, size: Size) -> None:
        """Sell the size to the UID; the same again is no second sale.

        NO_STOCK when the pool or the cap of instances is used up (`retry_after` None if it never fits),
        INVALID_PARAMETER for a negative size, INCORRECT_STATUS if the UID has bought another size.
        """
        if size.cpu < 0 or size.memory < 0:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"size must not be negative: {size}")
        held = self._sold.get(uid)
        if held is not None:
            if held != size:
                raise CloudError(CloudCode.INCORRECT_STATUS, f"{uid} already has {held}, not {size}")
            return
        lacking = self.lacking(size)
        if lacking:
            retry = 5.0 if self.can_ever_sell(size) else None
            raise CloudError(CloudCode.NO_STOCK, f"zone {self.zone.id} has not enough {', '.join(lacking)}", retry)
        self._book(uid, size)

    def adopt(self, uid: PodUid, size: Size) -> None:
        """Book what already runs (recovery), even where the pool was made smaller meanwhile. Idempotent."""
        self.release(uid)
        self._book(uid, size)

    def release(self, uid: PodUid) -> None:
        """Take the reservation back; no error for a UID without one."""
        size = self._sold.pop(uid, None)
        if size is not None:
            self._cpu -= size.cpu
            self._memory -= size.memory

    def lacking(self, size: Size) -> list[str]:
        """Return which resources are too short for the size now; empty: it fits."""
        lacking = []
        if self._cpu + size.cpu > self.zone.cpu:
            lacking.append("cpu")
        if self._memory + size.memory > self.zone.memory:
            lacking.append("memory")
        if self.zone.instances is not None and len(self._sold) >= self.zone.instances:
            lacking.append("instances")
        return lacking

    def _book(self, uid: PodUid, size: Size) -> None:
        self._sold[uid] = size
        self._cpu += size.cpu
        self._memory += size.memory
