"""The size of an instance that a cloud sells. CPU in milli-cores, memory in bytes."""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

GIB = 1 << 30


class InstanceSize(Struct, frozen=True, omit_defaults=True):
    """One size on offer: what stock and bill count.

    `family` is the physical pool and the price list that it comes from: `ecs.c6`, `economy`; empty: the generic one.
    `type` is the name of an instance type, where it was asked for by one: `ecs.c6.xlarge`.
    """

    cpu: int
    memory: int
    family: str = ""
    type: str = ""

    @property
    def name(self) -> str:
        """Return the size as ECI writes it back: `ecs.c6.large`, or `2.0-4.0Gi`."""
        return self.type or f"{_decimal(self.cpu, 1000)}-{_decimal(self.memory, GIB)}Gi"


def _decimal(amount: int, unit: int) -> str:
    """Write amount/unit with at least one decimal and at most three: 250/1000 -> `0.25`, 2000/1000 -> `2.0`."""
    whole, rest = divmod(round(Fraction(amount * 1000, unit)), 1000)
    decimals = f"{rest:03}".rstrip("0")
    return f"{whole}.{decimals or '0'}"
