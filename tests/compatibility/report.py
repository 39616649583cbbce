"""Writes the comparison as a document: per pod what agrees, what differs, and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.compatibility.compare import fields
from tests.compatibility.known import why

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.compatibility.compare import Difference
    from tests.compatibility.run import Result

_HEAD = """\
# Statuses, compared with the stock kubelet's

Written by `python -m tests.compatibility` on {taken}; do not edit.

The same {count} pods run on an upstream kubelet {kubelet} with {runtime} and on a virtual node, in one cluster at the
same time. Each pod's whole `status` (conditions, phase, reason, message, every container's) is taken at the same moment
of its life and compared field by field. Not compared are addresses, IDs, times, node names, UIDs and namespaces; that
they are there is. Left out are `docker.io/` and `docker.io/library/` in image names, which containerd writes in full, and
a limit of 9007199254740988Ki, by which the stock kubelet now and then says that a cgroup of v1 has none.

**{agreeing} of {count} pods agree in every field; of all {all_fields} fields {same} are the same.**
"""


UNEXPLAINED = "**not explained: a defect**"
MANY = 6
"""Fields with one reason that are told together."""


def document(results: Sequence[Result], taken: str, kubelet: str, runtime: str) -> str:
    """Return the document; `taken` is date and commit."""
    rows, details = [], []
    total = differing = 0
    for each in results:
        seen = set(fields(each.stock)) | set(fields(each.virtual))
        found = each.differences
        total, differing = total + len(seen), differing + len(found)
        verdict = "agrees" if not found else f"{len(found)} {'differs' if len(found) == 1 else 'differ'}"
        rows.append(f"| `{each.case.name}` | {each.case.shows} | {told(each)} | {len(seen)} | {verdict} |")
        if found or each.late:
            details += ["", *_detail(each)]
    head = _HEAD.format(
        taken=taken, count=len(results), kubelet=kubelet, runtime=runtime, all_fields=total, same=total - differing,
        agreeing=sum(1 for each in results if not each.differences),
    )  # fmt: skip
    table = ["| pod | what it is | stock node's status | fields | virtual node |", "|---|---|---|---|---|", *rows]
    parts = [head, *table]
    if details:
        parts += ["", "## What differs, and why", *details]
    return "\n".join([*parts, ""])


def told(result: Result) -> str:
    """Return what the stock node says of the pod in a few words: phase, and the first reason given."""
    status = result.stock.get("status") or {}
    reasons = [str(status["reason"])] if status.get("reason") else []
    for each in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        reasons += [str(state["reason"]) for state in each["state"].values() if state.get("reason")]
    return " ".join([str(status.get("phase")), *reasons[:1]])


def _detail(result: Result) -> list[str]:
    lines = [f"### `{result.case.name}`: {result.case.shows}"]
    lines += [f"- the {node} node did not come to this moment in time" for node in result.late]
    reasons: dict[str, list[Difference]] = {}
    for each in result.differences:
        reasons.setdefault(why(result.case.name, each) or UNEXPLAINED, []).append(each)
    for reason, found in reasons.items():
        lines.append(f"- {reason}")
        if len(found) > MANY and reason != UNEXPLAINED:
            roots = dict.fromkeys(re.sub(r"\[.*", "", each.path.partition(".")[0]) for each in found)
            lines.append(f"  - {len(found)} fields of {', '.join(f'`{root}`' for root in roots)}")
        else:
            lines += [
                f"  - `{each.path}`: stock `{_short(each.stock)}`, virtual `{_short(each.virtual)}`" for each in found
            ]
    return lines


def _short(value: str) -> str:
    text = value.replace("\n", "\\n").replace("`", "'")
    return text if len(text) <= 160 else f"{text[:157]}..."
