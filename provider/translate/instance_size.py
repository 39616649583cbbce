"""The sizes that a pod may become on a cloud of fixed sizes, best first, and how they are bought. Pure.

In the order of what ECI has published: `eci-use-specs`, else the sum of limits, else of requests, else the default. A
list of the user keeps its order; each entry is rounded up to the smallest size on offer. The cloud tries them in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from provider.model.errors import Rejection
from provider.model.profile import GENERIC
from provider.model.quantity import QuantityError, cpu_text, whole
from provider.model.request import Market
from provider.model.size import GIB, InstanceSize
from provider.translate.sizing import pod_requests
from provider.translate.specs import MOST_SPECS, SHAPE, Choice, SpecError, choice, entries, matching, spec
from provider.translate.wishes import INVALID, Told, wishes

if TYPE_CHECKING:
    from provider.model.pod import Container, Pod, PodSpec
    from provider.model.profile import Profile, SizeGrid

__all__ = ["SizePlan", "size_plan"]

_SIZED_BY_USER = ("useSpecs", "requiredSpec")


class SizePlan(Struct, frozen=True, kw_only=True):
    """What is to be bought. `sizes`: to be tried in this order, `disk`: what stock counts, in bytes.

    `extra_disk` is what is billed of it: what every instance has for nothing counts in neither. `asked`: what the
    pod's containers want, milli-cores and bytes.
    """

    sizes: tuple[InstanceSize, ...]
    market: Market = Market.PAY_AS_YOU_GO
    disk: int = 0
    extra_disk: int = 0
    asked: tuple[int, int] = (0, 0)
    told: tuple[Told, ...] = ()


def size_plan(pod: Pod, profile: Profile) -> SizePlan:
    """Return what a pod becomes. Raises Rejection where the profile's cloud has no size for it."""
    planner = _Planner(pod, profile)
    if profile.grid is None:
        plain = InstanceSize(planner.cpu, planner.memory)
        return SizePlan(sizes=(plain,), disk=planner.disk(0), asked=(plain.cpu, plain.memory), told=planner.told)
    sizes = planner.sizes(profile.grid)
    extra = planner.extra_disk()
    return SizePlan(
        sizes=sizes,
        market=planner.market,
        disk=planner.disk(extra),
        extra_disk=extra,
        asked=(planner.cpu, planner.memory),
        told=planner.told,
    )


