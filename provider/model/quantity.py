"""Kubernetes quantities as exact integers: milli-units (CPU) and whole units (bytes).

Rules follow k8s.io/apimachinery/pkg/api/resource: decimal and binary suffixes, decimal exponents, fractions are
rounded up (away from zero) to the unit asked for, values are capped at 2^63-1.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil, floor

_MAX = 2**63 - 1
_MAX_EXPONENT = 64
_FORM = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?", re.ASCII)
_POWERS = "KMGTPE"
_SUFFIXES = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    **{suffix: Fraction(10 ** (3 * power)) for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Fraction(2 ** (10 * power)) for power, suffix in enumerate("KMGTPE", 1)},
}


class QuantityError(ValueError):
    """A text that is no Kubernetes quantity."""


def _exact(text: str | float) -> Fraction:
    match = _FORM.fullmatch(str(text))
    if match is None:
        raise QuantityError(f"quantity {text!r} must match {_FORM.pattern!r}")
    sign, digits, exponent, suffix = match.groups()
    if exponent and abs(int(exponent[1:])) > _MAX_EXPONENT:
        raise QuantityError(f"quantity {text!r} has an exponent beyond {_MAX_EXPONENT}")
    factor = Fraction(10) ** int(exponent[1:]) if exponent else _SUFFIXES[suffix or ""]
    value = Fraction(digits) * factor
    return -value if sign == "-" else value


def _whole(value: Fraction) -> int:
    rounded = ceil(value) if value >= 0 else floor(value)
    return max(-_MAX, min(_MAX, rounded))


def milli(quantity: str | float) -> int:
    """Return a quantity in thousandths, rounded up: "0.1" -> 100. Raises QuantityError."""
    return _whole(_exact(quantity) * 1000)


def whole(quantity: str | float) -> int:
    """Return a quantity in whole units (bytes), rounded up: "1Ki" -> 1024. Raises QuantityError."""
    return _whole(_exact(quantity))


def divided(amount: Fraction, divisor: str | float) -> int:
    """Return ceil(amount / divisor), where a zero divisor counts as 1 (resourceFieldRef, pkg/api/v1/resource)."""
    return ceil(amount / (_exact(divisor) or Fraction(1)))


def cpu_text(milli_cores: int) -> str:
    """Write milli-cores as the API server does: 100 -> "100m", 2000 -> "2", 9000000 -> "9k"."""
    return f"{milli_cores}m" if milli_cores % 1000 else _suffixed(milli_cores // 1000, 1000, "")


def bytes_text(amount: int) -> str:
    """Write bytes with the largest suffix that leaves a whole number; binary or decimal, whichever is shorter."""
    return min(_suffixed(amount, 1024, "i"), _suffixed(amount, 1000, ""), key=len)


def _suffixed(amount: int, base: int, mark: str) -> str:
    power = 0
    while amount and amount % base == 0 and power < len(_POWERS):
        amount, power = amount // base, power + 1
    if power == 0:
        return str(amount)
    return f"{amount}{'k' if power == 1 and not mark else _POWERS[power - 1]}{mark}"
