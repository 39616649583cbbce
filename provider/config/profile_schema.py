"""The file of a profile: one YAML document, `apiVersion: zonelet.dev/v1alpha1`, `kind: Profile`.

`profiles.py` reads it and makes the `Profile` that the rest works with. CPU and memory are Kubernetes quantities,
prices are decimals in the profile's currency.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct


class SizeConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """One row of the grid: a number of vCPU and its sizes of memory in GiB.

    Both are lists of numbers and ranges, separated by spaces: `2 4 8`, `6..48/2` (from 6 to 48 in steps of 2).
    `memoryPerCpu` in place of `memory`: least and most GiB for each vCPU, in steps of 1 GiB: `1..8`; the least is
    rounded up to a whole GiB. `fine`: sold in big regions only, and never on the spot market.
    """

    QUANTITIES: ClassVar = True

    cpu: str
    memory: str = ""
    memory_per_cpu: str = ""
    fine: bool = False


class SpotConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The spot market (or best-effort): the least vCPU; `fine` rows are never sold there."""

    QUANTITIES: ClassVar = True

    least_cpu: str = "0"


class DefaultConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The size of a pod that asks for neither CPU nor memory."""

    QUANTITIES: ClassVar = True

    cpu: str = "0"
    memory: str = "0"


class LimitsConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The most that one instance may have; init containers count as containers."""

    QUANTITIES: ClassVar = True

    cpu: str = ""
    containers: int | None = None
    volumes: int | None = None


class FamilyPriceConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A family that is asked for by its name, with prices of its own, and the most vCPU that it has."""

    QUANTITIES: ClassVar = True

    name: str
    cpu: str
    memory: str
    most_cpu: str = ""


class PricesConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Pay-as-you-go prices of a vCPU, a GiB of memory and a GiB of disk above the free one, as published."""

    QUANTITIES: ClassVar = True

    cpu: str
    memory: str
    per: Literal["second", "hour"] = "hour"
    disk: str = "0"
    families: tuple[FamilyPriceConfig, ...] = ()


class TypesConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Instance types by name. `families`: GiB for each vCPU by the family's letter."""

    prefix: str
    cpus: str
    families: dict[str, int] = {}
    generations: tuple[str, ...] = ()


class KeyConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """An annotation (or label) that users of this cloud know. `pattern` is a regular expression for the whole value."""

    key: str
    label: bool = False
    means: str = ""
    values: tuple[str, ...] = ()
    pattern: str = ""
    allowed: str = ""
    written: bool = False
    writes: str = ""


class ProfileConfig(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """The whole file. `extends` names a profile of this program, whose top-level keys hold where this file has none."""

    QUANTITIES: ClassVar = True

    name: str
    api_version: Literal["zonelet.dev/v1alpha1"] = "zonelet.dev/v1alpha1"
    kind: Literal["Profile"] = "Profile"
    extends: str = ""
    describes: str = ""
    currency: str = ""
    counts: Literal["limits", "requests"] = "requests"
    sizes: tuple[SizeConfig, ...] = ()
    fine_grid: bool = True
    """whether the rows that are `fine` are sold: whether this is a big region."""
    spot: SpotConfig | None = None
    default: DefaultConfig = DefaultConfig()
    extra_memory: str = "0"
    free_disk: str = "0"
    surplus_to_first: bool = False
    ignore_env: str = ""
    limits: LimitsConfig = LimitsConfig()
    prices: PricesConfig | None = None
    instance_types: TypesConfig | None = None
    unsupported: tuple[str, ...] = ()
    codes: dict[str, str] = {}
    reason: str = "UnsupportedPodSpec"
    prefixes: tuple[str, ...] = ()
    keys: tuple[KeyConfig, ...] = ()