class _Planner:
    """One pod, what it asks for, and what has been found to tell about it."""

    def __init__(self, pod: Pod, profile: Profile) -> None:
        found = wishes(pod.metadata, profile)
        self._pod, self._profile, self._wishes = pod, profile, found.values
        self._told = list(found.told)
        counted = pod.spec if profile.grid is None else _counted(pod.spec, profile)
        self._asked = pod_requests(counted)
        self.cpu, self.memory = self._asked.get("cpu", 0), self._asked.get("memory", 0)
        self.market = self._market()

    @property
    def told(self) -> tuple[Told, ...]:
        """What the user is to be told."""
        return tuple(self._told)

    def sizes(self, grid: SizeGrid) -> tuple[InstanceSize, ...]:
        """Return the sizes to be tried, in order, each once."""
        found: dict[InstanceSize, None] = {}
        refusals: list[str] = []
        for wanted in self._wanted():
            try:
                found.update(dict.fromkeys(self._offers(wanted, grid)))
            except SpecError as error:
                refusals.append(str(error))
        if not found:
            raise self._rejection("spot" if self._is_spot_only(grid) else "size", "; ".join(dict.fromkeys(refusals)))
        if refusals and any(key in self._wishes for key in _SIZED_BY_USER):
            self._told += [Told(INVALID, f"{text}; it is passed over") for text in dict.fromkeys(refusals)]
        return tuple(found)

    def extra_disk(self) -> int:
        """Return the disk above the free one, in bytes: by annotation, or because the requests need it."""
        asked = 0
        text = self._wishes.get("extraDisk")
        if text is not None:
            try:
                asked = whole(text)
            except QuantityError:
                self._tell("extraDisk", f"{text!r} is no quantity of bytes; allowed: for example 20Gi")
            if asked < 0:
                self._tell("extraDisk", f"{text} is negative; allowed: for example 20Gi")
        return max(asked, self._asked.get("ephemeral-storage", 0) - self._profile.free_disk, 0)

    def disk(self, extra: int) -> int:
        """Return the disk that stock counts: what the pod asks for, by annotation or request."""
        return max(extra, self._asked.get("ephemeral-storage", 0))

    # ------------------------------------------------------------------ what is wanted

    def _wanted(self) -> list[InstanceSize]:
        """Return the sizes as they are asked for, before rounding. Raises Rejection for a list without any."""
        for meaning in _SIZED_BY_USER:
            if meaning in self._wishes:
                return self._listed(meaning)
        profile = self._profile
        if not self.cpu and not self.memory:
            return [replace(profile.default, memory=profile.default.memory + profile.extra_memory)]
        return [InstanceSize(self.cpu, self.memory + profile.extra_memory)]

    def _listed(self, meaning: str) -> list[InstanceSize]:
        key, text = self._key(meaning), self._wishes[meaning]
        most = MOST_SPECS if meaning == "useSpecs" else 1
        found: list[InstanceSize] = []
        problems: list[str] = []
        try:
            items = entries(text)
        except SpecError as error:
            raise self._rejection("value", f"{key}: {error}; allowed: {SHAPE}, up to {most}") from error
        if len(items) > most:
            shown = "one size" if most == 1 else f"up to {most} sizes, separated by commas"
            raise self._rejection("value", f"{key}: {text!r} has {len(items)} entries; allowed: {shown}")
        for item in items:
            try:
                found.append(spec(item, self._profile.types))
            except SpecError as error:
                problems.append(f"{key}: {error}")
        if not found:
            raise self._rejection("value", "; ".join(problems))
        self._told += [Told(INVALID, f"{problem}; it is passed over") for problem in problems]
        return found

    def _market(self) -> Market:
        for meaning, market in (("spotStrategy", Market.SPOT), ("bestEffort", Market.BEST_EFFORT)):
            key, value = self._profile.key_of(meaning), self._wishes.get(meaning)
            if key is not None and value is not None and key.values and value != key.values[0]:
                if self._profile.spot is not None:
                    return market
                self._tell(meaning, f"profile {self._profile.name} sells nothing but pay-as-you-go")
        return Market.PAY_AS_YOU_GO

    # ------------------------------------------------------------------ what is on offer for it

    def _offers(self, wanted: InstanceSize, grid: SizeGrid) -> list[InstanceSize]:
        """Return what is sold for one wish. Raises SpecError when nothing is."""
        families, generations = self._choices()
        if wanted.type:
            if not families.admits(wanted.family) or not self._generation_fits(wanted, generations):
                raise SpecError(f"{wanted.type} is excluded by the pod's other annotations")
            if self._too_small_for_spot(wanted.cpu):
                raise SpecError(f"{wanted.type} has less than the {self._least_spot()} vCPU that spot needs")
            return [wanted]
        if families or generations:
            return self._typed(wanted, families, generations)
        if "requiredSpec" in self._wishes and not grid.holds(wanted.cpu, wanted.memory):
            raise SpecError(f"{self._key('requiredSpec')}: {wanted.name} is no size of profile {self._profile.name}")
        return self._rounded(wanted, grid)

    def _rounded(self, wanted: InstanceSize, grid: SizeGrid) -> list[InstanceSize]:
        cpu, spot = wanted.cpu, self._profile.spot
        if self.market is not Market.PAY_AS_YOU_GO and spot is not None:
            grid, cpu = spot.grid, max(cpu, spot.least_cpu)
        fit = grid.smallest(cpu, wanted.memory)
        limit = self._profile.limits.cpu
        if fit is None or (limit is not None and fit[0] > limit):
            most_cpu, most_memory = grid.largest
            raise SpecError(
                f"no size of profile {self._profile.name} has {cpu_text(cpu)} vCPU and {_gib(wanted.memory)} GiB; "
                f"the largest has {cpu_text(most_cpu)} vCPU and {_gib(most_memory)} GiB"
            )
        found = [InstanceSize(*fit, family) for family in self._pools() if self._has(family, fit[0])]
        if not found:
            raise SpecError(f"none of the categories that are asked for has {cpu_text(fit[0])} vCPU")
        return found

    def _typed(self, wanted: InstanceSize, families: Choice, generations: Choice) -> list[InstanceSize]:
        types = self._profile.types
        assert types is not None  # noqa: S101 - a profile without types has no choice among them
        cpu = wanted.cpu
        if self._too_small_for_spot(cpu):
            cpu = self._profile.spot.least_cpu if self._profile.spot else cpu
        found = matching(types, cpu, wanted.memory, families, generations)
        if not found:
            raise SpecError(
                f"none of the instance types that are asked for has {cpu_text(cpu)} vCPU and {_gib(wanted.memory)} GiB"
            )
        return found

    def _pools(self) -> list[str]:
        """Return the families that a size by vCPU and memory may come from, in the order to try."""
        prices = self._profile.prices
        named = self._wishes.get("computeClass") or self._wishes.get("categories")
        if named is None or prices is None:
            return [GENERIC]
        names = [item for item in (one.strip() for one in named.split(",")) if item]
        known = [one.family for one in prices.families]
        unknown = [name for name in names if name not in (*known, "general", "general-purpose")]
        if unknown:
            self._tell("categories", f"{', '.join(unknown)} is not known; allowed: {', '.join([*known, 'general'])}")
        pools = [name if name in known else GENERIC for name in names if name not in unknown]
        return list(dict.fromkeys(pools)) or [GENERIC]

    def _has(self, family: str, cpu: int) -> bool:
        own = None if self._profile.prices is None else self._profile.prices.family(family)
        return own is None or own.most_cpu is None or cpu <= own.most_cpu

    def _choices(self) -> tuple[Choice, Choice]:
        types = self._profile.types
        if types is None or not self._wishes.keys() & {"families", "generations"}:
            return Choice(), Choice()
        names = dict.fromkeys(one.family for one in types.all())
        return self._choice("families", tuple(names)), self._choice("generations", types.generations)

    def _choice(self, meaning: str, known: tuple[str, ...]) -> Choice:
        text = self._wishes.get(meaning)
        if text is None:
            return Choice()
        try:
            return choice(text, known)
        except SpecError as error:
            raise self._rejection("value", f"{self._key(meaning)}: {error}") from error

    def _generation_fits(self, size: InstanceSize, generations: Choice) -> bool:
        return generations.admits(size.family.rpartition(".")[2].lstrip("abcdefghijklmnopqrstuvwxyz"))

    # ------------------------------------------------------------------ spot, and words

    def _least_spot(self) -> str:
        return cpu_text(self._profile.spot.least_cpu) if self._profile.spot else "0"

    def _too_small_for_spot(self, cpu: int) -> bool:
        spot = self._profile.spot
        return self.market is not Market.PAY_AS_YOU_GO and spot is not None and cpu < spot.least_cpu

    def _is_spot_only(self, grid: SizeGrid) -> bool:
        """Tell whether the size would be sold, if not on the spot market."""
        return self.market is not Market.PAY_AS_YOU_GO and grid.smallest(self.cpu, self.memory) is not None

    def _key(self, meaning: str) -> str:
        key = self._profile.key_of(meaning)
        return meaning if key is None else key.key

    def _tell(self, meaning: str, text: str) -> None:
        told = Told(INVALID, f"{self._key(meaning)}: {text}")
        if told not in self._told:
            self._told.append(told)

    def _rejection(self, what: str, text: str) -> Rejection:
        code = self._profile.code(what)
        return Rejection(self._profile.reason, f"{code}: {text}" if code else text)


def _counted(spec: PodSpec, profile: Profile) -> PodSpec:
    """Return the spec as the profile counts it: without the containers that do not count, limits as requests."""
    return replace(
        spec,
        containers=[_as_counted(one, profile) for one in spec.containers],
        init_containers=[_as_counted(one, profile) for one in spec.init_containers or ()] or None,
    )


def _as_counted(container: Container, profile: Profile) -> Container:
    """Return a container with the requests that count, so that upstream's rule for the sum need not be told twice."""
    if profile.ignore_env and any(
        one.name == profile.ignore_env and one.value.upper() == "TRUE" for one in container.env or ()
    ):
        return replace(container, resources=None)
    resources = container.resources
    if profile.counts != "limits" or resources is None or not resources.limits:
        return container
    return replace(container, resources=replace(resources, requests={**(resources.requests or {}), **resources.limits}))


def _gib(memory: int) -> str:
    return f"{memory / GIB:g}"
