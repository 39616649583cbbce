"""Where a virtual node differs from a stock one on purpose, or for want of a way, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.compatibility.compare import Difference

__all__ = ["KNOWN", "Known", "why"]


@dataclass(frozen=True)
class Known:
    """Fields (a pattern of the whole path) of some cases (a pattern of the whole name) that may differ, and why."""

    cases: str
    fields: str
    reason: str


KNOWN: tuple[Known, ...] = ()


def why(case: str, difference: Difference) -> str:
    """Return the reason of a difference; empty when there is none, so that it is a defect."""
    for each in KNOWN:
        if re.fullmatch(each.cases, case) and re.fullmatch(each.fields, difference.path):
            return each.reason
    return ""
