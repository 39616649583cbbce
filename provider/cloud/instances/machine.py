"""The instance's state machine: pure. `handle(event, now)` returns what to do; every outcome comes back as an event.

Order (KEP-753 sidecars, kubelet computePodActions): place, sandbox, then init containers and sidecars in their order,
a sidecar holds the next until it has started; then all app containers together. At the end the app containers and a
running init container stop together, then the sidecars one by one in reverse; then the sandbox is released.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from provider.cloud.instances.containers import SIGNAL_BASE, ContainerProgress, Step
from provider.cloud.instances.events import (
    DeleteRequested,
    Event,
    Faulted,
    ImageReady,
    Observed,
    Placed,
    Probed,
    Released,
    SandboxReady,
    Stage,
    Tick,
)
from provider.cloud.instances.instructions import (
    CreateSandbox,
    EnsureImage,
    Instruction,
    Place,
    ReleaseSandbox,
    RemoveAttempt,
    StartContainer,
    StopContainer,
    Tell,
)
from provider.cloud.instances.snapshot import MachineSnapshot
from provider.model.attempt import SeenContainer
from provider.model.instance import ContainerKind, ContainerPhase, ContainerState, Instance, InstancePhase

if TYPE_CHECKING:
    from provider.model.ids import InstanceId, VSwitchId
    from provider.model.instance import InstanceRequest

SIDECAR_GRACE = 2.0
"""Seconds that a sidecar gets at least (kubelet: minimumGracePeriodInSeconds)."""
UNAVAILABLE = "Unavailable"
START_ERROR = "StartError"
IMAGE_PULL = "ErrImagePull"


class InstanceMachine:
    """One instance. Not safe to enter twice at a time: the supervisor feeds it serially."""

    def __init__(self, request: InstanceRequest, instance_id: InstanceId, created_at: float) -> None:
        self.request = request
        self._id = instance_id
        self._created_at = created_at
        has_init = any(spec.kind is not ContainerKind.APP for spec in request.containers)
        waiting = "PodInitializing" if has_init else "ContainerCreating"
        self._containers = {
            spec.name: ContainerProgress(spec, request.restart_policy, waiting) for spec in request.containers
        }
        self._vswitch: VSwitchId | None = None
        self._address: str | None = None
        self._placed_at: float | None = None
        self._sandbox_at: float | None = None
        self._initialized_at: float | None = None
        self._finished_at: float | None = None
        self._deletion_at: float | None = None
        self._grace: float | None = None
        self._stop_by: float | None = None
        self._reason = ""
        self._message = ""
        self._failed = False
        self._acting: Stage | None = None
        self._retry_at = 0.0
        self._released = False

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event and return what to do now, in order. Raises nothing for an event that comes late."""
        instructions: list[Instruction] = []
        self._absorb(event, now, instructions)
        if not self._released:
            self._advance(now, instructions)
        self.validate()
        return instructions

    def wake_at(self) -> float | None:
        """Return when a Tick is due at the latest, None: no timer is needed."""
        if self._released:
            return None
        times = [self._retry_at] if self._retry_at and self._acting is None else []
        if self._ending:
            return min(times, default=None)
        if self._deadline is not None:
            times.append(self._deadline)
        for one in self._containers.values():
            if one.step is Step.IDLE and one.retry_at:
                times.append(one.shown_at if one.state.reason == IMAGE_PULL else one.retry_at)
            probe = one.next_probe()
            if probe is not None:
                times.append(probe)
        return min(times, default=None)

    def instance(self, revision: int = 0) -> Instance:
        """Describe the instance as it is now."""
        request = self.request
        return Instance(
            uid=request.uid,
            id=self._id,
            zone=request.zone,
            name=request.name,
            namespace=request.namespace,
            phase=self.phase(),
            reason=self._reason,
            message=self._message,
            vswitch=self._vswitch,
            address=self._address,
            cpu=request.cpu,
            memory=request.memory,
            market=request.market,
            created_at=self._created_at,
            placed_at=self._placed_at,
            sandbox_ready_at=self._sandbox_at,
            initialized_at=self._initialized_at,
            finished_at=self._finished_at,
            deletion_requested_at=self._deletion_at,
            grace=self._grace,
            released=self._released,
            containers=tuple(one.status() for one in self._containers.values()),
            revision=revision,
        )

    def snapshot(self) -> MachineSnapshot:
        """Return what outlives the process; the journal keeps it beside the request."""
        return MachineSnapshot(
            id=self._id,
            created_at=self._created_at,
            containers={name: one.snapshot() for name, one in self._containers.items()},
            vswitch=self._vswitch,
            address=self._address,
            placed_at=self._placed_at,
            sandbox_at=self._sandbox_at,
            initialized_at=self._initialized_at,
            finished_at=self._finished_at,
            deletion_at=self._deletion_at,
            grace=self._grace,
            stop_by=self._stop_by,
            reason=self._reason,
            message=self._message,
            failed=self._failed,
            released=self._released,
        )

    @classmethod
    def restore(cls, request: InstanceRequest, saved: MachineSnapshot) -> Self:
        """Return the machine as it was; feed it a complete Observed before anything else."""
        machine = cls(request, saved.id, saved.created_at)
        for name, one in saved.containers.items():
            machine._containers[name].restore(one)
        machine._vswitch = saved.vswitch
        machine._address = saved.address
        machine._placed_at = saved.placed_at
        machine._sandbox_at = saved.sandbox_at
        machine._initialized_at = saved.initialized_at
        machine._finished_at = saved.finished_at
        machine._deletion_at = saved.deletion_at
        machine._grace = saved.grace
        machine._stop_by = saved.stop_by
        machine._reason = saved.reason
        machine._message = saved.message
        machine._failed = saved.failed
        machine._released = saved.released
        return machine

    def phase(self) -> InstancePhase:
        """Kubelet's getPhase, in ECI's words; terminal only once nothing runs any more."""
        if self._released or (self._ending and not any(one.busy for one in self._containers.values())):
            apps_ok = all(one.step is Step.DONE and one.exit_code == 0 for one in self._apps)
            return InstancePhase.SUCCEEDED if apps_ok and not self._failed else InstancePhase.FAILED
        if self._placed_at is None:
            return InstancePhase.SCHEDULING
        if self._initialized_at is None or not all(one.ever_started for one in self._apps):
            return InstancePhase.PENDING
        return InstancePhase.RUNNING

    def validate(self) -> None:
        """Check what must hold between events; AssertionError is a bug of this module."""
        busy = [one.name for one in self._containers.values() if one.busy]
        checks = (
            (not (self._released and busy), f"released while {busy} may run"),
            (not busy or self._sandbox_at is not None, f"{busy} without a sandbox"),
            (self._sandbox_at is None or self._address is not None, "a sandbox without an address"),
            (
                self._initialized_at is not None or not any(one.ever_started for one in self._apps),
                "an app container before the end of init",
            ),
        )
        for holds, text in checks:
            if not holds:
                raise AssertionError(f"{self.request.uid}: {text}")

    # ------------------------------------------------------------------ events

    def _absorb(self, event: Event, now: float, out: list[Instruction]) -> None:
        match event:
            case Placed(vswitch, address):
                self._acting, self._reason, self._message = None, "", ""
                self._vswitch, self._address, self._placed_at, self._retry_at = vswitch, address, now, 0.0
            case SandboxReady():
                self._acting, self._sandbox_at, self._retry_at = None, now, 0.0
            case ImageReady(name, image_id, digest):
                one = self._containers[name]
                if one.step is Step.PULLING:
                    one.step, one.image_id, one.digest = Step.PULLED, image_id, digest
            case Faulted():
                self._faulted(event, now, out)
            case Observed():
                self._observed(event, now)
            case Probed():
                self._probed(event, now, out)
            case DeleteRequested(grace):
                self._deletion_at = now if self._deletion_at is None else self._deletion_at
                self._grace = grace if self._grace is None else min(grace, self._grace)
                self._stop_by = min(now + grace, self._stop_by or now + grace)
            case Released():
                self._acting = None
                # An attempt that turned up meanwhile is stopped first; the release is then asked for again.
                if not any(one.busy for one in self._containers.values()):
                    self._released, self._finished_at = True, now
            case Tick():
                pass

    def _faulted(self, event: Faulted, now: float, out: list[Instruction]) -> None:
        one = self._containers.get(event.container)
        if one is None:
            self._acting, self._retry_at = None, now + event.retry_after
            if event.stage is Stage.PLACE:
                self._reason, self._message = event.reason, event.message
        elif event.reason == UNAVAILABLE:
            one.step, one.retry_at = Step.IDLE, now + event.retry_after
        elif event.stage is Stage.START and event.reason == START_ERROR:
            ended = ContainerState(
                phase=ContainerPhase.TERMINATED,
                reason=START_ERROR,
                message=event.message,
                finished_at=now,
                exit_code=SIGNAL_BASE,
            )
            one.finish(ended, restart=not self._ending)
        else:
            one.fault(event.reason, event.message, now)
        out.append(Tell("Failed", event.message, event.container, warning=True))

    def _observed(self, event: Observed, now: float) -> None:
        seen = {item.name: item for item in sorted(event.attempts, key=lambda item: item.attempt)}
        for one in self._containers.values():
            item = seen.get(one.name)
            if item is not None and item.attempt < one.attempt:
                item = None
            if item is None:
                if event.complete and one.step is Step.RUNNING:
                    self._vanished(one, now)
            elif item.running:
                one.run(item, now)
            elif item.exited and one.step is not Step.DONE:
                one.attempt = item.attempt
                one.end(item, now, restart=not self._ending)

    def _vanished(self, one: ContainerProgress, now: float) -> None:
        gone = SeenContainer(
            name=one.name,
            attempt=one.attempt,
            container_id=one.state.container_id,
            exited=True,
            finished_at=now,
            exit_code=137,
            message="The container could not be located",
        )
        one.end(gone, now, restart=not self._ending)

    def _probed(self, event: Probed, now: float, out: list[Instruction]) -> None:
        one = self._containers[event.container]
        kill = one.probed(event, now)
        if not event.success:
            out.append(Tell("Unhealthy", f"{event.kind} probe failed: {event.message}", one.name, warning=True))
        if kill and one.stop_by is None:
            grace = one.probe_grace(event.kind, self.request.grace)
            one.stop_by = now + grace
            text = f"Container {one.name} failed {event.kind.lower()} probe, will be restarted"
            out.extend((Tell("Killing", text, one.name), StopContainer(one.name, one.attempt, grace)))

    # ------------------------------------------------------------------ what next

    @property
    def _apps(self) -> list[ContainerProgress]:
        return [one for one in self._containers.values() if one.spec.kind is ContainerKind.APP]

    @property
    def _deadline(self) -> float | None:
        if self._placed_at is None or self.request.active_deadline is None:
            return None
        return self._placed_at + self.request.active_deadline

    @property
    def _ending(self) -> bool:
        return self._deletion_at is not None or self._failed or all(one.step is Step.DONE for one in self._apps)

    def _advance(self, now: float, out: list[Instruction]) -> None:
        if not self._ending and self._deadline is not None and now >= self._deadline:
            self._failed, self._reason = True, "DeadlineExceeded"
            self._message = "Pod was active on the node longer than the specified deadline"
        if self._ending:
            self._wind_down(now, out)
        elif self._acting is None and now >= self._retry_at:
            if self._placed_at is None:
                self._acting = Stage.PLACE
                out.append(Place())
            elif self._sandbox_at is None:
                self._acting = Stage.SANDBOX
                out.append(CreateSandbox())
            else:
                self._bring_up(now, out)

    def _bring_up(self, now: float, out: list[Instruction]) -> None:
        for one in self._containers.values():
            if one.spec.kind is ContainerKind.APP:
                continue
            self._push(one, now, out)
            if one.spec.kind is ContainerKind.SIDECAR:
                if one.started or self._initialized_at is not None:
                    continue
                return
            if one.step is not Step.DONE:
                return
            if one.exit_code:
                self._failed = True
                self._wind_down(now, out)
                return
        if self._initialized_at is None:
            self._initialized_at = now
        for one in self._apps:
            self._push(one, now, out)

    def _push(self, one: ContainerProgress, now: float, out: list[Instruction]) -> None:
        if one.step is Step.IDLE:
            if now >= one.retry_at:
                one.step = Step.PULLING
                out.append(EnsureImage(one.name))
            elif one.state.reason == IMAGE_PULL and now >= one.shown_at:
                one.wait("ImagePullBackOff", f'Back-off pulling image "{one.spec.image}"')
        elif one.step is Step.PULLED:
            one.step = Step.STARTING
            one.count_restart(now)
            if one.attempt > 1:
                out.append(RemoveAttempt(one.name, one.attempt - 2))
            out.append(StartContainer(one.name, one.attempt, one.image_id))
        elif one.step is Step.RUNNING:
            out.extend(one.probes_due(now))

    def _wind_down(self, now: float, out: list[Instruction]) -> None:
        stop_by = self._stop_by if self._stop_by is not None else now + self.request.grace
        self._stop_by = stop_by
        busy = [one for one in self._containers.values() if one.busy]
        first = [one for one in busy if one.spec.kind is not ContainerKind.SIDECAR]
        for one in first or busy[-1:]:
            least = SIDECAR_GRACE if one.spec.kind is ContainerKind.SIDECAR else 0.0
            limit = max(stop_by, now + least)
            if one.step is Step.RUNNING and (one.stop_by is None or limit < one.stop_by):
                one.stop_by = limit
                out.append(StopContainer(one.name, one.attempt, max(0.0, limit - now)))
        if not busy and self._acting is None and now >= self._retry_at:
            self._acting = Stage.RELEASE
            out.append(ReleaseSandbox())
