"""The instance's state machine: pure. `handle(event, now)` returns what to do; every outcome comes back as an event.

Order (KEP-753 sidecars, kubelet computePodActions): place, sandbox, then init containers and sidecars in their order,
a sidecar holds the next until it has started; then all app containers together. At the end the app containers and a
running init container stop together, then the sidecars one by one in reverse; then the sandbox is released.

A sandbox that dies takes the network of its containers with it: all are stopped, and unless the pod may not restart, a
new sandbox is made at the same address and everything begins again, init containers too (kubelet: SandboxChanged).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Self

from provider.cloud.instances.absorbing import absorb
from provider.cloud.instances.advancing import advance
from provider.cloud.instances.container_steps import Farewell, Step
from provider.cloud.instances.description import describe, phase, restored, snapshot
from provider.cloud.instances.log_source import log_attempt
from provider.cloud.instances.state import IMAGE_PULL, new_state
from provider.model.errors import CloudCode, CloudError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provider.cloud.instances.events import Event
    from provider.cloud.instances.instructions import Instruction
    from provider.cloud.instances.snapshot import MachineSnapshot
    from provider.model.attempt import SeenContainer
    from provider.model.ids import InstanceId, VSwitchId
    from provider.model.instance import Instance, InstancePhase
    from provider.model.request import InstanceRequest


class InstanceMachine:
    """One instance. Not safe to enter twice at a time: the supervisor feeds it serially."""

    __slots__ = ("_state",)

    def __init__(self, request: InstanceRequest, instance_id: InstanceId, created_at: float) -> None:
        self._state = new_state(request, instance_id, created_at)

    @classmethod
    def restore(cls, request: InstanceRequest, saved: MachineSnapshot, now: float, spread: float = 0) -> Self:
        """Return the machine as it was; feed it a complete Observed before anything else.

        `spread` (0 to 1) says where in their period probes begin again.
        """
        machine = cls(request, saved.id, saved.created_at)
        machine._state = restored(request, saved, now, spread)
        return machine

    @property
    def request(self) -> InstanceRequest:
        """What was asked for."""
        return self._state.request

    def update(self, request: InstanceRequest) -> None:
        """Take new content of files; all else of the request stays."""
        self._state.request = request

    def handle(self, event: Event, now: float) -> list[Instruction]:
        """Take one event and return what to do now, in order. An event that comes too late changes nothing."""
        instructions: list[Instruction] = []
        if self._state.released:
            return instructions
        absorb(self._state, event, now, instructions)
        if not self._state.released:
            advance(self._state, now, instructions)
        self.validate()
        return instructions

    def wake_at(self) -> float | None:
        """Return when a Tick is due at the latest (later than the newest event), None: no timer is needed."""
        state = self._state
        if state.released:
            return None
        times = [state.retry_at] if state.acting is None else []
        if not state.ending and state.deadline is not None:
            times.append(state.deadline)
        if not state.lost:
            for one in state.containers.values():
                if one.step is Step.IDLE and not state.ending:
                    times.append(one.shown_at if one.state.reason == IMAGE_PULL else one.retry_at)
                probe = one.next_probe()
                if probe is not None and (one.stopping or not state.ending):
                    times.append(probe)
                if one.farewell is Farewell.HOOK and one.stop_by is not None:
                    times.append(one.stop_by)
        due = min((time for time in times if time > state.handled_at), default=math.inf)
        return None if due == math.inf else due

    def instance(self, revision: int = 0) -> Instance:
        """Describe the instance as it is now."""
        return describe(self._state, revision)

    def snapshot(self) -> MachineSnapshot:
        """Return what outlives the process; the journal keeps it beside the request."""
        return snapshot(self._state)

    def phase(self) -> InstancePhase:
        """Return the instance's phase; terminal only once nothing runs any more."""
        return phase(self._state)

    @property
    def ending(self) -> bool:
        """Whether the instance winds down: it was deleted, has failed, or all its app containers are done."""
        return self._state.ending

    @property
    def released(self) -> bool:
        """Whether nothing of it is held any more, logs aside."""
        return self._state.released

    @property
    def placement(self) -> tuple[VSwitchId, str] | None:
        """Return vSwitch and address, None before the instance is placed."""
        return (
            None
            if self._state.vswitch is None or self._state.address is None
            else (self._state.vswitch, self._state.address)
        )

    @property
    def has_sandbox(self) -> bool:
        """Whether the pause container, and so the volumes, were made."""
        return self._state.sandbox_at is not None

    @property
    def wants_sandbox(self) -> bool:
        """Whether the pause container should be running now."""
        return self._state.wants_sandbox

    def agrees(self, attempts: Sequence[SeenContainer]) -> bool:
        """Tell cheaply whether a complete Observed with these attempts would say nothing new."""
        seen = {item.name: item for item in sorted(attempts, key=lambda item: item.attempt)}
        for name, one in self._state.containers.items():
            item = seen.get(name)
            if one.runs:
                if item is None or not item.running or item.attempt != one.attempt:
                    return False
            elif one.step is Step.DONE:
                if item is not None and item.running:
                    return False
            elif (
                item is not None and item.attempt >= one.attempt and (item.running or item.exited)
            ) or one.step is Step.DOUBTFUL:
                return False
        return True

    def log_attempt(self, container: str, *, previous: bool) -> int:
        """Return the attempt whose log is asked for; NOT_FOUND, INCORRECT_STATUS in the kubelet's words."""
        one = self._state.containers.get(container)
        if one is None:
            text = f'container "{container}" in pod "{self._state.request.name}" is not available'
            raise CloudError(CloudCode.NOT_FOUND, text)
        return log_attempt(one, self._state.request.name, previous=previous)

    def is_running(self, container: str, attempt: int) -> bool:
        """Tell whether that attempt runs, as far as is known."""
        one = self._state.containers[container]
        return one.runs and one.attempt == attempt

    def running_attempt(self, container: str) -> int:
        """Return the attempt that runs now; NOT_FOUND for an unknown container, INCORRECT_STATUS if it does not run."""
        one = self._state.containers.get(container)
        if one is None or not one.runs:
            code = CloudCode.NOT_FOUND if one is None else CloudCode.INCORRECT_STATUS
            raise CloudError(code, f'container not found ("{container}")')
        return one.attempt

    def validate(self) -> None:
        """Check what must hold between events; AssertionError is a bug of this module."""
        state = self._state
        busy = [one.name for one in state.containers.values() if one.busy]
        checks = (
            (not (state.released and busy), f"released while {busy} may run"),
            (not busy or state.sandbox_at is not None, f"{busy} without a sandbox"),
            (state.sandbox_at is None or state.address is not None, "a sandbox without an address"),
            (
                state.initialized_at is not None or state.lost or not any(one.busy for one in state.apps),
                "an app container before the end of init",
            ),
        )
        for holds, text in checks:
            if not holds:
                raise AssertionError(f"{state.request.uid}: {text}")
