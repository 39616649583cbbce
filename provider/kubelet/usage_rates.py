"""From counters to rates, and from the counters of instances that come and go to one that only grows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from provider.model.usage import Use

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provider.model.usage import InstanceUsage

Key: TypeAlias = tuple[str, ...]
"""(UID,) for an instance, (UID, container) for one of its containers, () for the node."""

SPAN: Final = 10.0
"""Seconds that a rate is taken over, as near as the samples allow: cAdvisor's housekeeping interval."""
SHORTEST: Final = 1.0


class CpuRates:
    """The recent samples of every counter."""

    def __init__(self) -> None:
        self._samples: dict[Key, list[tuple[float, int]]] = {}

    def rate(self, key: Key, at: float, cpu: int) -> int | None:
        """Take a sample (nanoseconds of CPU) and return nanocores; None before a second of samples is there."""
        samples = self._samples.setdefault(key, [])
        if samples and (cpu < samples[-1][1] or at < samples[-1][0]):
            samples.clear()  # a counter that began anew
        if not samples or at - samples[-1][0] >= SHORTEST:
            samples.append((at, cpu))
        while len(samples) > 1 and at - samples[1][0] >= SPAN:
            del samples[0]
        since, before = samples[0]
        return None if at - since < SHORTEST else int((cpu - before) / (at - since))

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget all others."""
        kept = set(keys)
        self._samples = {key: samples for key, samples in self._samples.items() if key in kept}


class NodeCpu:
    """The CPU of all instances that ever were, as far as they were seen: the sum never falls when one goes."""

    def __init__(self) -> None:
        self._retired = 0
        self._last: dict[str, int] = {}

    def total(self, instances: Sequence[InstanceUsage]) -> int:
        """Return nanoseconds of CPU, these counters being the newest."""
        now = {str(one.uid): one.use.cpu for one in instances}
        self._retired += sum(cpu for uid, cpu in self._last.items() if now.get(uid, -1) < cpu)
        self._last = now
        return self._retired + sum(now.values())


def summed(uses: Sequence[Use], at: float, cpu: int) -> Use:
    """Return the levels of several uses together, with the counter `cpu`."""
    return Use(
        at=at,
        cpu=cpu,
        memory=sum(one.memory for one in uses),
        working_set=sum(one.working_set for one in uses),
        rss=sum(one.rss for one in uses),
        page_faults=sum(one.page_faults for one in uses),
        major_faults=sum(one.major_faults for one in uses),
    )
