"""The bench's figures as a table, for the terminal and for docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.measure import middle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.measure import Burst

MIB = 1 << 20
_BEGIN, _END = "<!-- tables: written by `make bench` -->", "<!-- end of tables -->"


def docker_rows(own: Sequence[Burst], raw: Sequence[Burst]) -> list[tuple[str, str, str, str]]:
    """Return rows (figure, zonelet, raw Docker, ratio); medians over the rounds."""
    rows = [
        ("pods/s", middle(own, "rate"), middle(raw, "rate")),
        ("p50 to Running, s", middle(own, "p50"), middle(raw, "p50")),
        ("last Running, s", middle(own, "window"), middle(raw, "window")),
        ("removal of all, s", middle(own, "removal"), middle(raw, "removal")),
    ]
    table = [(name, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}") for name, ours, theirs in rows]
    per_pod = 1000 * middle(own, "cpu") / len(own[0].latencies)
    return [*table, ("provider CPU per pod, ms", f"{per_pod:.1f}", "-", "-")]


def simulated_rows(found: Burst, rss_before: int) -> list[tuple[str, str]]:
    """Return rows (figure, value); `rss_before` in bytes, with no pod."""
    count = len(found.latencies)
    return [
        (f"{count} pods to Running, s", f"{found.window:.1f}"),
        ("pods/s", f"{found.rate:.0f}"),
        ("p50 to Running, s", f"{found.p50:.1f}"),
        ("removal of all, s", f"{found.removal:.1f}"),
        ("provider CPU per pod, ms", f"{1000 * found.cpu / count:.2f}"),
        ("provider RSS, MiB: before, with all pods", f"{rss_before / MIB:.0f}, {found.rss / MIB:.0f}"),
    ]


def idle_rows(cpu: float, seconds: float) -> list[tuple[str, str]]:
    """Return rows (figure, value) of a provider that has nothing to do; `cpu` seconds in `seconds`."""
    return [("idle provider with 3 nodes, % of a core", f"{100 * cpu / seconds:.2f}")]


def with_tables(document: str, tables: str) -> str:
    """Return the document with `tables` between its two marks; ValueError when a mark is missing."""
    before, _, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not end:
        raise ValueError(f"the document has no place for the tables: {_BEGIN} … {_END}")
    return f"{before}{_BEGIN}\n{tables}\n{_END}{after}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
