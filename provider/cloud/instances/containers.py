"""One container of an instance: its attempts, back-off and probes. Pure, mutable, owned by the machine."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from provider.cloud.instances.events import Probed, ProbeKind
from provider.cloud.instances.instructions import RunProbe
from provider.cloud.instances.snapshot import ContainerSnapshot
from provider.model.instance import (
    ContainerKind,
    ContainerPhase,
    ContainerSpec,
    ContainerState,
    ContainerStatus,
    RestartPolicy,
)

if TYPE_CHECKING:
    from provider.model.attempt import SeenContainer
    from provider.model.instance import Probe

INITIAL_BACKOFF = 10.0
LONGEST_BACKOFF = 300.0
BACKOFF_RESET = 600.0
"""kubelet: twice the longest back-off without a restart forgets the history (client-go util/flowcontrol/backoff.go)."""
FAULT_SHOWN = 1.0
"""Seconds after which ErrImagePull becomes ImagePullBackOff; the kubelet's next sync."""
SIGNAL_BASE = 128


class Step(StrEnum):
    """Where a container stands; in PULLING and STARTING an instruction is under way."""

    IDLE = "idle"
    PULLING = "pulling"
    PULLED = "pulled"
    STARTING = "starting"
    RUNNING = "running"
    DONE = "done"


class ProbeTrack:
    """One probe of one attempt: when it is due and how often it went the same way."""

    def __init__(self, kind: ProbeKind, probe: Probe, started_at: float) -> None:
        self.kind = kind
        self.probe = probe
        self.due = started_at + probe.initial_delay
        self.running = False
        self._streak = 0
        self._last: bool | None = None

    def absorb(self, result: Probed, now: float) -> bool | None:
        """Return the verdict once the threshold is reached, None before."""
        self.running = False
        self.due = now + self.probe.period
        self._streak = self._streak + 1 if result.success is self._last else 1
        self._last = result.success
        threshold = self.probe.success_threshold if result.success else self.probe.failure_threshold
        return result.success if self._streak >= threshold else None


