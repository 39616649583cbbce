"""What one zone has sold, and to whom. Pure; CPU in milli-cores, memory and storage in bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.capacity.stock import LEAST, Size, changed, lacking, limits, sellable, word
from provider.model.capacity import configured_stock
from provider.model.errors import CloudCode, CloudError
from provider.model.stock import Amounts, StockStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provider.model.capacity import Zone
    from provider.model.ids import PodUid
    from provider.model.stock import StockChange

__all__ = ["Size", "StockLedger"]


class StockLedger:
    """Reservations of one zone's pool, which an operator may change at any time.

    A sale never takes more than the pool has. `adopt` and a pool made smaller leave more sold than there is: what
    already runs is not denied, and nothing is sold until enough of it has ended.
    """

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.configured = configured_stock(zone)
        self.stock = self.configured
        self.override: StockChange | None = None
        self._limit = limits(self.stock)
        self._spot_limit = limits(self.stock, interruptible=True)
        self._sold: dict[PodUid, Size] = {}
        self._cpu = 0
        self._memory = 0
        self._storage = 0

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

    @property
    def sold(self) -> Amounts:
        """All reservations together."""
        return Amounts(self._cpu, self._memory, self._storage, len(self._sold))

    def reservations(self) -> Mapping[PodUid, Size]:
        """Return a copy of all reservations."""
        return dict(self._sold)

    def sold_to(self, uid: PodUid) -> Size | None:
        """Return what a UID has bought."""
        return self._sold.get(uid)

    def change(self, override: StockChange | None) -> None:
        """Let an operator's word hold from now on; None: what the configuration says."""
        self.override = override
        self.stock = self.configured if override is None else changed(self.configured, override)
        self._limit = limits(self.stock)
        self._spot_limit = limits(self.stock, interruptible=True)

    def can_ever_sell(self, size: Size) -> bool:
        """Tell whether the size fits the empty pool: if not, waiting for stock is pointless.

        What an operator took away may come back, and what one added holds until it is reset: the larger of both counts.
        """
        both = (self.configured, self.stock)
        return (
            size.cpu <= max(one.cpu for one in both)
            and size.memory <= max(one.memory for one in both)
            and any(not one.ephemeral_storage or size.storage <= one.ephemeral_storage for one in both)
            and any(one.instances != 0 for one in both)
        )

    def reserve(self, uid: PodUid, size: Size, *, interruptible: bool = False) -> None:
        """Sell the size to the UID; the same again is no second sale. `interruptible`: spot or best-effort.

        NO_STOCK when the pool or the cap of instances is used up (`retry_after` None if it never fits),
        INVALID_PARAMETER for a negative size, INCORRECT_STATUS if the UID has bought another size.
        """
        if min(size.cpu, size.memory, size.storage) < 0:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"size must not be negative: {size}")
        held = self._sold.get(uid)
        if held is not None:
            if held != size:
                raise CloudError(CloudCode.INCORRECT_STATUS, f"{uid} already has {held}, not {size}")
            return
        if not self.fits(size, interruptible=interruptible):
            retry = 5.0 if self.can_ever_sell(size) else None
            raise CloudError(CloudCode.NO_STOCK, self.shortage(size, interruptible=interruptible), retry)
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
            self._storage -= size.storage

    def fits(self, size: Size, *, interruptible: bool = False) -> bool:
        """Tell whether the size can be sold now."""
        limit = self._spot_limit if interruptible else self._limit
        return (
            self._cpu + size.cpu <= limit.cpu
            and self._memory + size.memory <= limit.memory
            and self._storage + size.storage <= limit.storage
            and len(self._sold) < limit.instances
        )

    def shortage(self, size: Size, *, interruptible: bool = False) -> str:
        """Return why the size cannot be sold now, empty if it can. Without counts: it is shown as long as it holds."""
        if self.stock.closed:
            return f"zone {self.zone.id} is closed, it sells nothing until it is opened"
        short = lacking(self._spot_limit if interruptible else self._limit, self.sold, size)
        return f"zone {self.zone.id} has not enough {', '.join(short)}" if short else ""

    def status(self, queued: Amounts) -> StockStatus:
        """Return what holds and where it went; `queued` is what those who wait ask for."""
        sold = self.sold
        return StockStatus(
            configured=self.configured,
            holds=self.stock,
            overridden=self.override is not None,
            sold=sold,
            queued=queued,
            sellable=sellable(self._limit, sold),
            spot_sellable=sellable(self._spot_limit, sold),
            word=word(self.stock, sold, LEAST),
            spot_word=word(self.stock, sold, LEAST, interruptible=True),
        )

    def _book(self, uid: PodUid, size: Size) -> None:
        self._sold[uid] = size
        self._cpu += size.cpu
        self._memory += size.memory
        self._storage += size.storage
