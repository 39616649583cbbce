"""One probe of one attempt: when it is due, how often in a row it went the same way (prober/worker.go). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.events import Outcome

if TYPE_CHECKING:
    from provider.cloud.instances.events import Probed, ProbeKind
    from provider.model.instance import Probe


class ProbeTrack:
    """Counts results; a verdict comes with the threshold."""

    __slots__ = ("_last", "_next", "_streak", "due", "held", "kind", "probe", "running")

    def __init__(self, kind: ProbeKind, probe: Probe, due: float) -> None:
        self.kind = kind
        self.probe = probe
        self.due = due
        self.running = False
        self.held = False
        """A liveness failure or a startup verdict was given: no further run until the next attempt."""
        self._next = due
        self._streak = 0
        self._last: bool | None = None

    def begin(self, now: float) -> None:
        """Take note that a run begins; the next one is due a period later, whatever this one takes (time.Ticker)."""
        self.running = True
        self._next = now + self.probe.period

    def absorb(self, result: Probed, now: float) -> bool | None:
        """Return the verdict once the threshold is reached, None before; a probe that could not run counts nothing."""
        self.running = False
        self.due = max(now, self._next)
        if result.outcome is Outcome.ERRORED:
            return None
        success = result.outcome is not Outcome.FAILURE
        self._streak = self._streak + 1 if success is self._last else 1
        self._last = success
        threshold = self.probe.success_threshold if success else self.probe.failure_threshold
        return success if self._streak >= threshold else None
