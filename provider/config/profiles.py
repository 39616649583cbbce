"""Reads profiles: those of this program by their name (`profiles/*.yaml`), a user's by the path of his file.

Every mistake is told with its path in the file, and nothing is used of a file that has one.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from provider.config.document import ConfigError, document_of, read, text_of
from provider.config.profile_schema import ProfileConfig
from provider.config.size_lists import ListError, grid_of, numbers
from provider.model.profile import (
    FEATURES,
    MEANINGS,
    REFUSALS,
    WRITINGS,
    FamilyPrice,
    InstanceTypes,
    KnownKey,
    Limits,
    Prices,
    Profile,
    Spot,
    TypeFamily,
)
from provider.model.quantity import QuantityError, milli, whole
from provider.model.size import GIB, InstanceSize

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provider.config.profile_schema import KeyConfig, PricesConfig, TypesConfig
    from provider.model.profile import SizeGrid

DIRECTORY: Final = Path(__file__).parent / "profiles"
_MICRO: Final = 1_000_000
_SECONDS: Final = 3600


def profile_names() -> tuple[str, ...]:
    """Return the names of the profiles that come with this program."""
    return tuple(sorted(path.stem for path in DIRECTORY.glob("*.yaml")))


def is_file(profile: str) -> bool:
    """Tell whether a configuration's `profile` is a path and not a name."""
    return "/" in profile or profile.endswith((".yaml", ".yml"))


def load_profile(profile: str) -> Profile:
    """Return a profile by its name, or by the path of its file. ConfigError with every mistake."""
    if is_file(profile):
        return parse_profile(text_of(profile))
    if profile not in profile_names():
        raise ConfigError([f"there is no profile {profile!r}; there are {', '.join(profile_names())}, or give a path"])
    return _own(profile)


@cache
def _own(name: str) -> Profile:
    return parse_profile(text_of(DIRECTORY / f"{name}.yaml"))


def parse_profile(text: str) -> Profile:
    """Return the profile in a YAML text. ConfigError with every mistake."""
    mistakes: list[str] = []
    document = document_of(text)
    base = document.get("extends") if isinstance(document, dict) else None
    if base:
        if base in profile_names():
            document = document_of(text_of(DIRECTORY / f"{base}.yaml")) | document
        else:
            mistakes.append(f"extends: there is no profile {base!r}; there are {', '.join(profile_names())}")
    config = read(document, ProfileConfig, "", mistakes)
    profile = _Reader(mistakes).profile(config)
    if mistakes:
        raise ConfigError(mistakes)
    return profile


