"""A profile: what one cloud sells, at which sizes and prices, and how its users ask for it. Pure values.

`provider/config/profiles/*.yaml` are the profiles that come with this program; `config/profiles.py` reads them into
these structs. `translate` applies a profile to pods. A profile says nothing of stock: that is the zones'.

Units: CPU in milli-cores, memory and disk in bytes, prices in millionths of the currency for an hour.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import cache
from math import ceil
from typing import TYPE_CHECKING

from msgspec import Struct

from provider.model.size import GIB, InstanceSize

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERIC = ""
"""The family of sizes that are asked for by vCPU and memory."""


class SizeRow(Struct, frozen=True):
    """The memory sizes on offer for a number of vCPU, ascending."""

    cpu: int
    memory: tuple[int, ...]


class SizeGrid(Struct, frozen=True):
    """The sizes on offer; rows ascend by vCPU, each number of vCPU has one."""

    rows: tuple[SizeRow, ...]

    def smallest(self, cpu: int, memory: int) -> tuple[int, int] | None:
        """Return the size with the least vCPU, then the least memory, that has as much of both; None: there is none."""
        for row in self.rows:
            if row.cpu >= cpu:
                place = bisect_left(row.memory, memory)
                if place < len(row.memory):
                    return row.cpu, row.memory[place]
        return None

    def holds(self, cpu: int, memory: int) -> bool:
        """Tell whether exactly this size is on offer."""
        return self.smallest(cpu, memory) == (cpu, memory)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """Yield all sizes, ascending."""
        for row in self.rows:
            for memory in row.memory:
                yield row.cpu, memory

    @property
    def largest(self) -> tuple[int, int]:
        """The most vCPU, and the most memory that is sold with it."""
        row = self.rows[-1]
        return row.cpu, row.memory[-1]


class TypeFamily(Struct, frozen=True):
    """A family of instance types: `c` has 2 GiB for each vCPU."""

    name: str
    memory_per_cpu: int


class InstanceTypes(Struct, frozen=True):
    """Instance types, named `<prefix>.<family><generation>.<size>`; `large` is 2 vCPU, `xlarge` 4, `Nxlarge` 4 N."""

    prefix: str
    families: tuple[TypeFamily, ...]
    generations: tuple[str, ...]
    """the newest first."""
    cpus: tuple[int, ...]
    """milli-cores of the types that each family has, ascending."""

    def all(self) -> tuple[InstanceSize, ...]:
        """Return every type; by generation (the newest first), family, size (the smallest first)."""
        return tuple(_by_name(self).values())

    def find(self, name: str) -> InstanceSize | None:
        """Return a type by its name."""
        return _by_name(self).get(name)


@cache
def _by_name(types: InstanceTypes) -> dict[str, InstanceSize]:
    """Return all types by their names; made once for each profile, as every pod looks at them."""
    found: dict[str, InstanceSize] = {}
    for generation in types.generations:
        for family in types.families:
            name = f"{types.prefix}.{family.name}{generation}"
            for cpu in types.cpus:
                one = InstanceSize(cpu, family.memory_per_cpu * cpu // 1000, name, f"{name}.{type_size(cpu)}")
                found[one.type] = one
    return found


def type_size(cpu: int) -> str:
    """Return the last part of the name of a type: 2000 milli-cores -> `large`, 4000 -> `xlarge`, 8000 -> `2xlarge`."""
    large, xlarge = 2000, 4000
    if cpu == large:
        return "large"
    return "xlarge" if cpu == xlarge else f"{cpu // xlarge}xlarge"


class FamilyPrice(Struct, frozen=True):
    """A family that is asked for by name: what a vCPU and a GiB of it cost an hour, and the most vCPU it has."""

    family: str
    cpu: int
    memory: int
    most_cpu: int | None = None


class Prices(Struct, frozen=True, kw_only=True):
    """Pay-as-you-go prices in micro-units of the currency per hour: of a vCPU, a GiB of memory, a GiB of extra disk."""

    cpu: int
    memory: int
    disk: int = 0
    families: tuple[FamilyPrice, ...] = ()

    def family(self, name: str) -> FamilyPrice | None:
        """Return a family that has prices of its own."""
        return next((one for one in self.families if one.family == name), None)

    def per_hour(self, size: InstanceSize, extra_disk: int = 0) -> int:
        """Return the price of an instance; a part of a millionth rounds up, which no size of a grid has."""
        own = self.family(size.family)
        cpu, memory = (self.cpu, self.memory) if own is None else (own.cpu, own.memory)
        exact = Fraction(cpu * size.cpu, 1000) + Fraction(memory * size.memory + self.disk * extra_disk, GIB)
        return ceil(exact)


class Limits(Struct, frozen=True):
    """The most that one instance may have, None: no limit. Containers count with init containers."""

    cpu: int | None = None
    containers: int | None = None
    volumes: int | None = None


class Spot(Struct, frozen=True):
    """What may be bought on the spot market (or best-effort): the sizes, and the least vCPU."""

    grid: SizeGrid
    least_cpu: int = 0


class KnownKey(Struct, frozen=True, kw_only=True):
    """An annotation or a label that the profile knows.

    `means` is one of `MEANINGS`, or empty: it is known, and nothing here acts on it. `values` are all that it may be;
    empty: what matches `pattern`, told to people as `allowed`; both empty: anything.
    """

    key: str
    label: bool = False
    means: str = ""
    values: tuple[str, ...] = ()
    pattern: str = ""
    allowed: str = ""
    written: bool = False
    """the cloud's alone: what a user gives there is no wish."""
    writes: str = ""
    """one of `WRITINGS`: what is written there once the instance has its place; empty: nothing."""


