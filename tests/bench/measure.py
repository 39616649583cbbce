"""Figures of one burst, and the CPU and memory of processes, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Burst:
    """`latencies`: seconds from each pod's creation to Running; `window`: from the first creation to the last Running.

    `cpu` and `rss`: seconds that the provider used in the window, and its resident bytes at the end of it.
    """

    latencies: Sequence[float]
    window: float
    removal: float
    cpu: float = 0.0
    rss: int = 0

    @property
    def rate(self) -> float:
        """Pods a second over the window."""
        return len(self.latencies) / self.window

    @property
    def p50(self) -> float:
        """Median of the latencies, seconds."""
        return median(self.latencies)


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the process began, and resident bytes now."""

    cpu: float
    rss: int


def usage(pid: int) -> Usage:
    """Return a process's own usage (proc(5): utime and stime, fields 14 and 15 of stat; resident pages of statm)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, resident * _PAGE)


def middle(bursts: Iterable[Burst], what: str) -> float:
    """Return the median over the rounds of one of a burst's figures."""
    return median(getattr(each, what) for each in bursts)
