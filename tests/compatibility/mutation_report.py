"""Writes what became of the mutated pods: a table with one verdict each, and what differs with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.compatibility.mutation import DROP
from tests.compatibility.mutation_reasons import reason_of
from tests.compatibility.verdicts import API, differing, refused_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.compatibility.compare import Difference
    from tests.compatibility.mutation import Mutation
    from tests.compatibility.verdicts import Verdict

__all__ = ["HEADING", "VERDICTS", "joined", "mutation_part", "section", "unexplained"]

VERDICTS = Path("tests/compatibility/mutations.json")
"""All verdicts: node (`stock`, `virtual`) -> mutation -> verdict."""
_SHOWN = 4
"""Fields that are told with their values, of those with one reason."""
HEADING = "# A valid pod, changed in one field"
_HEAD = """\
{heading}

Written by `python -m tests.compatibility --mutations` on {taken}; do not edit.

One pod that uses most fields (`tests/compatibility/mutation.py`) is changed {count} times, each time so that a field
means something wrong or odd, and run on the stock node and on a virtual one. Compared are phase, reason, message, all
conditions, all states of containers, the reasons of events and the messages of warnings; addresses, IDs and times are
not. `failed to create containerd task: `, which containerd puts before the words of runc, is left out. The stock node's
verdicts are kept in `tests/compatibility/mutations.json`, and an end-to-end test holds virtual nodes to them.

**{same} are the same, {refused} are refused here by name, {differ} differ for a reason that is told below, {api} are
refused by the API server already.**
"""


def unexplained(mutation: Mutation, stock: Verdict, virtual: Verdict) -> list[Difference]:
    """Return the differences that have no reason: defects. A pod that is refused by name has none."""
    if mutation.refused:
        return [] if refused_at(virtual, mutation.refused) else differing(stock, virtual)
    return [each for each in differing(stock, virtual) if not reason_of(mutation.name, each)]


def section(
    mutations: Sequence[Mutation], stock: Mapping[str, Verdict], virtual: Mapping[str, Verdict], taken: str
) -> str:
    """Return the document's part about mutations; `taken` is date and commit."""
    rows, details = [], []
    counts = {"same": 0, "refused": 0, "differ": 0, "api": 0}
    for each in mutations:
        left, right = stock[each.name], virtual[each.name]
        kind, words = _kind(each, left, right)
        counts[kind] += 1
        rows.append(f"| `{each.name}` | {_changes(each)} | {_told(left)} | {words} |")
        if kind == "differ":
            details += ["", *_detail(each, left, right)]
    head = _HEAD.format(heading=HEADING, taken=taken, count=len(mutations), **counts)
    table = ["| mutation | what is changed | stock node | virtual node |", "|---|---|---|---|", *rows]
    return "\n".join([head, *table, "", "## What differs after a mutation, and why", *details, ""])


def joined(document: str, part: str) -> str:
    """Return the document with its part about mutations replaced, or added."""
    return f"{document.partition(HEADING)[0].rstrip()}\n\n{part}".rstrip() + "\n"


def mutation_part(document: str) -> str:
    """Return the document's part about mutations, empty if it has none."""
    _, heading, part = document.partition(HEADING)
    return heading + part


def _kind(mutation: Mutation, stock: Verdict, virtual: Verdict) -> tuple[str, str]:
    if API in stock:
        return "api", "the API server's"
    found = differing(stock, virtual)
    if not found:
        return "same", "same"
    if mutation.refused and refused_at(virtual, mutation.refused):
        return "refused", f"refused: `{virtual.get('reason')}`, `{mutation.refused}`"
    paths = dict.fromkeys(each.path.partition("[")[0].partition(".")[0] for each in found)
    return "differ", f"differs ({', '.join(paths)})"


def _told(verdict: Verdict) -> str:
    if API in verdict:
        return f"refused by the API server: {verdict[API]}"
    words = [verdict["phase"], verdict.get("reason", "")]
    for kind in ("initContainerStatuses", "containerStatuses"):
        words += [text for path, text in verdict.items() if path.startswith(kind) and path.endswith("g.reason")]
        words += [
            text for path, text in verdict.items() if path.startswith(kind) and path.endswith("state.terminated.reason")
        ]
    return " ".join(dict.fromkeys(word for word in words if word))


def _changes(mutation: Mutation) -> str:
    parts = []
    for path, value in mutation.changes.items():
        if value == DROP:
            continue
        parts.append(f"`{path.replace('~1', '/')}`: `{_short(json.dumps(value), 60)}`")
    return "; ".join(parts) or ("nothing" if not mutation.changes else "fields left out")


def _detail(mutation: Mutation, stock: Verdict, virtual: Verdict) -> list[str]:
    lines = [f"### `{mutation.name}`"]
    reasons: dict[str, list[Difference]] = {}
    for each in differing(stock, virtual):
        reasons.setdefault(reason_of(mutation.name, each) or "**not explained: a defect**", []).append(each)
    for reason, found in reasons.items():
        lines.append(f"- {reason}")
        lines += [
            f"  - `{each.path}`: stock `{_short(each.stock)}`, virtual `{_short(each.virtual)}`"
            for each in found[:_SHOWN]
        ]
        if len(found) > _SHOWN:
            lines.append(f"  - and {len(found) - _SHOWN} more fields")
    return lines


def _short(value: str, most: int = 160) -> str:
    text = value.replace("\n", "\\n").replace("`", "'").replace("|", "\\|")
    return text if len(text) <= most else f"{text[: most - 3]}..."