MEANINGS = frozenset(
    {
        "useSpecs",
        "requiredSpec",
        "families",
        "generations",
        "categories",
        "computeClass",
        "bestEffort",
        "spotStrategy",
        "extraDisk",
        "failStrategy",
        "route",
    }
)
"""What keys may mean; see docs/guides/profiles.md."""

WRITINGS = frozenset({"instanceId", "spec", "podSpec", "zone", "vSwitch", "provisioned"})
"""What can be written back to a pod: the instance's ID, its size in three clouds' ways, where it is."""

FEATURES = frozenset(
    {
        "daemonSet",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostPath",
        "hostPort",
        "privileged",
    }
)
"""What a profile may say that its cloud does not support."""

REFUSALS = frozenset({"size", "spot", "containers", "volumes", "feature", "value"})
"""What a pod may be refused for; a profile has a code for each."""


class Profile(Struct, frozen=True, kw_only=True):
    """What one cloud sells. Without a grid nothing is rounded, and the size is what the scheduler counts (`plain`)."""

    name: str
    describes: str = ""
    currency: str = ""
    grid: SizeGrid | None = None
    spot: Spot | None = None
    counts: str = "requests"
    """`limits`: each container's limit counts, without one its request; `requests`: its request."""
    default: InstanceSize = InstanceSize(0, 0)
    """of a pod that asks for neither CPU nor memory."""
    extra_memory: int = 0
    """what the cloud itself takes of an instance's memory."""
    free_disk: int = 0
    """disk that every instance has and that costs nothing."""
    surplus_to_first: bool = False
    """what rounding adds goes to the first container's requests and limits."""
    ignore_env: str = ""
    """a container with this variable set to TRUE does not count."""
    limits: Limits = Limits()
    prices: Prices | None = None
    types: InstanceTypes | None = None
    unsupported: tuple[str, ...] = ()
    codes: tuple[tuple[str, str], ...] = ()
    reason: str = "UnsupportedPodSpec"
    """status.reason of a pod that is refused by this profile."""
    prefixes: tuple[str, ...] = ()
    """keys that begin so are this cloud's; one that is not in `keys` is a mistake."""
    keys: tuple[KnownKey, ...] = ()

    @property
    def default_size(self) -> InstanceSize:
        """The size that a pod gets that asks for nothing: the default and what the cloud itself takes, rounded up."""
        memory = self.default.memory + self.extra_memory
        fit = None if self.grid is None else self.grid.smallest(self.default.cpu, memory)
        return self.default if fit is None else InstanceSize(*fit)

    def code(self, refusal: str) -> str:
        """Return the cloud's code for one of `REFUSALS`; empty where it has published none."""
        return dict(self.codes).get(refusal, "")

    def key_of(self, meaning: str) -> KnownKey | None:
        """Return the key with a meaning."""
        return next((one for one in self.keys if one.means == meaning), None)

    def price_per_hour(self, size: InstanceSize, extra_disk: int = 0) -> int | None:
        """Return the pay-as-you-go price of a size; None where the profile has no prices."""
        return None if self.prices is None else self.prices.per_hour(size, extra_disk)


PLAIN = Profile(name="plain", describes="a plain node: no rounding, nothing unsupported, no prices")
