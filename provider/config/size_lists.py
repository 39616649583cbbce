"""Lists of sizes as a profile writes them (`0.5 1`, `6..48/2`), and the grid that rows of them make. Pure and exact."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from provider.model.profile import SizeGrid, SizeRow
from provider.model.size import GIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.config.profile_schema import SizeConfig

_NUMBER: Final = r"\d+(?:\.\d+)?"
_ITEM: Final = re.compile(rf"({_NUMBER})(?:\.\.({_NUMBER})(?:/({_NUMBER}))?)?", re.ASCII)
_MOST: Final = 4096
"""Entries of one list; more is a slip of the pen."""


class ListError(ValueError):
    """A text that is no list of numbers and ranges."""


def numbers(text: str) -> list[Fraction]:
    """Return the numbers of a list, in its order: `1 2..6/2` -> 1, 2, 4, 6. Raises ListError; each is above 0."""
    found: list[Fraction] = []
    for item in text.split():
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ListError(f"{item!r} is neither a number nor a range (`2 4 8`, `6..48/2`)")
        first, last, step = (Fraction(part) if part else None for part in match.groups())
        assert first is not None  # noqa: S101 - the expression has it
        last, step = last or first, step or Fraction(1)
        if last < first or (last - first) % step:
            raise ListError(f"{item!r} does not get from {first} to {last} in steps of {step}")
        count = int((last - first) / step) + 1
        if count + len(found) > _MOST:
            raise ListError(f"{text!r} has more than {_MOST} entries")
        found += [first + step * index for index in range(count)]
    if not found or 0 in found:
        raise ListError(f"{text!r} has no number above 0" if not found else f"{text!r} has a size of 0")
    return found


def grid_of(rows: Sequence[SizeConfig], mistakes: list[str], *, fine: bool) -> SizeGrid | None:
    """Return the grid of the rows, with those that are `fine` or without; None where there is none.

    Mistakes are noted with their path, also those of rows that are left out.
    """
    grid: dict[int, set[int]] = {}
    for index, row in enumerate(rows):
        path = f"sizes[{index}]"
        if bool(row.memory) is bool(row.memory_per_cpu):
            mistakes.append(f"{path}: give one of memory and memoryPerCpu")
            continue
        cpus = _read(row.cpu, f"{path}.cpu", mistakes)
        if row.memory:
            memory = _read(row.memory, f"{path}.memory", mistakes)
            sizes = dict.fromkeys(cpus, memory)
        else:
            ratio = _read(row.memory_per_cpu, f"{path}.memoryPerCpu", mistakes)
            sizes = {cpu: _by_ratio(cpu, ratio) for cpu in cpus if ratio}
        if row.fine and not fine:
            continue
        for cpu, amounts in sizes.items():
            grid.setdefault(ceil(cpu * 1000), set()).update(ceil(amount * GIB) for amount in amounts)
    rows_found = [SizeRow(cpu, tuple(sorted(memory))) for cpu, memory in sorted(grid.items()) if memory]
    return SizeGrid(tuple(rows_found)) if rows_found else None


def _by_ratio(cpu: Fraction, ratio: list[Fraction]) -> list[Fraction]:
    return [Fraction(gib) for gib in range(ceil(cpu * min(ratio)), floor(cpu * max(ratio)) + 1)]


def _read(text: str, path: str, mistakes: list[str]) -> list[Fraction]:
    if not text:
        return []
    try:
        return numbers(text)
    except ListError as error:
        mistakes.append(f"{path}: {error}")
        return []