class _Reader:
    """Turns texts into numbers; a mistake is noted, and counts as nothing."""

    def __init__(self, mistakes: list[str]) -> None:
        self._mistakes = mistakes

    def profile(self, config: ProfileConfig) -> Profile:
        """Return the profile of a document whose fields have the right types."""
        grid, sold = self._grid(config, fine=config.fine_grid), self._grid(config, fine=False)
        spot = None
        if config.spot is not None:
            if sold is None:
                self._note("spot: needs sizes that are not fine")
            else:
                spot = Spot(sold, self._cpu(config.spot.least_cpu, "spot.leastCpu"))
        self._words(config)
        default = InstanceSize(
            self._cpu(config.default.cpu, "default.cpu"), self._bytes(config.default.memory, "default.memory")
        )
        extra = self._bytes(config.extra_memory, "extraMemory")
        if grid is not None and grid.smallest(default.cpu, default.memory + extra) is None:
            text = f"{config.default.cpu} vCPU and {config.default.memory} of memory, with extraMemory"
            self._note(f"default: no size has {text}")
        if config.prices is not None and not config.currency:
            self._note("currency: missing: the prices need one")
        return Profile(
            name=config.name,
            describes=config.describes,
            currency=config.currency,
            grid=grid,
            spot=spot,
            counts=config.counts,
            default=default,
            extra_memory=extra,
            free_disk=self._bytes(config.free_disk, "freeDisk"),
            surplus_to_first=config.surplus_to_first,
            ignore_env=config.ignore_env,
            limits=Limits(
                self._cpu(config.limits.cpu, "limits.cpu") if config.limits.cpu else None,
                self._count(config.limits.containers, "limits.containers"),
                self._count(config.limits.volumes, "limits.volumes"),
            ),
            prices=None if config.prices is None else self._prices(config.prices),
            types=None if config.instance_types is None else self._types(config.instance_types),
            unsupported=config.unsupported,
            codes=tuple(sorted(config.codes.items())),
            reason=config.reason,
            prefixes=config.prefixes,
            keys=tuple(self._key(key, f"keys[{index}]") for index, key in enumerate(config.keys)),
        )

    def _grid(self, config: ProfileConfig, *, fine: bool) -> SizeGrid | None:
        told = self._mistakes if fine or not config.fine_grid else []  # one line for a mistake, not two
        return grid_of(config.sizes, told, fine=fine)

    def _words(self, config: ProfileConfig) -> None:
        self._known("unsupported", config.unsupported, FEATURES)
        self._known("codes", config.codes, REFUSALS)
        if not re.fullmatch(r"[A-Z][A-Za-z]*", config.reason):
            self._note(f"reason: {config.reason!r} is no CamelCase word")
        seen: dict[str, int] = {}
        means: dict[str, int] = {}
        for index, key in enumerate(config.keys):
            if key.key and seen.setdefault(key.key, index) != index:
                self._note(f"keys[{index}].key: {key.key} is keys[{seen[key.key]}] already")
            if key.means and means.setdefault(key.means, index) != index:
                self._note(f"keys[{index}].means: {key.means} is the meaning of keys[{means[key.means]}] already")

    def _known(self, path: str, words: Iterable[str], known: Iterable[str]) -> None:
        for word in words:
            if word not in known:
                self._note(f"{path}: {word!r} is not known (known: {', '.join(sorted(known))})")

    def _prices(self, config: PricesConfig) -> Prices:
        families = [
            FamilyPrice(
                one.name,
                self._price(one.cpu, config.per, f"prices.families[{index}].cpu"),
                self._price(one.memory, config.per, f"prices.families[{index}].memory"),
                self._cpu(one.most_cpu, f"prices.families[{index}].mostCpu") if one.most_cpu else None,
            )
            for index, one in enumerate(config.families)
        ]
        return Prices(
            cpu=self._price(config.cpu, config.per, "prices.cpu"),
            memory=self._price(config.memory, config.per, "prices.memory"),
            disk=self._price(config.disk, config.per, "prices.disk"),
            families=tuple(families),
        )

    def _price(self, text: str, per: str, path: str) -> int:
        """Return micro-units an hour. A published price per second has no finite micro value, 3,600 of it mostly do."""
        try:
            price = Fraction(text or "0") * _MICRO * (_SECONDS if per == "second" else 1)
        except (ValueError, ZeroDivisionError):
            return self._wrong(f"{path}: {text!r} is no decimal")
        if price < 0:
            return self._wrong(f"{path}: {text} is negative")
        if price.denominator != 1:
            return self._wrong(f"{path}: {text} a {per} is no whole number of millionths an hour")
        return price.numerator

    def _types(self, config: TypesConfig) -> InstanceTypes:
        cpus: list[Fraction] = []
        try:
            cpus = numbers(config.cpus) if config.cpus else []
        except ListError as error:
            self._note(f"instanceTypes.cpus: {error}")
        if any(cpu != 2 and cpu % 4 for cpu in cpus):  # noqa: PLR2004 - `large` and multiples of `xlarge`
            self._note("instanceTypes.cpus: a type has 2 vCPU (large), or a multiple of 4 (xlarge)")
        for name, memory in config.families.items():
            if not re.fullmatch("[a-z]+", name) or memory < 1:
                self._note(f"instanceTypes.families.{name}: expected letters, and GiB for each vCPU above 0")
        return InstanceTypes(
            config.prefix,
            tuple(TypeFamily(name, memory * GIB) for name, memory in config.families.items()),
            config.generations,
            tuple(sorted(int(cpu * 1000) for cpu in cpus)),
        )

    def _key(self, config: KeyConfig, path: str) -> KnownKey:
        if config.means and config.means not in MEANINGS:
            self._note(f"{path}.means: {config.means!r} is not known (known: {', '.join(sorted(MEANINGS))})")
        if config.writes and config.writes not in WRITINGS:
            self._note(f"{path}.writes: {config.writes!r} is not known (known: {', '.join(sorted(WRITINGS))})")
        if config.pattern:
            try:
                re.compile(config.pattern)
            except re.error as error:
                self._note(f"{path}.pattern: no regular expression: {error}")
            if not config.allowed:
                self._note(f"{path}.allowed: missing: say in words what the pattern allows")
        return KnownKey(
            key=config.key,
            label=config.label,
            means=config.means,
            values=config.values,
            pattern=config.pattern,
            allowed=config.allowed,
            written=config.written,
            writes=config.writes,
        )

    def _cpu(self, text: str, path: str) -> int:
        try:
            amount = milli(text)
        except QuantityError:
            return self._wrong(f"{path}: {text!r} is no quantity (`2`, `500m`)")
        return amount if amount >= 0 else self._wrong(f"{path}: {text} is negative")

    def _bytes(self, text: str, path: str) -> int:
        try:
            amount = whole(text)
        except QuantityError:
            return self._wrong(f"{path}: {text!r} is no quantity (`4Gi`, `256Mi`)")
        return amount if amount >= 0 else self._wrong(f"{path}: {text} is negative")

    def _count(self, number: int | None, path: str) -> int | None:
        if number is not None and number < 1:
            self._note(f"{path}: {number} is below 1")
        return number

    def _wrong(self, mistake: str) -> int:
        self._note(mistake)
        return 0

    def _note(self, mistake: str) -> None:
        self._mistakes.append(mistake)
