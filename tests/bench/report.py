"""The bench's figures as a table, for the terminal and for docs/performance.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.bench.measure import middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.measure import Burst

MIB = 1 << 20


@dataclass(frozen=True)
class Simulated:
    """1,000 pods on the simulated runtime: seconds to the last Running, the provider's CPU seconds, resident bytes."""

    pods: int
    window: float
    p50: float
    cpu: float
    rss_before: int
    rss_after: int


def docker_rows(own: Sequence[Burst], raw: Sequence[Burst], cpu: Sequence[float]) -> list[tuple[str, str, str, str]]:
    """Return rows (figure, zonelet, raw Docker, ratio); medians over the rounds. `cpu`: seconds of the provider a round."""
    pods = len(own[0].latencies)
    rows = [
        ("pods/s", middle(own, "rate"), middle(raw, "rate")),
        ("p50 to Running, s", middle(own, "p50"), middle(raw, "p50")),
        ("last Running, s", middle(own, "window"), middle(raw, "window")),
        ("removal of all, s", middle(own, "removal"), middle(raw, "removal")),
    ]
    table = [(name, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}") for name, ours, theirs in rows]
    per_pod = 1000 * sorted(cpu)[len(cpu) // 2] / pods
    return [*table, ("provider CPU per pod, ms", f"{per_pod:.1f}", "-", "-")]


def simulated_rows(found: Simulated) -> list[tuple[str, str]]:
    """Return rows (figure, value)."""
    return [
        (f"{found.pods} pods to Running, s", f"{found.window:.1f}"),
        ("pods/s", f"{found.pods / found.window:.0f}"),
        ("p50 to Running, s", f"{found.p50:.1f}"),
        ("provider CPU per pod, ms", f"{1000 * found.cpu / found.pods:.2f}"),
        ("provider RSS, MiB (before, after)", f"{found.rss_before / MIB:.0f}, {found.rss_after / MIB:.0f}"),
    ]


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
