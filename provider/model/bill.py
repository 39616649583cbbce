"""What was sold to whom, for how long, at which price: the records of the usage ledger, and their sums. Pure.

Sums are exact. A price is an int, millionths of the currency for an hour; time is whole seconds, of which a started one
counts, once at the end. A charge is their product, an int in millionths of the currency x seconds / hour ("units"):
3,600 units are a millionth. Only `money` divides, to show.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from provider.model.ids import InstanceId, PodUid, ZoneId
from provider.model.request import Market

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

UNITS = 3600 * 1_000_000
"""units in one of the currency."""
_MILLI = 1000

K = TypeVar("K")
"""what records are summed by."""


class Outcome(StrEnum):
    """How an attempt ended. FAILED and STOPPED are waste.

    STOPPED: deleted before it had succeeded. ENDED: a service that its owner took away, which had no end of its own to
    come to: one that restarts always, or one that the tag `daemon` names.
    """

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    ENDED = "ended"


class UsageRecord(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One attempt: one instance from its first image pull to its end. It outlives the instance's own record.

    Times in seconds since the epoch, CPU in milli-cores, memory and disk in bytes.
    """

    uid: PodUid
    id: InstanceId
    zone: ZoneId
    namespace: str
    name: str
    cpu: int
    memory: int
    extra_disk: int = 0
    family: str = ""
    market: Market = Market.PAY_AS_YOU_GO
    price: int | None = None
    """of the size for an hour, in millionths; None: the cloud that sold it has no prices."""
    list_price: int | None = None
    """what the same size costs as pay-as-you-go."""
    currency: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    started_at: float
    ended_at: float | None = None
    seconds: int = 0
    """charged: to the end, or until the record was asked for."""
    outcome: Outcome = Outcome.RUNNING

    def tag(self, name: str) -> str:
        """Return the value of a tag, empty: it has none of that name."""
        return dict(self.tags).get(name, "")

    @property
    def charge(self) -> int:
        """The units that it costs."""
        return (self.price or 0) * self.seconds

    @property
    def saved(self) -> int:
        """The units that pay-as-you-go would have cost more."""
        return (self.list_price or 0) * self.seconds - self.charge


def whole_seconds(started_at: float, ended_at: float) -> int:
    """Return the seconds from one moment to another, a started one as a whole; 0 for a clock that was set back.

    Moments are read to the millisecond: a float of today's epoch seconds is not finer than a fraction of a microsecond,
    and 5 s must not become 6 by that.
    """
    return -(-max(0, round((ended_at - started_at) * _MILLI)) // _MILLI)


class Total(Struct, frozen=True, kw_only=True):
    """Records together; money in units. `wasted_failed` and `wasted_stopped` are parts of `spent`."""

    attempts: int = 0
    running: int = 0
    seconds: int = 0
    cpu_seconds: int = 0
    """milli-cores x seconds."""
    memory_seconds: int = 0
    """bytes x seconds."""
    spent: int = 0
    saved: int = 0
    wasted_failed: int = 0
    wasted_stopped: int = 0
    unpriced: int = 0
    """attempts of a cloud without prices."""

    @property
    def wasted(self) -> int:
        """What attempts cost that did not end well."""
        return self.wasted_failed + self.wasted_stopped

    def __add__(self, other: Total) -> Total:
        return Total(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


def total_of(record: UsageRecord) -> Total:
    """Return one record as a sum of one."""
    return Total(
        attempts=1,
        running=int(record.outcome is Outcome.RUNNING),
        seconds=record.seconds,
        cpu_seconds=record.cpu * record.seconds,
        memory_seconds=record.memory * record.seconds,
        spent=record.charge,
        saved=record.saved,
        wasted_failed=record.charge if record.outcome is Outcome.FAILED else 0,
        wasted_stopped=record.charge if record.outcome is Outcome.STOPPED else 0,
        unpriced=int(record.price is None),
    )


def totals(records: Iterable[UsageRecord], key: Callable[[UsageRecord], K]) -> dict[K, Total]:
    """Return the sums of the records with the same key, in the order in which keys come first."""
    found: dict[K, Total] = defaultdict(Total)
    for record in records:
        found[key(record)] += total_of(record)
    return dict(found)


def money(units: int, decimals: int = 6) -> str:
    """Write units as a decimal number of the currency, rounded half up."""
    scale = 10**decimals
    rounded = (2 * abs(units) * scale + UNITS) // (2 * UNITS)
    text = f"{rounded // scale}.{rounded % scale:0{decimals}}" if decimals else str(rounded)
    return f"-{text}" if units < 0 and rounded else text
