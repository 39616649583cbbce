"""Sizes as users write them in annotations: `2-4Gi`, `ecs.c6.xlarge`, families and generations. Pure.

The lists have an order, the user's, which is the order in which the cloud tries. What cannot be read, or is not on
offer, raises SpecError with what is on offer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from provider.model.quantity import QuantityError, milli, whole
from provider.model.size import InstanceSize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.model.profile import InstanceTypes

MOST_SPECS: Final = 5
_SPEC: Final = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?[KMGT]i)", re.ASCII)
SHAPE: Final = "`2-4Gi` (vCPU and memory)"


class SpecError(ValueError):
    """A text that names no size, family or generation that is on offer."""


def spec(text: str, types: InstanceTypes | None) -> InstanceSize:
    """Return the size that one entry of eci-use-specs names: by vCPU and memory, not rounded, or by a type."""
    match = _SPEC.fullmatch(text)
    if match is not None:
        try:
            cpu, memory = milli(match[1]), whole(match[2])
        except QuantityError as error:
            raise SpecError(str(error)) from error
        if cpu and memory:
            return InstanceSize(cpu, memory)
    found = None if types is None else types.find(text)
    if found is None:
        raise SpecError(f"{text!r} is no size: {_shapes(types)}")
    return found


def _shapes(types: InstanceTypes | None) -> str:
    if types is None:
        return f"allowed: {SHAPE}"
    families = ", ".join(f"{types.prefix}.{one.name}" for one in types.families)
    return (
        f"allowed: {SHAPE}, or a type such as `{types.all()[0].type}` "
        f"(families {families}; generations {', '.join(types.generations)})"
    )


class Choice(Struct, frozen=True):
    """A list such as `ecs.c6,ecs.g6` or `-ecs.c6`: what is wanted, in order (empty: anything), and what is not."""

    wanted: tuple[str, ...] = ()
    excluded: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.wanted or self.excluded)

    def admits(self, name: str) -> bool:
        """Tell whether a name may be taken."""
        return name not in self.excluded and (not self.wanted or name in self.wanted)

    def place(self, name: str) -> int:
        """Return the place of a name in the order; without one all are alike."""
        return self.wanted.index(name) if name in self.wanted else 0


def choice(text: str, known: Iterable[str]) -> Choice:
    """Return the choice that a list makes among the known names. Raises SpecError for a name that is not known."""
    names = tuple(known)
    wanted: list[str] = []
    excluded: set[str] = set()
    for item in entries(text):
        name = item.removeprefix("-")
        if name not in names:
            raise SpecError(f"{name!r} is not known; allowed: {', '.join(names)}, each also with `-` before it")
        if item.startswith("-"):
            excluded.add(name)
        elif name not in wanted:
            wanted.append(name)
    return Choice(tuple(wanted), frozenset(excluded))


def entries(text: str) -> list[str]:
    """Return the entries of a comma-separated list. Raises SpecError when there is none, or an empty one."""
    found = [item.strip() for item in text.split(",")]
    if not all(found):
        raise SpecError(f"{text!r} has an empty entry")
    return found


def matching(types: InstanceTypes, cpu: int, memory: int, families: Choice, generations: Choice) -> list[InstanceSize]:
    """Return the smallest type of each admitted family that has enough, in the order of the two lists.

    Without a list of families the generation's order comes first, then the profile's of families.
    """
    found: dict[str, InstanceSize] = {}
    for one in types.all():
        admitted = families.admits(one.family) and generations.admits(_generation(one, types))
        if admitted and one.cpu >= cpu and one.memory >= memory:
            found.setdefault(one.family, one)
    # sorted() keeps the profile's order among those that the lists do not tell apart
    return sorted(
        found.values(), key=lambda one: (families.place(one.family), generations.place(_generation(one, types)))
    )


def _generation(size: InstanceSize, types: InstanceTypes) -> str:
    return size.family.removeprefix(f"{types.prefix}.").lstrip("abcdefghijklmnopqrstuvwxyz")