class ContainerProgress:
    """A container's life over all its attempts."""

    def __init__(self, spec: ContainerSpec, policy: RestartPolicy, waiting: str) -> None:
        self.spec = spec
        self.policy = policy
        self.step = Step.IDLE
        self.attempt = 0
        self.state = ContainerState(reason=waiting)
        self.last: ContainerState | None = None
        self.ready = False
        self.started = False
        self.image_id = ""
        self.digest = ""
        self.retry_at = 0.0
        self.shown_at = 0.0
        self.stop_by: float | None = None
        self._crash_backoff = 0.0
        self._crash_updated = 0.0
        self._counted = 0
        self._fault_backoff = 0.0
        self._probes: dict[ProbeKind, ProbeTrack] = {}

    @property
    def name(self) -> str:
        """The container's name."""
        return self.spec.name

    @property
    def busy(self) -> bool:
        """Whether something runs or may be about to run: the sandbox cannot go yet."""
        return self.step in {Step.STARTING, Step.RUNNING}

    @property
    def ever_started(self) -> bool:
        """Whether an attempt has run."""
        return self.last is not None or self.state.phase is not ContainerPhase.WAITING

    @property
    def exit_code(self) -> int | None:
        """Exit code of the newest ended attempt."""
        ended = self.state if self.state.phase is ContainerPhase.TERMINATED else self.last
        return None if ended is None else ended.exit_code

    def restarts_after(self, exit_code: int) -> bool:
        """Kubelet's ShouldContainerBeRestarted; init containers treat Always as OnFailure."""
        if self.spec.kind is ContainerKind.SIDECAR:
            return True
        if self.policy is RestartPolicy.NEVER:
            return False
        if self.policy is RestartPolicy.ON_FAILURE or self.spec.kind is ContainerKind.INIT:
            return exit_code != 0
        return True

    def wait(self, reason: str, message: str = "") -> None:
        """Show a waiting state; an ended attempt becomes `last`."""
        if self.state.phase is ContainerPhase.TERMINATED:
            self.last = self.state
        self.state = ContainerState(reason=reason, message=message)

    def run(self, seen: SeenContainer, now: float) -> None:
        """Take an attempt that runs."""
        if self.step is Step.RUNNING and self.attempt == seen.attempt:
            return
        if self.state.phase is ContainerPhase.TERMINATED:
            self.last = self.state
        self.attempt = seen.attempt
        self.step = Step.RUNNING
        begun = now if seen.started_at is None else seen.started_at
        self.state = ContainerState(phase=ContainerPhase.RUNNING, started_at=begun, container_id=seen.container_id)
        self._fault_backoff = 0.0
        self._arm(begun)
        self.started = self.spec.startup is None
        self.ready = self.started and self.spec.readiness is None and self.spec.kind is not ContainerKind.INIT

    def end(self, seen: SeenContainer, now: float, *, restart: bool) -> None:
        """Take the end of the attempt; with `restart`, the next one is due by the crash back-off, the first at once."""
        finished = now if seen.finished_at is None else seen.finished_at
        reason = "OOMKilled" if seen.oom_killed else "Completed" if seen.exit_code == 0 else "Error"
        self.finish(
            ContainerState(
                phase=ContainerPhase.TERMINATED,
                reason=reason,
                message=seen.message,
                started_at=seen.started_at if seen.started_at is not None else self.state.started_at,
                finished_at=finished,
                exit_code=seen.exit_code,
                signal=0,
                container_id=seen.container_id,
            ),
            restart=restart,
        )

    def finish(self, ended: ContainerState, *, restart: bool) -> None:
        """Take an ended state as it is (also one that never ran: StartError)."""
        self.state = ended
        self._probes = {}
        self.started = False
        self.stop_by = None
        self.ready = self.spec.kind is ContainerKind.INIT and ended.exit_code == 0
        finished = ended.finished_at or 0.0
        if not (restart and self.restarts_after(ended.exit_code)):
            self.step = Step.DONE
            return
        self.step = Step.IDLE
        self.attempt += 1
        if finished - self._crash_updated > BACKOFF_RESET:
            self._crash_backoff = 0.0
        self.retry_at = finished + self._crash_backoff
        if self._crash_backoff:
            self.wait("CrashLoopBackOff", f"back-off {self._crash_backoff:g}s restarting failed container={self.name}")

    def count_restart(self, now: float) -> None:
        """Lengthen the crash back-off at the start of a later attempt: 10 s doubling to 300 s."""
        if self.attempt > self._counted:
            self._counted = self.attempt
            self._crash_backoff = min(max(INITIAL_BACKOFF, self._crash_backoff * 2), LONGEST_BACKOFF)
            self._crash_updated = now

    def fault(self, reason: str, message: str, now: float) -> None:
        """Show why the container cannot start, and try again by a back-off of its own."""
        self.wait(reason, message)
        self.step = Step.IDLE
        self._fault_backoff = min(max(INITIAL_BACKOFF, self._fault_backoff * 2), LONGEST_BACKOFF)
        self.retry_at = now + self._fault_backoff
        self.shown_at = now + FAULT_SHOWN

    def probes_due(self, now: float) -> list[RunProbe]:
        """Return the probes to run now; liveness and readiness wait for startup (kubelet prober/worker.go)."""
        due = []
        for track in self._active_probes():
            if track.due <= now:
                track.running = True
                due.append(RunProbe(self.name, self.attempt, track.kind))
        return due

    def next_probe(self) -> float | None:
        """Return when the next probe is due."""
        return min((track.due for track in self._active_probes()), default=None)

    def probed(self, result: Probed, now: float) -> bool:
        """Take a result; True: the container has to be killed."""
        track = self._probes.get(result.kind)
        if track is None or result.attempt != self.attempt or self.step is not Step.RUNNING:
            return False
        verdict = track.absorb(result, now)
        if verdict is None:
            return False
        if result.kind is ProbeKind.READINESS:
            self.ready = verdict
            return False
        if result.kind is ProbeKind.STARTUP and verdict:
            self.started = True
            self.ready = self.spec.readiness is None
        return not verdict

    def probe_grace(self, kind: ProbeKind, default: float) -> float:
        """Return the grace of a kill by this probe."""
        probe = self.spec.startup if kind is ProbeKind.STARTUP else self.spec.liveness
        return default if probe is None or probe.grace is None else probe.grace

    def status(self) -> ContainerStatus:
        """Return the description of now."""
        restarts = self.attempt if self.ever_started and self.step in {Step.RUNNING, Step.DONE} else self.attempt - 1
        return ContainerStatus(
            name=self.name,
            kind=self.spec.kind,
            state=self.state,
            last=self.last,
            restarts=max(0, restarts),
            ready=self.ready,
            started=self.started,
            image=self.spec.image,
            image_id=self.digest,
        )

    def snapshot(self) -> ContainerSnapshot:
        """Return what outlives the process."""
        return ContainerSnapshot(
            step=self.step,
            attempt=self.attempt,
            state=self.state,
            last=self.last,
            ready=self.ready,
            started=self.started,
            image_id=self.image_id,
            digest=self.digest,
            retry_at=self.retry_at,
            crash_backoff=self._crash_backoff,
            crash_updated=self._crash_updated,
            counted=self._counted,
            fault_backoff=self._fault_backoff,
        )

    def restore(self, saved: ContainerSnapshot) -> None:
        """Take the history back; an act that was under way is asked for again."""
        step = Step(saved.step)
        self.step = step if step in {Step.RUNNING, Step.DONE} else Step.IDLE
        self.attempt, self.state, self.last = saved.attempt, saved.state, saved.last
        self.ready, self.started = saved.ready, saved.started
        self.image_id, self.digest, self.retry_at = saved.image_id, saved.digest, saved.retry_at
        self._crash_backoff, self._crash_updated = saved.crash_backoff, saved.crash_updated
        self._counted, self._fault_backoff = saved.counted, saved.fault_backoff
        if self.step is Step.RUNNING:
            self._arm(self.state.started_at or 0.0)

    def _arm(self, begun: float) -> None:
        probes = {
            ProbeKind.STARTUP: self.spec.startup,
            ProbeKind.LIVENESS: self.spec.liveness,
            ProbeKind.READINESS: self.spec.readiness,
        }
        self._probes = {k: ProbeTrack(k, p, begun) for k, p in probes.items() if p is not None}

    def _active_probes(self) -> list[ProbeTrack]:
        if self.step is not Step.RUNNING or self.stop_by is not None:
            return []
        return [
            track
            for kind, track in self._probes.items()
            if not track.running and (kind is ProbeKind.STARTUP) is not self.started
        ]
