"""One container of an instance: its attempts, back-off and probes. Pure, mutable, owned by the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provider.cloud.instances.backoff import INITIAL_BACKOFF, LONGEST_BACKOFF, RestartBackoff
from provider.cloud.instances.container_steps import BUSY, RUNS, Farewell, Step
from provider.cloud.instances.endings import ended_state, lost_state, restarts_after
from provider.cloud.instances.events import ProbeKind
from provider.cloud.instances.instructions import RunProbe
from provider.cloud.instances.probing import ProbeSet
from provider.cloud.instances.snapshot import ContainerSnapshot
from provider.cloud.instances.wording import (
    CRASH_LOOP,
    POST_START_ERROR,
    PULL_BACKOFF,
    UNKNOWN_REASON,
    crash_backoff,
    pull_backoff,
)
from provider.model.instance import ContainerPhase, ContainerState, ContainerStatus
from provider.model.request import ContainerKind, ContainerSpec, RestartPolicy

if TYPE_CHECKING:
    from provider.cloud.instances.events import Probed
    from provider.model.attempt import SeenContainer

FAULT_RETRY = 10.0
"""Seconds to the next try of anything but a pull (kubelet.go backOffPeriod)."""
FAULT_SHOWN = 1.0
"""Seconds after which ErrImagePull becomes ImagePullBackOff; the kubelet's next sync."""
LEAST_GRACE = 2.0
"""Seconds that a container gets at least between SIGTERM and SIGKILL (kubelet: minimumGracePeriodInSeconds)."""


