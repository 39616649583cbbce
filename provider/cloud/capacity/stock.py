"""Arithmetic of one pool: what an operator's word makes of it, what is left to sell, and the published word. Pure.

The words are derived, never stored: whether one more instance of the smallest size can be sold, and whether the pool
is closed. A pool of nothing (0 milli-cores, or 0 bytes) sells nothing, not even an instance that asks for nothing: an
operator who empties a zone means all pods.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from provider.model.errors import CloudCode, CloudError
from provider.model.stock import Amounts, Sellable, Stock, StockChange, StockWord

if TYPE_CHECKING:
    from collections.abc import Iterable

_FIELDS = ("cpu", "memory", "ephemeral_storage", "instances", "spot_reserve", "closed")


class Size(Struct, frozen=True):
    """An instance's emulated size: milli-cores, bytes, bytes."""

    cpu: int
    memory: int
    storage: int = 0


LEAST = Size(1, 1)
"""The smallest that anybody can ask for, but for nothing at all."""

ENDLESS = (1 << 63) - 1
NEVER = -1


class Limits(Struct, frozen=True):
    """How much of a pool may be sold in all; NEVER: not even to one that asks for nothing. ENDLESS: not counted."""

    cpu: int
    memory: int
    storage: int
    instances: int


CLOSED = Limits(NEVER, NEVER, NEVER, NEVER)


def check_change(change: StockChange) -> None:
    """Refuse what no pool can be: INVALID_PARAMETER."""
    for field in ("cpu", "memory", "ephemeral_storage", "instances"):
        value = getattr(change, field)
        if value is not None and value < 0:
            raise CloudError(CloudCode.INVALID_PARAMETER, f"stock: {field} must not be negative: {value}")
    if change.spot_reserve is not None and not 0 <= change.spot_reserve <= 1:
        text = f"stock: spot_reserve is a share of the pool, 0 to 1, not {change.spot_reserve}"
        raise CloudError(CloudCode.INVALID_PARAMETER, text)
    if all(getattr(change, field) is None for field in _FIELDS):
        raise CloudError(CloudCode.INVALID_PARAMETER, "stock: nothing to change was given")


def merged(earlier: StockChange, change: StockChange) -> StockChange:
    """Return the earlier word with what the new one says; both are of the same pool."""
    return replace(earlier, **_said(change))


def changed(configured: Stock, change: StockChange) -> Stock:
    """Return the pool that holds: what the operator says, else the configuration's value."""
    return replace(configured, **_said(change))


def _said(change: StockChange) -> dict[str, object]:
    said = {field: getattr(change, field) for field in _FIELDS}
    return {field: value for field, value in said.items() if value is not None}


def limits(stock: Stock, *, interruptible: bool = False) -> Limits:
    """Return how much may be sold in all; `interruptible` instances (spot, best-effort) leave the reserve free."""
    if stock.closed:
        return CLOSED
    reserve = stock.spot_reserve if interruptible else 0.0

    def most(pool: int) -> int:
        return pool - ceil(pool * reserve) or NEVER

    return Limits(
        cpu=most(stock.cpu),
        memory=most(stock.memory),
        storage=most(stock.ephemeral_storage) if stock.ephemeral_storage else ENDLESS,
        instances=ENDLESS if stock.instances is None else stock.instances,
    )


def lacking(limit: Limits, sold: Amounts, size: Size) -> list[str]:
    """Return which resources are too short for one more instance of the size; empty: it can be sold."""
    return [
        name
        for name, needed, most in (
            ("cpu", sold.cpu + size.cpu, limit.cpu),
            ("memory", sold.memory + size.memory, limit.memory),
            ("ephemeral-storage", sold.ephemeral_storage + size.storage, limit.storage),
            ("instances", sold.instances + 1, limit.instances),
        )
        if needed > most
    ]


def sellable(limit: Limits, sold: Amounts) -> Sellable:
    """Return what can still be sold. Never negative: a pool made smaller than what is sold has nothing left."""
    return Sellable(
        cpu=max(0, limit.cpu - sold.cpu),
        memory=max(0, limit.memory - sold.memory),
        ephemeral_storage=None if limit.storage == ENDLESS else max(0, limit.storage - sold.ephemeral_storage),
        instances=None if limit.instances == ENDLESS else max(0, limit.instances - sold.instances),
    )


def word(stock: Stock, sold: Amounts, unit: Size, *, interruptible: bool = False) -> StockWord:
    """Return the published word: whether one more instance of size `unit` is there, and whether the pool is closed."""
    there = not lacking(limits(replace(stock, closed=False), interruptible=interruptible), sold, unit)
    if stock.closed:
        return StockWord.CLOSED_WITH_STOCK if there else StockWord.CLOSED_WITHOUT_STOCK
    return StockWord.WITH_STOCK if there else StockWord.WITHOUT_STOCK


def together(sizes: Iterable[Size]) -> Amounts:
    """Return the sum of sizes, and their count."""
    cpu = memory = storage = count = 0
    for size in sizes:
        cpu, memory, storage, count = cpu + size.cpu, memory + size.memory, storage + size.storage, count + 1
    return Amounts(cpu, memory, storage, count)
