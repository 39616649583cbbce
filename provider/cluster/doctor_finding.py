"""What the doctor found about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "State"]


class State(StrEnum):
    """ok: in order; note: it works, with the limit that `means` and `advice` tell; missing: it does not work."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: what was found, what it means, and how to get what lacks (empty: nothing)."""

    check: str
    state: State
    found: str
    means: str = ""
    advice: str = ""

    @property
    def ok(self) -> bool:
        """Say whether it works."""
        return self.state is not State.MISSING