class ContainerProgress:
    """A container's life over all its attempts."""

    __slots__ = (
        "_backoff",
        "_fault_backoff",
        "_greeted",
        "_pod",
        "_probes",
        "attempt",
        "begun_at",
        "digest",
        "farewell",
        "hook_error",
        "image_id",
        "killed",
        "last",
        "last_attempt",
        "policy",
        "ready",
        "retry_at",
        "shown_at",
        "shown_attempt",
        "spec",
        "started",
        "state",
        "step",
        "stop_by",
    )

    def __init__(self, spec: ContainerSpec, policy: RestartPolicy, waiting: str, pod: str) -> None:
        """Begin with nothing; `pod` is how messages name the pod (wording.pod_text)."""
        self.spec = spec
        self.policy = policy if spec.restart_policy is None else spec.restart_policy
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
        self.begun_at: float | None = None
        self.hook_error = ""
        """how the postStart hook of the attempt failed."""
        self.farewell = Farewell.NONE
        self.stop_by: float | None = None
        """when SIGKILL is due at the latest, once the attempt is being stopped."""
        self._pod = pod
        self._greeted = ""
        self.shown_attempt = 0
        self.last_attempt = 0
        self._backoff = RestartBackoff()
        self.killed = False
        """whether a probe has ended the attempt that runs, and the policy lets it start again at once"""
        self._fault_backoff = 0.0
        self._probes = ProbeSet(spec)

    @property
    def name(self) -> str:
        """The container's name."""
        return self.spec.name

    @property
    def busy(self) -> bool:
        """Whether something runs or may be about to run: the sandbox cannot go yet."""
        return self.step in BUSY

    @property
    def runs(self) -> bool:
        """Whether an attempt is known to run, though it may not be shown yet."""
        return self.step in RUNS

    @property
    def stopping(self) -> bool:
        """Whether the attempt is being stopped."""
        return self.farewell is not Farewell.NONE

    @property
    def crash_looping(self) -> bool:
        """Whether it waits for the end of its crash back-off."""
        return self.state.reason == CRASH_LOOP

    @property
    def ever_started(self) -> bool:
        """Whether an attempt has run."""
        return self.last is not None or self.state.phase is not ContainerPhase.WAITING

    @property
    def exit_code(self) -> int | None:
        """Exit code of the newest ended attempt."""
        ended = self.state if self.state.phase is ContainerPhase.TERMINATED else self.last
        return None if ended is None else ended.exit_code

    def wait(self, reason: str, message: str = "") -> None:
        """Show a waiting state; an ended attempt becomes `last`."""
        self._keep_ended()
        self.state = ContainerState(reason=reason, message=message)

    def run(self, seen: SeenContainer, now: float) -> None:
        """Take an attempt that runs."""
        if self.runs and self.attempt == seen.attempt:
            return
        greets = self.spec.post_start is not None and self.step in {Step.STARTING, Step.DOUBTFUL}
        self._not_stopping()
        self.digest = self.digest or seen.image_id
        self._fault_backoff = 0.0
        self.begun_at = now if seen.started_at is None else seen.started_at
        if greets:
            self.step, self.attempt, self._greeted = Step.GREETING, seen.attempt, seen.container_id
        else:
            self._show_running(seen.attempt, seen.container_id)

    def greeted(self) -> None:
        """Take the good end of the postStart hook."""
        self._show_running(self.attempt, self._greeted)

    def _show_running(self, attempt: int, container_id: str) -> None:
        begun = self.begun_at or 0.0
        self._keep_ended()
        self.attempt = self.shown_attempt = attempt
        self.step = Step.RUNNING
        self.state = ContainerState(phase=ContainerPhase.RUNNING, started_at=begun, container_id=container_id)
        self._probes.begin(begun)
        self.started = self.spec.startup is None
        self.ready = self.started and self.spec.readiness is None and self.spec.kind is not ContainerKind.INIT

    def is_stale(self, seen: SeenContainer) -> bool:
        """Tell whether an attempt that is said to run is known to have ended: the answer was overtaken by a newer one.

        One that was only missing (ContainerStatusUnknown) and turns up is no old news.
        """
        if seen.attempt != self.attempt:
            return seen.attempt < self.attempt
        return self.step is Step.DONE and self.state.reason != UNKNOWN_REASON

    def end(self, seen: SeenContainer, now: float, *, restart: bool) -> None:
        """Take the end of the attempt; with `restart`, the next one is due by the crash back-off, the first at once."""
        begun = self.begun_at
        if begun is None and self.state.phase is ContainerPhase.RUNNING:
            begun = self.state.started_at
        ended = ended_state(seen, begun, now)
        self.digest = self.digest or seen.image_id
        self.finish(ended, restart=restart)

    def vanish(self, now: float, *, restart: bool) -> None:
        """Take the loss of an attempt that ran: its exit code is not known, so it is a failure (kubelet_pods.go)."""
        begun = self.begun_at if self.state.started_at is None else self.state.started_at
        ended = lost_state(begun, now, self.state.container_id or self._greeted)
        self.finish(ended, restart=restart)

    def close(self) -> None:
        """At the end of the pod, show an attempt that never came as failed (status_manager.go TerminatePod)."""
        if self.state.phase is ContainerPhase.TERMINATED:
            return
        self.shown_attempt = self.attempt
        self.state = lost_state()

    def run_again(self, waiting: str, now: float) -> None:
        """Begin once more in a new sandbox; what has run gets the next attempt number."""
        if self.step is Step.DONE:
            self.attempt += 1
        self.step, self.retry_at = Step.IDLE, max(self.retry_at, now)
        if not self.crash_looping:
            self.wait(waiting)

    def finish(self, ended: ContainerState, *, restart: bool) -> None:
        """Take an ended state as it is (also one that never ran: StartError)."""
        failed_hook, self.hook_error = self.hook_error, ""
        self._keep_ended()
        self.state, self.shown_attempt = ended, self.attempt
        self._probes.end()
        self.started = False
        self.begun_at = None
        self._not_stopping()
        self.ready = self.spec.kind is ContainerKind.INIT and ended.exit_code == 0
        finished = ended.finished_at or 0.0
        killed, self.killed = self.killed, False
        if not (restart and restarts_after(self.spec, self.policy, ended.exit_code)):
            self.step = Step.DONE
            return
        self.step = Step.IDLE
        self.attempt += 1
        pause = self._backoff.wait(finished, None if self.last is None else self.last.finished_at, killed=killed)
        self.retry_at = finished + pause
        if pause:
            self.wait(CRASH_LOOP, crash_backoff(self.name, self._pod, pause))
        elif failed_hook:
            self.wait(POST_START_ERROR, failed_hook)

    def count_restart(self, now: float) -> None:
        """Lengthen the crash back-off at the start of a later attempt."""
        self._backoff.count(self.attempt, now)

    def fault(self, reason: str, message: str, now: float, *, pull: bool) -> None:
        """Show why it cannot start, and try again: a pull by a growing back-off of its own, the rest every 10 s."""
        self.wait(reason, message)
        self.step = Step.IDLE
        if not pull:
            self.retry_at = now + FAULT_RETRY
            return
        self._fault_backoff = min(max(INITIAL_BACKOFF, self._fault_backoff * 2), LONGEST_BACKOFF)
        self.retry_at = now + self._fault_backoff
        self.shown_at = now + FAULT_SHOWN

    def show_pull_backoff(self) -> None:
        """Turn ErrImagePull into ImagePullBackOff, which keeps the text of the failed pull."""
        self.wait(PULL_BACKOFF, f"{pull_backoff(self.spec.image)}: {self.state.reason}: {self.state.message}")
        self.shown_at = 0.0

    def hold(self, message: str, retry_at: float) -> None:
        """Wait for an engine that is away: a message beside what is shown; no fault of the container."""
        if self.step is Step.STARTING:
            self.step = Step.DOUBTFUL
        elif self.step is Step.PULLING:
            self.step = Step.IDLE
        self.retry_at = retry_at
        if self.state.phase is ContainerPhase.WAITING:
            self.state = ContainerState(reason=self.state.reason, message=message)

    def probes_due(self, now: float) -> list[RunProbe]:
        """Return the probes to run now."""
        if self.step is not Step.RUNNING:
            return []
        due = self._probes.due(now, started=self.started, stopping=self.stopping)
        return [RunProbe(self.name, self.attempt, kind) for kind in due]

    def next_probe(self) -> float | None:
        """Return when the next probe is due."""
        if self.step is not Step.RUNNING:
            return None
        return self._probes.next(started=self.started, stopping=self.stopping)

    def probed(self, result: Probed, now: float) -> bool:
        """Take a result; True: the container has to be killed."""
        if result.attempt != self.attempt or self.step is not Step.RUNNING:
            return False
        verdict = self._probes.absorb(result, now)
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
            # The kubelet tells it of a container, not of an image that is there for one.
            image_id=self.digest if self.ever_started else "",
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
            crash_backoff=self._backoff.seconds,
            crash_updated=self._backoff.updated,
            crash_event=self._backoff.event,
            counted=self._backoff.counted,
            fault_backoff=self._fault_backoff,
            shown_attempt=self.shown_attempt,
            last_attempt=self.last_attempt,
        )

    def restore(self, saved: ContainerSnapshot, now: float, spread: float) -> None:
        """Take the history back; an act that was under way is asked for again.

        Probes begin anew at a moment of their period that `spread` (0 to 1) chooses, so that a restart of the process
        does not run the probes of all instances at once (prober/worker.go does the same).
        """
        step = Step(saved.step)
        self.step = step if step in {Step.RUNNING, Step.DONE} else Step.IDLE
        self.attempt, self.state, self.last = saved.attempt, saved.state, saved.last
        self.ready, self.started = saved.ready, saved.started
        self.image_id, self.digest, self.retry_at = saved.image_id, saved.digest, saved.retry_at
        backoff = self._backoff
        backoff.seconds, backoff.updated, backoff.event = saved.crash_backoff, saved.crash_updated, saved.crash_event
        backoff.counted, self._fault_backoff = saved.counted, saved.fault_backoff
        self.shown_attempt, self.last_attempt = saved.shown_attempt, saved.last_attempt
        if self.step is Step.RUNNING:
            self._probes.begin(self.state.started_at or 0.0, now, spread)

    def _not_stopping(self) -> None:
        self.farewell, self.stop_by = Farewell.NONE, None

    def _keep_ended(self) -> None:
        if self.state.phase is ContainerPhase.TERMINATED:
            self.last, self.last_attempt = self.state, self.shown_attempt
