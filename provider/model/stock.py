"""Stock: what the pool of one instance family in one zone holds, and what an operator may change of it. No I/O.

CPU in milli-cores, memory and storage in bytes. The four words are all that the published API says of stock; the counts
are this project's, for operators and for the node that advertises them.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from provider.model.ids import ZoneId

GENERIC = "generic"
"""The family of plain sizes."""


class StockWord(StrEnum):
    """DescribeAvailableResource's words.

    Closed: nothing is sold until it is opened, whatever is left, and nothing is refilled.
    """

    WITH_STOCK = "WithStock"
    CLOSED_WITH_STOCK = "ClosedWithStock"
    WITHOUT_STOCK = "WithoutStock"
    CLOSED_WITHOUT_STOCK = "ClosedWithoutStock"


class Stock(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One family's pool in one zone."""

    cpu: int
    memory: int
    ephemeral_storage: int = 0
    """0: not counted."""
    instances: int | None = None
    """most at a time; None: no cap."""
    spot_reserve: float = 0.0
    """share of the pool, 0 to 1, that spot and best-effort instances must leave free."""
    closed: bool = False


class StockChange(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an operator says of a pool; None leaves what is said already, or the configuration's value."""

    zone: ZoneId
    family: str = GENERIC
    cpu: int | None = None
    memory: int | None = None
    ephemeral_storage: int | None = None
    instances: int | None = None
    spot_reserve: float | None = None
    closed: bool | None = None


class Amounts(Struct, frozen=True, omit_defaults=True):
    """Sizes together; `instances` counts them."""

    cpu: int = 0
    memory: int = 0
    ephemeral_storage: int = 0
    instances: int = 0


class Sellable(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a pool can sell now; `instances` None: no cap. Never negative, and nothing at all while it is closed."""

    cpu: int = 0
    memory: int = 0
    ephemeral_storage: int | None = None
    """None: not counted."""
    instances: int | None = None


class StockStatus(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One family's pool: what the configuration says, what holds, and where it went."""

    family: str = GENERIC
    configured: Stock
    holds: Stock
    overridden: bool = False
    """an operator has said something of it, which holds until `reset`."""
    sold: Amounts = Amounts()
    queued: Amounts = Amounts()
    """what those who wait for it ask for."""
    sellable: Sellable = Sellable()
    """to pay-as-you-go; what is queued is not taken off."""
    spot_sellable: Sellable = Sellable()
    word: StockWord
    spot_word: StockWord
