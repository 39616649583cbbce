"""The probes of one attempt: when each is due, how often in a row it went the same way (prober/worker.go). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.events import Outcome, ProbeKind

if TYPE_CHECKING:
    from provider.cloud.instances.events import Probed
    from provider.model.probe import Probe
    from provider.model.request import ContainerSpec


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


class ProbeSet:
    """All probes of a container; nothing is due before `begin`, nor after `end`."""

    __slots__ = ("_spec", "_tracks")

    def __init__(self, spec: ContainerSpec) -> None:
        self._spec = spec
        self._tracks: dict[ProbeKind, ProbeTrack] = {}

    def begin(self, begun: float, not_before: float = 0.0, spread: float = 0.0) -> None:
        """Begin anew with an attempt that has run since `begun`.

        After a restart of the process no probe is due before `not_before` and a part (0 to 1) of its period.
        """
        spec = self._spec
        probes = (
            (ProbeKind.STARTUP, spec.startup),
            (ProbeKind.LIVENESS, spec.liveness),
            (ProbeKind.READINESS, spec.readiness),
        )
        self._tracks = {
            kind: ProbeTrack(kind, probe, max(begun + probe.initial_delay, not_before + probe.period * spread))
            for kind, probe in probes
            if probe is not None
        }

    def end(self) -> None:
        """Take note that the attempt has ended."""
        self._tracks = {}

    def due(self, now: float, *, started: bool, stopping: bool) -> list[ProbeKind]:
        """Return the probes to run now, and take them as begun.

        Liveness and readiness wait for startup; while the container is being stopped only readiness goes on.
        """
        found = []
        for track in self._active(started, stopping):
            if track.due <= now:
                track.begin(now)
                found.append(track.kind)
        return found

    def next(self, *, started: bool, stopping: bool) -> float | None:
        """Return when the next probe is due."""
        return min((track.due for track in self._active(started, stopping)), default=None)

    def absorb(self, result: Probed, now: float) -> bool | None:
        """Take a result; return the verdict if there is one."""
        track = self._tracks.get(result.kind)
        verdict = None if track is None else track.absorb(result, now)
        if track is not None and verdict is not None and result.kind is not ProbeKind.READINESS:
            track.held = result.kind is ProbeKind.STARTUP or not verdict
        return verdict

    def _active(self, started: bool, stopping: bool) -> list[ProbeTrack]:  # noqa: FBT001 - the two named flags above
        return [
            track
            for kind, track in self._tracks.items()
            if not track.running
            and not track.held
            and (kind is ProbeKind.STARTUP) is not started
            and (kind is ProbeKind.READINESS or not stopping)
        ]
